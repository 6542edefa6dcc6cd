"""What the tasks of candidates get and hand on: two candidates, of which the second has two networks."""

from typing import Any

import pytest

from nucleus_dags.planning import candidates
from nucleus_dags.planning.baseline import baseline_model
from nucleus_dags.planning.types import OpenedCandidate
from tasks.methods.fpn2_ws.method import Settings
from tasks.steps.calibrate import Params as CalibrateParams
from tasks.steps.register_model import Params as RegisterModelParams
from tasks.steps.report import Params as ReportParams
from tasks.steps.segment import Params as SegmentParams

MASKS: Any = {"name": "mask_rcnn", "method": "mask_rcnn", "trainings": [{"cycles": 3}]}
TWO: Any = {"name": "two", "method": "fpn2_ws", "trainings": [{"target": "distance_map"}, {"target": "blurred_border"}]}
ROIS = "augment/0000000000000000/rois.h5"


def result(mlflow_run_id: str, **parts: Any) -> Any:
    """Give what a task hands on, with no more than is looked at."""
    return {"mlflow_run_id": mlflow_run_id, "outputs": {}, "metrics": {}, "values": {}, "params": {}} | parts


@pytest.fixture
def opened() -> list[OpenedCandidate]:
    found = result("above", values={"children": ["run 1", "run 2"]})
    return candidates.opened_candidates(found, {"candidates": [MASKS, TWO]})


def without_run(params: dict[str, Any]) -> dict[str, Any]:
    """Give the params alone: the operator takes the MLflow run out of them."""
    return {name: value for name, value in params.items() if name != "mlflow_run_id"}


def test_every_candidate_has_an_mlflow_run_of_its_own(opened: list[OpenedCandidate]) -> None:
    assert opened == [MASKS | {"mlflow_run_id": "run 1"}, TWO | {"mlflow_run_id": "run 2"}]


def test_a_single_candidate_has_the_mlflow_run_of_the_dag_run() -> None:
    alone = candidates.opened_candidates(result("above", values={"children": []}), {"candidates": [MASKS]})
    assert alone == [MASKS | {"mlflow_run_id": "above"}]


def test_every_network_is_trained_on_the_same_rois_by_the_task_of_its_method(opened: list[OpenedCandidate]) -> None:
    trainings = candidates.trainings_on(result("above", outputs={"rois": ROIS}), {"candidates": opened})
    assert trainings == [
        {"task": "train_mask_rcnn", "rois": ROIS, "mlflow_run_id": "run 1", "cycles": 3},
        {"task": "train_fpn2_ws", "rois": ROIS, "mlflow_run_id": "run 2", "target": "distance_map"},
        {"task": "train_fpn2_ws", "rois": ROIS, "mlflow_run_id": "run 2", "target": "blurred_border"},
    ]


TRAINED = [
    result(run, outputs={"network": f"train_{method}/{number}"})
    for number, (run, method) in enumerate((("run 1", "mask_rcnn"), ("run 2", "fpn2_ws"), ("run 2", "fpn2_ws")))
]


def test_the_networks_of_a_candidate_are_calibrated_together_with_what_was_chosen_for_its_method(
    opened: list[OpenedCandidate],
) -> None:
    known = {"trained": TRAINED, "settings": {"fpn2_ws": {"min_area_px": 50, "marker_threshold": 0.5}}}
    of_masks, of_two = (candidates.calibration_of(candidate, known) for candidate in opened)
    assert [of_masks["mlflow_run_id"], of_two["mlflow_run_id"]] == ["run 1", "run 2"]
    masks, two = (CalibrateParams(**without_run(params)) for params in (of_masks, of_two))
    assert (masks.networks, masks.search) == (["train_mask_rcnn/0"], ["min_score"])
    assert (two.networks, two.search) == (
        ["train_fpn2_ws/1", "train_fpn2_ws/2"],
        ["foreground_threshold", "mask_threshold", "min_confidence"],
    )
    assert two.settings.min_area_px == 50


