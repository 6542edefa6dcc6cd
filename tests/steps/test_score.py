import json
import logging
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from mlflow import MlflowClient

from tasks import tracking
from tasks.contract import BAD_INPUT, Result, execute
from tasks.nuclei.errors import InputError
from tasks.steps.score import TASK, Params
from tasks.store.registered_model import REGISTERED_MODEL
from tests.stored_results import add_plate, add_scored_plate, add_segmentation, count_own, register
from tests.tracked import track_in

# One line of 12 px is a field: four nuclei of 2 px.
TRUTH = [1, 1, 0, 2, 2, 0, 3, 3, 0, 4, 4, 0]
PERFECT = [5, 5, 0, 6, 6, 0, 7, 7, 0, 8, 8, 0]
ONE_MISSED = [5, 5, 0, 6, 6, 0, 7, 7, 0, 0, 0, 0]
ONE_EXTRA = [5, 5, 0, 6, 6, 0, 7, 7, 0, 8, 8, 9]
TWO_MERGED = [5, 5, 5, 5, 5, 0, 7, 7, 0, 8, 8, 0]
ONE_SPLIT = [5, 9, 0, 6, 6, 0, 7, 7, 0, 8, 8, 0]


def score(store: Path, *segmentations: str) -> tuple[Result, Path]:
    result = execute(TASK, Params(segmentations=list(segmentations)), store)
    return result, store / result.outputs["scores"]


def f1_rows(folder: Path, iou_threshold: float) -> dict[tuple[str, str], dict[Hashable, Any]]:
    """Rows of f1.csv at one threshold by group and name."""
    table = pd.read_csv(folder / "f1.csv")
    return by_group(table[table["iou_threshold"] == iou_threshold])


def by_group(table: pd.DataFrame) -> dict[tuple[str, str], dict[Hashable, Any]]:
    return {(row["group"], row["name"]): row for row in table.to_dict("records")}


def test_hits_and_errors_are_summed_over_the_fovs_of_a_plate(tmp_path: Path) -> None:
    segmentation = add_scored_plate(
        tmp_path, "p1", "U2OS", {"a": (TRUTH, PERFECT), "b": (TRUTH, ONE_MISSED), "c": (TRUTH, ONE_EXTRA)}
    )
    result, folder = score(tmp_path, segmentation)
    at = f1_rows(folder, 0.7)["cell_line", "U2OS"]
    assert (at["tp"], at["fp"], at["fn"]) == (11, 1, 1)
    assert at["f1"] == pytest.approx(22 / 24)
    assert result.metrics["f1_at_0.7/U2OS"] == pytest.approx(22 / 24)
    assert at["f1_low"] <= at["f1"] <= at["f1_high"]
    assert result.counts == {"plates": 1, "fovs": 3, "true_nuclei": 12, "doubtful_fovs": 0, "own_proposals": 0}


def test_what_is_ignored_of_a_field_is_in_no_score_and_in_no_table(tmp_path: Path) -> None:
    # The second nucleus was not looked at, and the last is unsure.
    ignored = [0, 0, 0, 1, 1, 1, 0, 0, 0, 2, 2, 2]
    plate = add_plate(tmp_path, "p1", "U2OS", {"a": TRUTH, "b": TRUTH}, {"a": ignored})
    found = {"a": [5, 5, 0, 0, 0, 9, 7, 7, 0, 8, 0, 0], "b": PERFECT}
    result, folder = score(tmp_path, add_segmentation(tmp_path, plate, found))
    at = f1_rows(folder, 0.9)["plate", "p1"]
    assert (at["tp"], at["fp"], at["fn"]) == (6, 0, 0)
    assert result.counts["true_nuclei"] == 6
    true, predicted = (pd.read_parquet(folder / f"{kind}_nuclei.parquet") for kind in ("true", "predicted"))
    assert true[true["fov"] == "a"]["label"].tolist() == [1, 3]
    assert predicted[predicted["fov"] == "a"]["label"].tolist() == [5, 7]


@pytest.mark.parametrize(("choice", "f1"), [("random", [2 / 3]), ("ranked", [])])
def test_f1_at_random_is_that_of_random_patches_and_of_fields_without_a_choice(
    choice: str, f1: list[float], tmp_path: Path
) -> None:
    plate = add_plate(tmp_path, "p1", "U2OS", {"a": TRUTH})
    rows = f"a,0,0,1,6,ranked,\na,0,6,1,12,{choice},\n"
    (tmp_path / plate / "chosen_patches.csv").write_text(f"fov,y0,x0,y1,x1,choice,request\n{rows}")
    _, folder = score(tmp_path, add_segmentation(tmp_path, plate, {"a": ONE_MISSED}))
    table = pd.read_csv(folder / "f1_at_random.csv")
    at = table[(table["group"] == "cell_line") & (table["iou_threshold"] == 0.7)]
    assert at["f1"].to_list() == pytest.approx(f1)
    assert f1_rows(folder, 0.7)["cell_line", "U2OS"]["f1"] == pytest.approx(6 / 7)


