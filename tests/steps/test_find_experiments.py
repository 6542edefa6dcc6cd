"""How far each experiment of a matrix is, by what the store holds."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import pytest

from tasks import tracking
from tasks.contract import execute
from tasks.methods.fpn2_ws.train import TASK as TRAIN_FPN2_WS
from tasks.nuclei.errors import InputError
from tasks.steps import augment, calibrate, score, segment
from tasks.steps.find_experiments import TASK, Params
from tests.stored_results import add_plate, store_result_of
from tests.tracked import track_in

RANDOM: dict[str, Any] = {"task": "train_fpn2_ws", "target": "both", "initialisation": "random", "cycles": 3}
MODEL = {"method": "fpn2_ws", "search": []}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    track_in(tmp_path, monkeypatch)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.delenv("NUCLEUS_WEIGHTS", raising=False)
    for name in ("train", "test"):
        add_plate(tmp_path / "store", name, "U2OS", {"f": [1]})
    return tmp_path / "store"


def variant(*trainings: dict[str, Any], **model: Any) -> dict[str, Any]:
    return {"words": {}, "augment": {"rois": 100}, "trainings": list(trainings), "model": MODEL | model}


def asked(name: str, *variants: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "variants": list(variants), "plates": ["ingest/train@0123456789ab"], **more}


TEST_PLATE = "ingest/test@0123456789ab"


def find(
    store: Path, *experiments: dict[str, Any], dag_run_id: str = "first", test_plate: str = TEST_PLATE
) -> dict[str, Any]:
    params = Params.model_validate(
        {
            **{"dag_run_id": dag_run_id, "matrix": "matrix small 1"},
            **{"experiments": list(experiments), "test_plates": [test_plate]},
        }
    )
    result = execute(TASK, params, store)
    content: dict[str, Any] = json.loads((store / result.outputs["found"]).read_text())
    return content


def chain(store: Path) -> str:
    """Put a whole experiment into the store; gives its scores."""
    rois = store_result_of(
        store, augment.TASK, {"plates": ["ingest/train@0123456789ab"], "rois": 100}, "rois", "rois.h5"
    )
    training = {name: value for name, value in RANDOM.items() if name != "task"}
    network = store_result_of(store, TRAIN_FPN2_WS, {**training, "rois": rois}, "network")
    (store / network / "network.json").write_text('{"method": "fpn2_ws"}')
    model = {"method": "fpn2_ws", "networks": [network]}
    path = store_result_of(store, calibrate.TASK, {**model, "search": []}, "calibration", "calibration.csv")
    settings = {"marker_threshold": 0.3}
    result = json.loads((store / Path(path).parent / "result.json").read_text())
    result["values"] = {"settings": settings}
    (store / Path(path).parent / "result.json").write_text(json.dumps(result))
    plate = {"plate": TEST_PLATE}
    segmentation = store_result_of(store, segment.TASK, {**model, "settings": settings, **plate}, "segmentation")
    return store_result_of(store, score.TASK, {"segmentations": [segmentation]}, "scores")


def test_of_an_empty_store_everything_is_to_do_and_the_roi_set_is_shared(store: Path) -> None:
    content = find(store, asked("a", variant(RANDOM)), asked("b", variant({**RANDOM, "random_seed": 1})))
    first, second = content["experiments"]
    assert (first["trained"], first["cycles"], first["scores"]) == ([False], [3], None)
    assert first["rois"] == second["rois"]
    (rois,) = content["rois"].values()
    assert (rois["amount"], rois["is_stored"]) == (100, False)
    assert first["trainings"][0]["rois"] == rois["path"]


def test_an_experiment_whose_steps_are_all_stored_is_done(store: Path) -> None:
    scores = chain(store)
    one, other = find(store, asked("a", variant(RANDOM)), asked("b", variant({**RANDOM, "cycles": 4})))["experiments"]
    assert (one["trained"], one["is_calibrated"], one["segmented"], one["scores"]) == ([True], True, 1, scores)
    assert (other["trained"], other["is_calibrated"], other["segmented"], other["scores"]) == ([False], False, 0, None)


def key_of(store: Path, one: dict[str, Any], dag_run_id: str, **more: Any) -> str:
    return str(find(store, one, dag_run_id=dag_run_id, **more)["experiments"][0]["key"])


def test_an_experiment_has_its_key_before_and_after_its_results_are_there(store: Path) -> None:
    before = key_of(store, asked("a", variant(RANDOM)), "first")
    chain(store)
    assert key_of(store, asked("a", variant(RANDOM)), "second") == before


def test_whatever_would_change_its_scores_changes_the_key_of_an_experiment(store: Path) -> None:
    other = add_plate(store, "other", "U2OS", {"f": [1]})
    experiments = [
        asked("a", variant(RANDOM)),
        asked("a", variant({**RANDOM, "cycles": 4})),
        asked("a", variant(RANDOM, search=["marker_threshold"])),
        asked("a", variant(RANDOM)) | {"plates": [other]},
        asked("a", variant(RANDOM), score_training=True),
    ]
    keys = {key_of(store, one, str(number)) for number, one in enumerate(experiments)}
    assert len(keys | {key_of(store, experiments[0], "other test plate", test_plate=other)}) == 6


@pytest.mark.parametrize("step", [calibrate, segment, score])
def test_a_step_that_changed_changes_the_key_of_an_experiment(
    store: Path, monkeypatch: pytest.MonkeyPatch, step: ModuleType
) -> None:
    (before,) = find(store, asked("a", variant(RANDOM)))["experiments"]
    monkeypatch.setattr(step, "TASK", replace(step.TASK, version=step.TASK.version + 1))
    (after,) = find(store, asked("a", variant(RANDOM)), dag_run_id="second")["experiments"]
    assert after["key"] != before["key"]


def test_an_experiment_whose_training_plates_are_to_be_scored_too_is_not_done_before(store: Path) -> None:
    chain(store)
    (one,) = find(store, asked("a", variant(RANDOM), score_training=True))["experiments"]
    assert (one["is_calibrated"], one["segmented"], one["scores"]) == (True, 1, None)


def test_a_training_whose_rois_were_cleaned_away_counts_all_the_same(store: Path) -> None:
    chain(store)
    for path in sorted((store / "augment").glob("*/*"), reverse=True):
        path.unlink()
    content = find(store, asked("a", variant(RANDOM)))
    assert content["experiments"][0]["trained"] == [True]
    assert [rois["is_stored"] for rois in content["rois"].values()] == [False]


def test_without_its_pretrained_weights_an_experiment_runs_as_its_second_variant_says(store: Path) -> None:
    coco = variant({"task": "train_mask_rcnn", "initialisation": "coco"}, method="mask_rcnn")
    (one,) = find(store, asked("a", coco, variant(RANDOM)))["experiments"]
    assert one["variant"] == 1
    assert one["trainings"][0]["task"] == "train_fpn2_ws"
    assert "mask_rcnn_coco.h5" in one["missing"]
    with pytest.raises(InputError, match=r"^a: initialisation \"coco\" needs the file"):
        find(store, asked("a", coco), dag_run_id="second")


def test_an_experiment_that_is_not_chosen_is_looked_for_and_left_out_where_it_cannot_be_run(store: Path) -> None:
    scores = chain(store)
    coco = variant({"task": "train_mask_rcnn", "initialisation": "coco"}, method="mask_rcnn")
    others = [asked("done", variant(RANDOM), is_chosen=False), asked("lacking", coco, is_chosen=False)]
    experiments = find(store, asked("chosen", variant({**RANDOM, "cycles": 4})), *others)["experiments"]
    found = [(one["name"], one["is_chosen"], one["scores"]) for one in experiments]
    assert found == [("chosen", True, None), ("done", False, scores)]


def test_without_the_encoder_s_file_and_the_internet_experiments_run_as_their_second_variants_say_which_is_asked_once(
    store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HOME", str(tmp_path))
    ask = Mock(wraps=subprocess.run)
    monkeypatch.setattr(subprocess, "run", ask)
    wanted: dict[str, Any] = {"initialisation": "imagenet", "encoder": "mobilenetv2", "warmup_cycles": 0}
    variants = [
        (variant({**RANDOM, **wanted, **seed}), variant({**RANDOM, **seed})) for seed in ({}, {"random_seed": 1})
    ]
    found = find(store, asked("a", *variants[0]), asked("b", *variants[1]))["experiments"]
    assert [one["variant"] for one in found] == [1, 1]
    message = "ImageNet weights mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5 aren't there"
    assert all(message in one["missing"] for one in found)
    assert ask.call_count == 1


def test_params_that_a_task_refuses_are_refused_before_anything_is_spent(store: Path) -> None:
    with pytest.raises(InputError, match="target"):
        find(store, asked("a", variant({**RANDOM, "target": "colour"})))
    with pytest.raises(InputError, match="a: params: search: colour can't be searched"):
        find(store, asked("a", variant(RANDOM, search=["colour"])), dag_run_id="second")


def test_an_experiment_is_logged_when_its_run_of_the_matrix_is_finished(store: Path) -> None:
    parent = tracking.open_run("experiments", "matrix small 1", "small")
    runs = {name: tracking.open_run("experiments", "matrix small 1", f"{name}, small", parent) for name in "ab"}
    tracking.close_run(runs["a"], succeeded=True)
    tracking.close_run(runs["b"], succeeded=False)
    content = find(store, *(asked(name, variant(RANDOM)) for name in "abc"))
    assert [one["is_logged"] for one in content["experiments"]] == [True, False, False]


def took(store: Path, task: str, **more: Any) -> None:
    """Write into the only result of a task what it took."""
    (file,) = (store / task).glob("*/result.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | more))


def test_rates_are_medians_of_what_stored_results_took(store: Path) -> None:
    chain(store)
    (segmentation,) = (store / "segment").iterdir()
    (segmentation / "labels").mkdir()
    (segmentation / "labels" / "f.tif").write_bytes(b"0" * 5000)
    counts = {"training_rois": 80, "validation_rois": 20}
    took(store, "augment", seconds=5.0, usage={"cpu_seconds": 8.0}, counts=counts)
    took(store, "segment", seconds=7.0)
    rates = find(store, asked("a", variant(RANDOM)))["rates"]
    assert rates["augment"] == {"seconds_per_roi": 0.05, "cpu_seconds_per_roi": 0.08, "bytes_per_roi": 10.0}
    # Of before CPU seconds were measured.
    assert (rates["segment"]["seconds"], rates["segment"]["cpu_seconds"]) == (7.0, 7.0)
    assert 5000 < rates["segment"]["bytes"] < 7000


def test_the_pace_of_a_training_is_that_of_the_same_network_or_is_said_to_be_of_another(store: Path) -> None:
    chain(store)
    took(store, "augment", counts={"training_rois": 80, "validation_rois": 20})
    metrics = {"training_seconds": 60.0, "training_cpu_seconds": 90.0}
    took(store, "train_fpn2_ws", metrics=metrics, machine={"gpus": "none"})
    same = {**RANDOM, "cycles": 4, "random_seed": 7, "learning_rate": 0.01}
    others = [{**RANDOM, "encoder": "mobilenetv2"}, {**RANDOM, "target": "distance_map"}]
    larger = variant(RANDOM) | {"augment": {"rois": 100, "roi_px": 512}}
    boxes = {"task": "train_mask_rcnn", "initialisation": "random", "stages": "all", "batch_norm_learns": True}
    variants = [variant(same), *map(variant, others), larger, variant(boxes, method="mask_rcnn")]
    found = find(store, *(asked(str(number), one) for number, one in enumerate(variants)))["experiments"]
    rates = [one["rates"][0] for one in found]
    assert rates[0] | {"bytes": 0} == {
        **{"seconds": 60 / (100 * 3), "cpu_seconds": 90 / (100 * 3), "on_gpu": False, "is_of_another": False},
        "bytes": 0,
    }
    assert rates[0]["bytes"] > 0
    assert [rate and rate["is_of_another"] for rate in rates] == [False, True, True, True, None]


def test_what_is_found_is_in_use_for_a_clean_up(store: Path) -> None:
    scores = store / chain(store)
    os.utime(scores, (0, 0))
    find(store, asked("a", variant(RANDOM)))
    assert scores.stat().st_mtime > 0
