"""Which models segment which plates, and which label images a model is scored by."""

import json
from pathlib import Path
from typing import Any

import pytest

from nucleus_dags.planning import segmentations
from nucleus_dags.planning.baseline import baseline_model
from tasks.methods.registry import found_methods, method_named
from tasks.steps import find_stored
from tasks.steps.score import Params as ScoreParams
from tasks.steps.segment import Params as SegmentParams

PLATES = [{"plate": f"ingest/{name}@000000000000"} for name in "ab"]


def model(marker_threshold: float, **parts: Any) -> Any:
    settings = {"marker_threshold": marker_threshold}
    return {"method": "fpn2_ws", "networks": ["train_fpn2_ws/1"], "settings": settings, **parts}


CHAMPION, CHALLENGER = model(0.1), model(0.3, mlflow_run_id="a" * 32)


def known(*models: Any, mlflow_run_id: str | None = None) -> dict[str, Any]:
    return {"models": models, "plates": PLATES, "mlflow_run_id": mlflow_run_id}


def test_one_task_asks_for_all_segmentations_by_what_decides_them() -> None:
    asked = find_stored.Params(**segmentations.question_of({"dag_run_id": "a"}, known(CHAMPION, CHALLENGER)))
    assert (asked.task, asked.across) == ("segment", PLATES)
    assert asked.each == [model(0.1), model(0.3)]


def test_what_is_left_is_segmented_by_the_numbers_of_model_and_plate() -> None:
    (left,) = segmentations.left_to_segment([{"each": 1, "across": 0}], known(CHAMPION, CHALLENGER))
    params = segmentations.segmentation_of(left, known(CHAMPION, CHALLENGER))
    assert params.pop("mlflow_run_id") == left["mlflow_run_id"] == "a" * 32
    segmented = SegmentParams(**params)
    assert (segmented.settings.model_dump()["marker_threshold"], segmented.plate) == (0.3, PLATES[0]["plate"])


def test_a_champion_that_has_segmented_all_plates_answers_for_one_of_them_so_that_it_is_logged() -> None:
    to_do = [{"each": 1, "across": 0}, {"each": 1, "across": 1}]
    left = segmentations.left_to_segment(to_do, known(CHAMPION, CHALLENGER, mlflow_run_id="b" * 32))
    assert [(pair["each"], pair["across"]) for pair in left] == [(1, 0), (1, 1), (0, 0)]


def test_with_nothing_left_no_model_that_is_logged_is_skipped_and_of_others_nothing_runs() -> None:
    logged = segmentations.left_to_segment([], known(CHAMPION, CHALLENGER, mlflow_run_id="b" * 32))
    assert [pair["each"] for pair in logged] == [0, 1]
    assert segmentations.left_to_segment([], known(CHAMPION, CHALLENGER)) == []


def test_nothing_is_read_where_nothing_was_asked(tmp_path: Path) -> None:
    (tmp_path / "found.json").write_text('{"stored": [1], "to_do": []}')
    assert segmentations.read_found(tmp_path, "found.json")["stored"] == [1]
    assert segmentations.read_found(tmp_path, "") == {"stored": [], "to_do": []}


def segmented(number: int, by: Any, plate: dict[str, str]) -> Any:
    return {"params": {**model(**by["settings"]), **plate}, "outputs": {"segmentation": f"segment/{number}"}}


def test_models_with_the_same_networks_are_told_apart_by_their_settings_and_scored_in_the_order_of_the_plates() -> None:
    pairs = [(CHAMPION, PLATES[1]), (CHAMPION, PLATES[0]), (CHALLENGER, PLATES[0]), (CHALLENGER, PLATES[1])]
    results = [segmented(number, *pair) for number, pair in enumerate(pairs)]
    of_all = known(mlflow_run_id="b" * 32) | {"segmented": results}
    scorings = [segmentations.scoring_of(one, of_all) for one in (CHAMPION, CHALLENGER)]
    assert [scoring.pop("mlflow_run_id") for scoring in scorings] == ["b" * 32, "a" * 32]
    assert [ScoreParams(**scoring).segmentations for scoring in scorings] == [
        ["segment/1", "segment/0"],
        ["segment/2", "segment/3"],
    ]


@pytest.mark.parametrize("method", sorted(found_methods()))
def test_what_a_model_of_any_method_segments_with_is_found_again_in_its_results(method: str) -> None:
    of_line = {"U2OS": {"min_area_px": 20}}
    settings = method_named(method).settings(min_area_px=30, for_cell_lines=of_line).model_dump(mode="json")
    networks = ["train/1"] if method_named(method).has_networks else []
    calibrated: Any = {"method": method, "networks": networks, "settings": settings}
    params = SegmentParams(**calibrated, **PLATES[0]).model_dump(mode="json")
    done: Any = {"params": json.loads(json.dumps(params)), "outputs": {"segmentation": "segment/0"}}
    of_all = {"plates": PLATES[:1], "mlflow_run_id": None, "segmented": [done]}
    assert segmentations.scoring_of(calibrated, of_all) == {"segmentations": ["segment/0"]}


def test_a_model_that_was_registered_twice_is_scored_once_on_each_plate() -> None:
    results = [segmented(number, CHAMPION, PLATES[number % 2]) for number in range(4)]
    params = segmentations.scoring_of(CHAMPION, known() | {"segmented": results})
    assert params == {"segmentations": ["segment/2", "segment/3"]}


def test_a_model_is_not_scored_on_some_of_the_plates_as_if_they_were_all() -> None:
    results = [segmented(0, CHAMPION, PLATES[0]), segmented(1, CHALLENGER, PLATES[1])]
    with pytest.raises(ValueError, match="train_fpn2_ws/1 segmented 1 of 2 plates; ingest/b@000000000000 is lacking"):
        segmentations.scoring_of(CHAMPION, known() | {"segmented": results})


def test_the_baseline_is_scored_beside_the_models_without_an_mlflow_run() -> None:
    baseline = dict(baseline_model())
    segmented_by_it: Any = {
        "params": {**{name: baseline[name] for name in segmentations.MODEL}, "plate": PLATES[0]["plate"]},
        "outputs": {"segmentation": "segment/b"},
    }
    asked = {"models": [baseline], "plates": PLATES[:1], "mlflow_run_id": "run", "segmented": [segmented_by_it]}
    assert segmentations.scoring_of(baseline, asked) == {"segmentations": ["segment/b"], "mlflow_run_id": None}