def test_without_a_choice_of_patches_there_is_no_f1_at_random(tmp_path: Path) -> None:
    _, folder = score(tmp_path, add_scored_plate(tmp_path, "p1", "U2OS", {"a": (TRUTH, PERFECT)}))
    assert not (folder / "f1_at_random.csv").exists()


def test_label_images_that_look_wrong_are_counted_and_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    segmentation = add_scored_plate(tmp_path, "p1", "U2OS", {"a": (TRUTH, PERFECT), "b": (TRUTH, ONE_MISSED)})
    path = tmp_path / segmentation / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"counts": {"fovs": 2, "doubtful_fovs": 1}}))
    result, _ = score(tmp_path, segmentation)
    assert result.counts["doubtful_fovs"] == 1
    assert "1 of 2 fields have label images that look wrong, and count in F1" in caplog.text


def test_plates_of_one_cell_line_are_pooled_and_cell_lines_kept_apart(tmp_path: Path) -> None:
    segmentations = [
        add_scored_plate(tmp_path, "p1", "U2OS", {"a": (TRUTH, PERFECT)}),
        add_scored_plate(tmp_path, "p2", "U2OS", {"a": (TRUTH, ONE_MISSED)}),
        add_scored_plate(tmp_path, "p3", "HCT 116", {"a": (TRUTH, ONE_EXTRA)}),
    ]
    result, folder = score(tmp_path, *segmentations)
    rows = f1_rows(folder, 0.9)
    assert {name: (row["tp"], row["fp"], row["fn"]) for name, row in rows.items()} == {
        ("cell_line", "U2OS"): (7, 0, 1),
        ("cell_line", "HCT 116"): (4, 1, 0),
        ("plate", "p1"): (4, 0, 0),
        ("plate", "p2"): (3, 0, 1),
        ("plate", "p3"): (4, 1, 0),
        ("all", "all"): (11, 1, 1),
    }
    assert result.metrics["f1_at_0.9/HCT 116"] == pytest.approx(8 / 9)
    assert result.metrics["f1_at_0.9/all"] == pytest.approx(22 / 24)


@pytest.mark.parametrize("factor", [1, 2**40, 2**61])
def test_the_table_of_nuclei_names_them_by_their_labels_in_the_files(tmp_path: Path, factor: int) -> None:
    segmentation = add_scored_plate(tmp_path, "p1", "U2OS", {"a": (TRUTH, ONE_MISSED)})
    labels = np.array([TRUTH], np.uint64) * np.uint64(factor)
    tifffile.imwrite(tmp_path / "ingest/p1@0123456789ab/labels/a.tif", labels)
    result, folder = score(tmp_path, segmentation)
    assert result.counts["true_nuclei"] == 4
    true, predicted = (pd.read_parquet(folder / f"{kind}_nuclei.parquet") for kind in ("true", "predicted"))
    assert true["label"].tolist() == [factor, 2 * factor, 3 * factor, 4 * factor]
    assert true["iou"].tolist() == [1, 1, 1, 0]
    assert predicted["label"].tolist() == [5, 6, 7]


def test_the_curve_has_a_row_for_every_threshold_from_0_05_to_0_95(tmp_path: Path) -> None:
    segmentation = add_scored_plate(tmp_path, "p1", "U2OS", {"a": (TRUTH, ONE_SPLIT)})
    result, folder = score(tmp_path, segmentation)
    table = pd.read_csv(folder / "f1.csv")
    curve = table[table["group"] == "all"]
    assert [f"{value:.2f}" for value in curve["iou_threshold"]] == [f"{n / 100:.2f}" for n in range(5, 100, 5)]
    # Each half of the split nucleus has an IoU of 0.5: ten thresholds without an error, nine with
    # one miss and two extras, F1 = 6 / 9.
    assert curve["f1"].tolist() == pytest.approx([1.0] * 10 + [6 / 9] * 9)
    assert result.metrics["f1_area/all"] == pytest.approx((10 + 9 * 6 / 9) / 19)


