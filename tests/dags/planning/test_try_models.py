"""Which models are tried on a labelled plate, and under which names."""

from pathlib import Path
from typing import Any

import pytest

from nucleus_dags.errors import FormError
from nucleus_dags.forms.try_models import try_models_form
from nucleus_dags.manifest import manifest
from nucleus_dags.planning import try_models
from tasks.steps.find_model import Params as FindModelParams
from tasks.steps.report import Params as ReportParams
from tasks.steps.segment import Params as SegmentParams
from tasks.steps.suffice import Params as SufficeParams
from tests.dags.stored_plates import add_plate
from tests.plates import make_plate


def form(**filled: Any) -> dict[str, Any]:
    return {name: field.resolve() for name, field in try_models_form().items() if name != "plate"} | filled


def found(name: str, network: str | None, version: int | None = None) -> Any:
    networks, to_store = ([network], [{"task": "train_fpn2_ws", "rois": None}]) if network else ([], [])
    method = "fpn2_ws" if network else "classical"
    model: Any = {
        "version": version,
        "name": name,
        "key": "1" * 16,
        "method": method,
        "networks": networks,
        "settings": {},
    }
    return {"values": {"model": model | ({} if version else {"to_store": to_store})}}


def listed(version: int, *aliases: str, network: str | None = None) -> Any:
    model = {"method": "fpn2_ws", "networks": [network or f"train_fpn2_ws/{version}"], "settings": {}}
    return {"version": version, "aliases": list(aliases), "model": model}


BASE, PLAIN = found("base", "train_fpn2_ws/base"), found("classical", None)
TOOL = found("external:cellpose", "train_external/1")
REFUSED = {"refused": "find_model: external:stardist has no weights."}


def test_a_plate_needs_labels(tmp_path: Path) -> None:
    inbox, store = tmp_path / "inbox", tmp_path / "store"
    inbox.mkdir()
    add_plate(store, "labelled", "test")
    add_plate(store, "stored", "screen")
    make_plate(inbox / "arrived", {}, {}, role="screen")
    assert try_models.find_labelled_plate("labelled", inbox, store) == {"plate": "ingest/labelled@000000000000"}
    for name in ("stored", "arrived"):
        with pytest.raises(FormError, match=f"{name} has the role screen, and no labels to be scored against; choose"):
            try_models.find_labelled_plate(name, inbox, store)


def test_without_a_word_all_models_that_need_no_training_are_asked_for() -> None:
    asked = [FindModelParams(**params).model for params in try_models.models_to_find(form(), "run")]
    assert asked == list(manifest()["ready_models"])
    assert [params["model"] for params in try_models.models_to_find(form(models=[" 3", ""]), "run")] == ["3"]


def test_the_networks_of_models_that_are_not_registered_are_put_into_the_store() -> None:
    parts = try_models.networks_to_store([BASE, PLAIN, REFUSED, found("", "train_fpn2_ws/3", version=3)])
    assert parts == [{"task": "train_fpn2_ws", "rois": None}]


def test_all_that_need_no_training_and_the_newest_versions_and_those_with_an_alias_are_tried() -> None:
    versions = [listed(1, "champion"), listed(2), listed(3), listed(4), listed(5)]
    tried = try_models.tried_models(form(), [BASE, PLAIN, TOOL, REFUSED], [], versions)
    registered = ["version 1, champion", "version 3", "version 4", "version 5"]
    assert tried.names == ["base", "classical", "external cellpose", *registered]
    assert tried.left_out == ["- Not tried: find_model: external:stardist has no weights."]
    for model in tried.models:
        params = {name: value for name, value in model.items() if name != "mlflow_run_id"}
        assert SegmentParams.model_validate({**params, "plate": "ingest/a@000000000000"})
        assert model["mlflow_run_id"] is None


def test_a_model_that_has_several_names_is_tried_once_under_all_of_them() -> None:
    versions = [listed(1, "champion", network="train_fpn2_ws/base")]
    tried = try_models.tried_models(form(), [BASE, PLAIN], [], versions)
    assert tried.names == ["base (version 1, champion)", "classical"]


def test_a_version_whose_model_the_store_lacks_is_not_tried() -> None:
    lost: Any = {"version": 1, "aliases": ["champion"], "model": None}
    assert try_models.tried_models(form(), [PLAIN], [], [lost]).names == ["classical"]


def test_what_a_person_names_is_tried_alone_and_must_be_there() -> None:
    named = form(models=["3", "external:stardist"])
    third = found("", "train_fpn2_ws/3", version=3)
    assert try_models.tried_models(named, [third], [], [listed(4)]).names == ["version 3"]
    with pytest.raises(FormError, match="external:stardist has no weights"):
        try_models.tried_models(named, [third, REFUSED], [], [])


def test_without_any_model_there_is_nothing_to_try() -> None:
    with pytest.raises(FormError, match=r"There is no model to try(.|\n)*external:stardist has no weights"):
        try_models.tried_models(form(), [REFUSED], [], [])


def test_a_model_whose_networks_cannot_be_stored_is_named_and_the_others_are_tried() -> None:
    stored = [{"refused": "cellpose isn't installed.", "params": {"rois": None}}, None, {"task": "train_fpn2_ws"}]
    tried = try_models.tried_models(form(), [PLAIN, TOOL], stored, [listed(1)])
    assert tried.names == ["classical", "version 1"]
    assert tried.left_out == ["- Not tried: external cellpose: cellpose isn't installed."]


def test_a_model_that_cannot_segment_is_named_with_its_error_and_the_others_are_answered_for() -> None:
    broken, whole = try_models.tried_models(form(), [BASE, PLAIN], [], []).models
    failed = {"refused": "no memory", "params": {**broken, "plate": "ingest/a@000000000000"}}
    assert try_models.reason_without_segmentation(broken, [failed]) == "no memory"
    assert try_models.reason_without_segmentation(whole, [failed]) is None
    known: Any = {"names": ["base", "classical"], "scored": [failed, {"outputs": {"scores": "score/1"}}]}
    assert try_models.report_of({}, known) == {"scores": {"classical": "score/1"}}
    assert try_models.broken_lines(**known) == ["- **base** failed, and isn't among the answers: no memory"]


def test_if_all_models_break_the_reasons_are_said() -> None:
    known = {"names": ["base"], "scored": [{"refused": "no memory", "params": {}}]}
    with pytest.raises(FormError, match=r"No model could be scored(.|\n)*base.* no memory"):
        try_models.report_of({}, known)


def test_report_and_answer_have_the_scores_by_the_names_of_the_models() -> None:
    scored = [{"outputs": {"scores": f"score/{number}"}} for number in range(2)]
    known = {"names": ["base", "classical"], "scored": scored}
    by_name = {"base": "score/0", "classical": "score/1"}
    assert ReportParams(**try_models.report_of({}, known)).scores == by_name
    levels = try_models.levels_of(form(least_f1_of_objects=0.9)) | {"dag_run_id": "run"}
    answer = SufficeParams(**levels, **try_models.report_of({}, known))
    assert (answer.scores, answer.levels) == (by_name, {0.7: 0.9, 0.9: 0.6})


def test_the_note_begins_with_the_answer() -> None:
    answered: Any = {"values": {"in_short": "Good enough: base", "lines": ["| table |"]}}
    lines = try_models.lines_of(answered, "page", ["- b failed"], ["- Not tried: a"], ["- remark"])
    first = ["Good enough: base", "", "- b failed", "", "| table |", ""]
    assert lines == [*first, "page", "", "- Not tried: a", "- remark"]
