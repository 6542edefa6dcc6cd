"""Versions side by side on test plates whose fields are one line of pixels."""

from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from tasks import tracking
from tasks.contract import Result, execute
from tasks.nuclei.errors import InputError
from tasks.steps.forgetting import TASK, Params, ScoredVersion
from tasks.steps.score import TASK as SCORE
from tasks.steps.score import Params as ScoreParams
from tests.stored_results import add_plate, add_segmentation, count_own
from tests.tracked import track_in

TRUTH = [1, 1, 0, 2, 2, 0, 3, 3, 0, 4, 4, 0]
ONE_MISSED = [1, 1, 0, 2, 2, 0, 3, 3, 0, 0, 0, 0]
TWO_MISSED = [1, 1, 0, 2, 2, 0, 0, 0, 0, 0, 0, 0]
F1_ONE_MISSED, F1_TWO_MISSED = 6 / 7, 4 / 6


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for name, cell_line in (("first", "U2OS"), ("007", "HCT116")):
        add_plate(tmp_path, name, cell_line, {"a": TRUTH})
    return tmp_path


def scored(store: Path, version: int, predictions: dict[str, list[int]], *aliases: str) -> ScoredVersion:
    """Score a version that predicts this line in the field of a plate, by plates."""
    paths = []
    for plate, line in predictions.items():
        path = add_segmentation(store, f"ingest/{plate}@0123456789ab", {"a": line})
        moved = f"segment/{version}-{plate}"
        (store / path).rename(store / moved)
        paths.append(moved)
    scores = execute(SCORE, ScoreParams(segmentations=paths), store).outputs["scores"]
    return ScoredVersion(version=version, aliases=list(aliases), scores=scores)


def compare(store: Path, *versions: ScoredVersion) -> tuple[Result, pd.DataFrame]:
    result = execute(TASK, Params(versions=list(versions)), store)
    return result, pd.read_csv(store / result.outputs["matrix"], dtype={"plate": str})


def column(matrix: pd.DataFrame, name: str) -> list[float | None]:
    return [None if pd.isna(value) else round(value, 6) for value in matrix[name]]


def test_every_version_has_a_row_on_every_plate_by_cell_line(store: Path) -> None:
    versions = [
        scored(store, 2, {"first": TRUTH, "007": ONE_MISSED}),
        scored(store, 1, {"first": TWO_MISSED, "007": TRUTH}),
    ]
    result, matrix = compare(store, *versions)
    assert list(zip(matrix["version"], matrix["plate"], matrix["cell_line"], strict=True)) == [
        (1, "007", "HCT116"),
        (1, "first", "U2OS"),
        (2, "007", "HCT116"),
        (2, "first", "U2OS"),
    ]
    for name in ("f1_at_0.7", "f1_at_0.9"):
        assert column(matrix, name) == [1, round(F1_TWO_MISSED, 6), round(F1_ONE_MISSED, 6), 1]
    assert result.counts == {"versions": 2, "plates": 2, "missing": 0, "forgotten": 1}
    assert (store / result.outputs["figure"]).read_bytes().startswith(b"\x89PNG")


def test_the_baseline_is_beside_the_versions_and_nothing_is_held_against_it(store: Path) -> None:
    classical = scored(store, 9, {"first": TRUTH, "007": TWO_MISSED}).scores
    assert classical is not None
    versions = [scored(store, 1, {"first": ONE_MISSED, "007": TRUTH})]
    result = execute(TASK, Params(versions=versions, baseline={"classical": classical}), store)
    baseline = pd.read_csv(store / result.outputs["baseline"], dtype={"plate": str})
    assert list(zip(baseline["name"], baseline["plate"], strict=True)) == [("classical", "007"), ("classical", "first")]
    assert column(baseline, "f1_at_0.7") == [round(F1_TWO_MISSED, 6), 1]
    assert column(baseline, "own_proposals") == [0, 0]
    assert result.counts == {"versions": 1, "plates": 2, "missing": 0, "forgotten": 0}


def test_f1_against_labels_that_a_version_proposed_itself_is_marked(store: Path) -> None:
    flattered = scored(store, 1, {"first": TRUTH, "007": TRUTH})
    count_own(store, "segment/1-007", 3)
    _, matrix = compare(store, flattered, scored(store, 2, {"first": TRUTH, "007": TRUTH}))
    assert column(matrix, "own_proposals") == [3, 0, 0, 0]


def test_what_is_forgotten_is_the_drop_against_the_best_earlier_version(store: Path) -> None:
    versions = [
        scored(store, 1, {"first": ONE_MISSED}),
        scored(store, 2, {"first": TRUTH}),
        scored(store, 3, {"first": ONE_MISSED}),
        scored(store, 4, {"first": TWO_MISSED}, "champion"),
        scored(store, 5, {"first": TRUTH}),
    ]
    result, matrix = compare(store, *versions)
    drops = [None, 0, round(1 - F1_ONE_MISSED, 6), round(1 - F1_TWO_MISSED, 6), 0]
    assert column(matrix, "forgotten_at_0.7") == drops
    assert result.metrics == pytest.approx(
        {"forgotten_at_0.7/champion": 1 - F1_TWO_MISSED, "forgotten_at_0.9/champion": 1 - F1_TWO_MISSED}
    )
    assert result.counts["forgotten"] == 2