def test_errors_at_0_7_are_counted_with_rates_per_true_nucleus(tmp_path: Path) -> None:
    segmentation = add_scored_plate(tmp_path, "p1", "U2OS", {"a": (TRUTH, TWO_MERGED), "b": (TRUTH, ONE_SPLIT)})
    result, folder = score(tmp_path, segmentation)
    row = by_group(pd.read_csv(folder / "errors.csv"))["cell_line", "U2OS"]
    assert row["fovs"] == 2
    assert (row["true_nuclei"], row["predicted_nuclei"]) == (8, 8)
    assert (row["splits"], row["merges"]) == (1, 1)
    assert (row["false_positives"], row["false_negatives"]) == (3, 3)
    for rate, value in {"split_rate": 1 / 8, "merge_rate": 1 / 8, "fp_rate": 3 / 8, "fn_rate": 3 / 8}.items():
        assert row[rate] == value
        assert result.metrics[f"{rate}/U2OS"] == value


def test_every_fov_has_a_line_with_its_own_score(tmp_path: Path) -> None:
    segmentation = add_scored_plate(tmp_path, "p1", "U2OS", {"a": (TRUTH, PERFECT), "b": (TRUTH, ONE_MISSED)})
    _, folder = score(tmp_path, segmentation)
    fovs = pd.read_csv(folder / "fovs.csv")
    assert fovs[["plate", "cell_line", "fov"]].to_numpy().tolist() == [["p1", "U2OS", "a"], ["p1", "U2OS", "b"]]
    assert fovs["fn_at_0.7"].tolist() == [0, 1]
    assert fovs["f1_at_0.7"].tolist() == pytest.approx([1, 6 / 7])


def test_missing_predictions_are_all_named_and_nothing_is_scored(tmp_path: Path) -> None:
    segmentation = add_scored_plate(tmp_path, "p1", "U2OS", dict.fromkeys("abc", (TRUTH, PERFECT)))
    for name in "ac":
        (tmp_path / segmentation / "labels" / f"{name}.tif").unlink()
    with pytest.raises(InputError, match="p1: a has no predicted labels; p1: c has no predicted labels"):
        score(tmp_path, segmentation)
    assert not [path for path in (tmp_path / "score").iterdir() if not path.name.startswith(".")]


def test_of_many_missing_predictions_ten_are_named_and_the_others_counted(tmp_path: Path) -> None:
    plate = add_plate(tmp_path, "p1", "U2OS", {f"fov{number:02}": TRUTH for number in range(13)})
    segmentation = add_segmentation(tmp_path, plate, {})
    with pytest.raises(InputError, match=r"fov09 has no predicted labels; and 3 more\.") as caught:
        score(tmp_path, segmentation)
    assert "fov10" not in str(caught.value)


def test_predictions_of_another_shape_are_all_named(tmp_path: Path) -> None:
    fovs = {"a": (TRUTH, PERFECT[:-1]), "b": (TRUTH, PERFECT), "c": (TRUTH, PERFECT[:-2])}
    with pytest.raises(InputError, match=r"p1: a: .*\(1, 11\).*p1: c: .*\(1, 10\)"):
        score(tmp_path, add_scored_plate(tmp_path, "p1", "U2OS", fovs))


def test_a_plate_without_true_labels_is_refused(tmp_path: Path) -> None:
    segmentation = add_scored_plate(tmp_path, "p1", "U2OS", {"a": (TRUTH, PERFECT)})
    (tmp_path / "ingest/p1@0123456789ab/labels/a.tif").unlink()
    with pytest.raises(InputError, match="p1: a has no true labels"):
        score(tmp_path, segmentation)


def test_a_cut_prediction_is_refused_with_its_name(tmp_path: Path) -> None:
    segmentation = add_scored_plate(tmp_path, "p1", "U2OS", {"a": (TRUTH, PERFECT)})
    path = tmp_path / segmentation / "labels" / "a.tif"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"a\.tif"):
        score(tmp_path, segmentation)


def test_a_plate_given_twice_is_refused(tmp_path: Path) -> None:
    segmentation = add_scored_plate(tmp_path, "p1", "U2OS", {"a": (TRUTH, PERFECT)})
    with pytest.raises(InputError, match="p1 is there more than once"):
        score(tmp_path, segmentation, segmentation)


def test_a_folder_that_no_segmentation_made_is_refused(tmp_path: Path) -> None:
    plate = add_plate(tmp_path, "p1", "U2OS", {"a": TRUTH})
    message = "ingest/p1@0123456789ab is an output of ingest; give one of segment or assemble_plate"
    with pytest.raises(InputError, match=message):
        score(tmp_path, plate)


def test_no_segmentation_at_all_ends_with_the_status_of_bad_params(tmp_path: Path) -> None:
    assert TASK.main(["--params", '{"segmentations": []}', "--store", str(tmp_path)]) == BAD_INPUT