def test_a_model_that_is_kept_as_it_came_has_no_rois_and_its_own_settings_but_for_those_that_a_person_chose() -> None:
    training = {"rois": None, "initialisation": "base", "cycles": 0}
    of_lines = {"A": {"marker_threshold": 0.8, "min_area_px": 30}, "B": {"marker_threshold": 0.7}}
    settings = {"marker_threshold": 0.4, "foreground_threshold": 0.2, "for_cell_lines": of_lines}
    base: Any = {"name": "base", "method": "fpn2_ws", "trainings": [training], "settings": settings}
    opened = candidates.opened_candidates(result("above", values={"children": []}), {"candidates": [base]})
    (kept,) = candidates.trainings_on(result("above", outputs={"rois": ROIS}), {"candidates": opened})
    assert kept["rois"] is None
    trained = [result("above", outputs={"network": "train_fpn2_ws/0"})]
    known = {"trained": trained, "settings": {"fpn2_ws": {"marker_threshold": 0.5}}}
    params = CalibrateParams(**without_run(candidates.calibration_of(opened[0], known)))
    assert params.search == []
    assert params.settings.of_cell_line("A") == Settings(marker_threshold=0.5, foreground_threshold=0.2, min_area_px=30)
    for name in ("B", "C"):
        assert params.settings.of_cell_line(name) == Settings(marker_threshold=0.5, foreground_threshold=0.2)


def test_all_settings_that_calibrate_gives_are_handed_on() -> None:
    settings = {"min_area_px": 20, "level": 0.3}
    params = {"method": "fpn2_ws", "networks": ["train_fpn2_ws/1"], "settings": {}}
    handed_on = candidates.calibrated_model(result("run 2", params=params, values={"settings": settings}), {})
    assert handed_on == params | {"settings": settings, "mlflow_run_id": "run 2"}


def test_what_is_handed_on_is_what_a_plate_is_segmented_with_and_what_is_registered() -> None:
    params = {"method": "mask_rcnn", "networks": ["train_mask_rcnn/0"]}
    calibrated = result("run 1", params=params, values={"settings": {"min_score": 0.5}})
    model = without_run(dict(candidates.calibrated_model(calibrated, {})))
    plate = candidates.stored_plate(result("above", outputs={"plate": "ingest/a@000000000000"}))
    assert SegmentParams(**model, **plate).plate == "ingest/a@000000000000"
    assert RegisterModelParams(**model).networks == ["train_mask_rcnn/0"]


def test_the_report_is_on_all_candidates_by_name_and_on_nothing_else(opened: list[OpenedCandidate]) -> None:
    scored = [result(run, outputs={"scores": f"score/{run[-1]}"}) for run in ("above", "run 2", "run 1")]
    params = candidates.report_on({}, {"candidates": opened, "scored": scored})
    assert ReportParams(**params).scores == {"two": "score/2", "mask_rcnn": "score/1"}


def test_metrics_are_shown_by_name_of_those_candidates_that_have_some(opened: list[OpenedCandidate]) -> None:
    assert candidates.metrics_by_name(opened, [result("run 2", metrics={"f1": 0.5})]) == {"two": {"f1": 0.5}}


def test_the_note_says_which_candidates_proposed_labels_that_they_were_scored_against(
    opened: list[OpenedCandidate],
) -> None:
    scored = [result("run 1", counts={}), result("run 2", counts={"own_proposals": 7})]
    assert candidates.remarks_on_own_proposals(opened, scored) == [
        "- F1 of **two** is too good: 7 of the true labels were proposed by it or a model that it began from"
    ]


def test_the_baseline_is_a_model_that_segments(opened: list[OpenedCandidate]) -> None:
    assert SegmentParams(**without_run(dict(baseline_model())), plate="ingest/a@000000000000").networks == []


def test_the_report_and_the_note_show_the_baseline_after_the_candidates(opened: list[OpenedCandidate]) -> None:
    scored: list[Any] = [
        result("", outputs={"scores": "score/0"}, metrics={"f1": 0.4}) | {"mlflow_run_id": None},
        result("run 1", outputs={"scores": "score/1"}, metrics={"f1": 0.5}),
    ]
    names = ["mask_rcnn", "classical, without a training"]
    report = candidates.report_on({}, {"candidates": opened, "scored": scored})
    assert list(ReportParams(**report).scores.items()) == list(zip(names, ["score/1", "score/0"], strict=True))
    assert candidates.metrics_by_name(opened, scored) == dict(zip(names, [{"f1": 0.5}, {"f1": 0.4}], strict=True))


def scored_as(run: str | None, area: float, missed: float = 0.1) -> Any:
    return {"mlflow_run_id": run, "metrics": {"f1_area/all": area, "fn_rate/all": missed}}


def test_the_best_model_that_can_be_used_becomes_the_first_champion_never_the_baseline() -> None:
    scored = [scored_as("1", 0.4), scored_as("2", 0.6), scored_as("3", 0.7, missed=0.5), scored_as(None, 0.9)]
    given = {"reason": "the first model"}
    assert candidates.first_champion_of(given, {"scored": scored}) == {"reason": "the first model", "mlflow_run": "2"}
    assert candidates.first_champion_of(given, {"scored": scored[2:]}) is None