def test_what_is_unknown_is_empty_and_later_versions_are_held_against_what_was_before_it(store: Path) -> None:
    versions = [scored(store, 1, {"first": TRUTH}), ScoredVersion(version=2), scored(store, 3, {"first": ONE_MISSED})]
    result, matrix = compare(store, *versions)
    assert column(matrix, "f1_at_0.7") == [1, None, round(F1_ONE_MISSED, 6)]
    assert column(matrix, "forgotten_at_0.7") == [None, None, round(1 - F1_ONE_MISSED, 6)]
    assert result.counts["missing"] == 1


def test_a_plate_that_came_later_is_unknown_for_versions_not_scored_on_it(store: Path) -> None:
    versions = [scored(store, 1, {"first": TRUTH}), scored(store, 2, {"first": TRUTH, "007": TWO_MISSED})]
    result, matrix = compare(store, *versions)
    assert column(matrix, "f1_at_0.7") == [None, 1, round(F1_TWO_MISSED, 6), 1]
    assert column(matrix, "forgotten_at_0.7") == [None, None, None, 0]
    assert result.counts["missing"] == 1


def test_the_first_version_alone_forgot_nothing(store: Path) -> None:
    result, _ = compare(store, scored(store, 1, {"first": ONE_MISSED}, "champion"))
    assert (result.metrics, result.counts["forgotten"]) == ({}, 0)


def test_scores_on_other_labels_of_the_same_plate_are_refused(store: Path) -> None:
    old = scored(store, 1, {"first": TRUTH})
    (store / "ingest/first@0123456789ab").rename(store / "ingest/first@ba9876543210")
    add_plate(store, "first", "U2OS", {"a": ONE_MISSED})
    result = store / "segment/1-first/result.json"
    result.write_text(result.read_text().replace("first@0123456789ab", "first@ba9876543210"))
    with pytest.raises(InputError, match=r"first@0123456789ab and ingest/first@ba9876543210; score all on the same"):
        compare(store, old, scored(store, 2, {"first": TRUTH}))


def test_no_scores_at_all_other_outputs_and_a_repeated_version_are_refused(store: Path) -> None:
    with pytest.raises(InputError, match="none of them has scores"):
        compare(store, ScoredVersion(version=1))
    with pytest.raises(InputError, match="first@0123456789ab is an output of ingest; give one of score"):
        compare(store, ScoredVersion(version=1, scores="ingest/first@0123456789ab"))
    with pytest.raises(InputError, match="versions: 1 is there more than once"):
        compare(store, ScoredVersion(version=1), ScoredVersion(version=1))


def test_mlflow_shows_table_and_figure_and_a_curve_over_the_versions(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = [scored(store, 3, {"first": TRUTH}), scored(store, 7, {"first": ONE_MISSED}, "champion")]
    track_in(store, monkeypatch)
    monkeypatch.chdir(store)
    monkeypatch.setenv("MLFLOW_RUN_ID", tracking.open_run("experiments", "dag run", "name"))
    compare(store, *versions)
    client, run_id = MlflowClient(), tracking.Run().id or ""
    artifacts = {item.path for item in client.list_artifacts(run_id, "forgetting")}
    assert artifacts == {"forgetting/matrix.csv", "forgetting/baseline.csv", "forgetting/matrix.png"}
    curve = [(metric.step, metric.value) for metric in client.get_metric_history(run_id, "f1_at_0.7/first")]
    assert curve == [(3, 1), (7, pytest.approx(F1_ONE_MISSED))]
    metrics = client.get_run(run_id).data.metrics
    assert metrics["forgotten_at_0.9/champion"] == pytest.approx(1 - F1_ONE_MISSED)
    assert metrics["forgotten_at_0.9/worst"] == pytest.approx(1 - F1_ONE_MISSED)


def test_mlflow_has_f1_on_each_plate_of_the_versions_whose_runs_are_kept(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = [scored(store, 1, {"first": ONE_MISSED}), scored(store, 2, {"first": TRUTH})]
    track_in(store, monkeypatch)
    monkeypatch.chdir(store)
    (store / "model").mkdir()
    (store / "model/MLmodel").write_text("flavors: {}\n")
    for number in (1, 2):
        monkeypatch.setenv("MLFLOW_RUN_ID", tracking.open_run("base model", f"run {number}", f"model {number}"))
        tracking.Run().register_model(store / "model", str(number) * 16, {}, "A model.")
    client = MlflowClient()
    client.delete_run(tracking.Run().id or "")
    count_own(store, "segment/1-first", 3)
    monkeypatch.setenv("MLFLOW_RUN_ID", tracking.open_run("experiments", "dag run", "name"))
    for _ in range(2):
        compare(store, *versions)
    experiment = client.get_experiment_by_name("base model")
    assert experiment
    f1 = {
        model.name: {metric.key: (metric.dataset_name, round(metric.value, 6)) for metric in model.metrics or []}
        for model in client.search_logged_models([experiment.experiment_id])
    }
    missed = ("first", round(F1_ONE_MISSED, 6))
    assert f1 == {"model 1": {"plate_f1_at_0.7": missed, "plate_f1_at_0.9": missed}, "model 2": {}}
    by_name = {model.name: model for model in client.search_logged_models([experiment.experiment_id])}
    assert by_name["model 1"].tags["own_proposals/first"] == "3"
    assert client.get_run(tracking.Run().id or "").data.tags["own_proposals/first"] == "versions 1"