def test_the_log_tells_how_many_fovs_are_done(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    segmentation = add_scored_plate(tmp_path, "p1", "U2OS", dict.fromkeys("abc", (TRUTH, PERFECT)))
    with caplog.at_level(logging.INFO, logger="nucleus"):
        score(tmp_path, segmentation)
    assert "score: 3 of 3 fovs" in caplog.messages


def test_the_same_segmentations_are_scored_once(tmp_path: Path) -> None:
    segmentation = add_scored_plate(tmp_path, "p1", "U2OS", {"a": (TRUTH, PERFECT)})
    first, _ = score(tmp_path, segmentation)
    second, _ = score(tmp_path, segmentation)
    assert not first.reused
    assert second.reused
    assert second.metrics == first.metrics


def test_mlflow_gets_the_curve_by_step_and_the_metrics_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segmentation = add_scored_plate(tmp_path, "p1", "HCT 116", {"a": (TRUTH, ONE_SPLIT)})
    monkeypatch.chdir(tmp_path)
    track_in(tmp_path, monkeypatch)
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id := tracking.open_run("scores", "dag run 1", "first"))
    score(tmp_path, segmentation)
    score(tmp_path, segmentation)
    curve = MlflowClient().get_metric_history(run_id, "f1_curve/HCT 116")
    assert sorted((point.step, round(point.value, 3)) for point in curve) == [
        *((step, 1.0) for step in range(5, 55, 5)),
        *((step, 0.667) for step in range(55, 100, 5)),
    ]
    metrics = MlflowClient().get_run(run_id).data.metrics
    assert metrics["f1_at_0.7/HCT 116"] == metrics["f1_at_0.7/all"] == pytest.approx(6 / 9)
    assert metrics["split_rate/HCT 116"] == 1 / 4
    assert not any(name.endswith("/p1") for name in metrics)
    assert "f1/all" not in metrics, "MLflow would show F1 at 0.95 under this name"


@pytest.mark.parametrize(
    ("prediction", "mark"),
    [
        (PERFECT, ""),
        (ONE_MISSED, ""),
        ([0] * len(TRUTH), "🔴 This model can't be used: it finds no nucleus of the test plates.\n\n"),
    ],
)
def test_a_registered_model_that_finds_no_nucleus_says_so_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prediction: list[int], mark: str
) -> None:
    segmentation = add_scored_plate(tmp_path, "p1", "HCT 116", {"a": (TRUTH, prediction)})
    monkeypatch.chdir(tmp_path)
    track_in(tmp_path, monkeypatch)
    monkeypatch.setenv("MLFLOW_RUN_ID", tracking.open_run("scores", "dag run 1", "first"))
    register(tmp_path, "register_model/1111111111111111")
    score(tmp_path, segmentation)
    score(tmp_path, segmentation)
    assert MlflowClient().get_model_version(REGISTERED_MODEL, "1").description == f"{mark}A model."


def test_mlflow_sorts_models_by_their_f1_on_a_test_plate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    track_in(tmp_path, monkeypatch)
    for number, (on_one, on_two) in enumerate([(PERFECT, ONE_MISSED), (ONE_MISSED, PERFECT)]):
        store = tmp_path / str(number)
        segmentations = [
            add_scored_plate(store, "p1", "HCT 116", {"a": (TRUTH, on_one)}),
            add_scored_plate(store, "p2", "U2OS", {"a": (TRUTH, on_two)}),
        ]
        monkeypatch.setenv("MLFLOW_RUN_ID", tracking.open_run("scores", f"dag run {number}", f"model {number}"))
        register(store, f"register_model/{str(number) * 16}")
        count_own(store, segmentations[0], 3 * number)
        for _ in range(2):
            score(store, *segmentations)
    client = MlflowClient()
    experiment = client.get_experiment_by_name("scores")
    assert experiment
    for plate, names in (("p1", ["model 0", "model 1"]), ("p2", ["model 1", "model 0"])):
        by_plate = {"field_name": "metrics.plate_f1_at_0.7", "dataset_name": plate, "ascending": False}
        found = client.search_logged_models([experiment.experiment_id], order_by=[by_plate])
        assert [model.name for model in found] == names
        assert len(found[0].metrics or []) == 4
    # The second one proposed three of the labels of the first plate itself.
    own = {model.name: {name: tag for name, tag in model.tags.items() if "own" in name} for model in found}
    assert own == {"model 0": {}, "model 1": {"own_proposals/p1": "3"}}
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.run_name: run.data.tags.get("own_proposals") for run in runs} == {"model 0": None, "model 1": "3"}
    versions = client.search_model_versions(f"name = '{REGISTERED_MODEL}'")
    assert {int(version.version): version.tags.get("own_proposals") for version in versions} == {1: None, 2: "3"}
