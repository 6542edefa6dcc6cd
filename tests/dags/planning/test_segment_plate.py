"""Which plate is segmented, and in which parts."""

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import ParamValidationError

from nucleus_dags.errors import FormError
from nucleus_dags.forms.segment_plate import segment_plate_form
from nucleus_dags.planning import segment_plate
from nucleus_dags.planning.types import FoundModel, ReadyModel
from tasks.steps.assemble_plate import Params as AssemblePlateParams
from tasks.steps.segment import Params as SegmentParams
from tests.dags.stored_plates import add_plate
from tests.plates import make_plate

CHAMPION: FoundModel = {
    "version": 4,
    "key": "1111111111111111",
    "method": "fpn2_ws",
    "networks": ["train_fpn2_ws/2"],
    "settings": {"marker_threshold": 0.4},
    "trainings": [],
    "augmentation": {},
}


def test_a_plate_of_the_inbox_goes_before_one_of_the_store(inbox: Path, store: Path) -> None:
    add_plate(store, "a", "screen")
    assert segment_plate.find_plate("a", inbox, store) == {"plate": "ingest/a@000000000000"}
    folder = make_plate(inbox / "a", {}, {})
    assert segment_plate.find_plate("a", inbox, store) == {"folder": str(folder)}


def test_of_the_store_the_newest_version_counts_unless_one_is_named(inbox: Path, store: Path) -> None:
    add_plate(store, "a", "screen")
    add_plate(store, "a", "screen", "1" * 12, day=2)
    assert segment_plate.find_plate("a", inbox, store) == {"plate": "ingest/a@111111111111"}
    make_plate(inbox / "a", {}, {})
    older = segment_plate.find_plate("a@000000000000", inbox, store)
    assert older == {"plate": "ingest/a@000000000000"}


@pytest.mark.parametrize("role", ["train", "test", "screen"])
def test_plates_of_every_role_can_be_segmented(role: str, inbox: Path, store: Path) -> None:
    plate = add_plate(store, "a", role)
    assert segment_plate.find_plate("a", inbox, store) == {"plate": plate}


def test_an_unknown_plate_is_refused_with_the_names_that_there_are(inbox: Path, store: Path) -> None:
    make_plate(inbox / "b", {}, {})
    add_plate(store, "a", "screen")
    with pytest.raises(FormError, match=r"There is no plate named c, .* there are: a, b"):
        segment_plate.find_plate("c", inbox, store)


def test_a_faulty_neighbour_in_the_inbox_keeps_no_plate_of_the_store_from_being_found(inbox: Path, store: Path) -> None:
    add_plate(store, "a", "screen")
    (make_plate(inbox / "b", {}, {}) / "plate.json").write_text("{")
    assert segment_plate.find_plate("a", inbox, store) == {"plate": "ingest/a@000000000000"}
    with pytest.raises(FormError, match=r"(?s)There is no plate named c.*\n.*/b/plate\.json can't be read"):
        segment_plate.find_plate("c", inbox, store)


def test_a_plate_whose_plate_json_in_the_inbox_cannot_be_read_is_not_taken_from_the_store_in_silence(
    inbox: Path, store: Path
) -> None:
    add_plate(store, "a", "screen")
    (make_plate(inbox / "a", {}, {}) / "plate.json").write_text("{")
    with pytest.raises(FormError, match=r"inbox/a/plate\.json can't be read"):
        segment_plate.find_plate("a", inbox, store)
    assert segment_plate.find_plate("a@000000000000", inbox, store) == {"plate": "ingest/a@000000000000"}


def test_a_plate_that_is_missed_may_be_among_what_is_no_plate(inbox: Path, store: Path) -> None:
    (make_plate(inbox / "a", {}, {}) / "plate.json").rename(inbox / "a" / "Plate.json")
    with pytest.raises(
        FormError, match=r"no plate named a, (?s:.)*`a` isn't a plate: it has no plate.json; rename Pla"
    ):
        segment_plate.find_plate("a", inbox, store)


def test_a_name_in_two_folders_is_refused_and_keeps_no_other_plate_from_being_found(inbox: Path, store: Path) -> None:
    for folder in ("a", "copy"):
        make_plate(inbox / folder, {}, {}, name="a")
    other = make_plate(inbox / "b", {}, {})
    assert segment_plate.find_plate("b", inbox, store) == {"folder": str(other)}
    with pytest.raises(FormError, match="the folders a, copy hold plates of one name, a; rename all but one"):
        segment_plate.find_plate("a", inbox, store)


def test_blanks_around_a_name_do_not_count(inbox: Path, store: Path) -> None:
    folder = make_plate(inbox / "a", {}, {})
    assert segment_plate.find_plate(" a ", inbox, store) == {"folder": str(folder)}


def test_parts_follow_wells_and_sites_and_hold_every_field_once(store: Path) -> None:
    plate = add_plate(store, "a", "screen")
    places = [("B07", 10), ("B07", 2), ("A01", 1), ("", None), ("B07", 1)]
    rows: list[dict[str, Any]] = [{"fov": f"{well}-{site}", "well": well, "site": site} for well, site in places]
    (store / plate / "report.json").write_text(json.dumps({"fovs": rows}))
    parts = segment_plate.parts(store, plate, CHAMPION, fovs_per_part=2)
    found = [SegmentParams(**part) for part in parts]
    assert [part.fovs for part in found] == [["-None", "A01-1"], ["B07-1", "B07-2"], ["B07-10"]]
    assert {str(part.made_by) for part in found} == {"nucleus-segmenter version 4, 1111111111111111"}
    assert {part.settings.model_dump()["marker_threshold"] for part in found} == {0.4}
    assert [part.networks for part in found] == [["train_fpn2_ws/2"]] * 3


def test_the_parts_are_put_together_as_the_work_of_their_model(store: Path) -> None:
    plate = add_plate(store, "a", "screen")
    (store / plate / "report.json").write_text(json.dumps({"fovs": [{"fov": "1", "well": "A01", "site": 1}]}))
    given = {"ome_zarr": True, "segmentations": ["segment/0123456789abcdef"]}
    params = segment_plate.assembly_of(given, {"parts": segment_plate.parts(store, plate, CHAMPION, 10)})
    assert str(AssemblePlateParams(**params).model) == "nucleus-segmenter version 4, 1111111111111111"
    assert params["segmentations"] == ["segment/0123456789abcdef"]


def test_every_part_is_told_the_nuclear_diameter_that_a_person_gave(store: Path) -> None:
    plate = add_plate(store, "a", "screen")
    (store / plate / "report.json").write_text(json.dumps({"fovs": [{"fov": "1", "well": "A01", "site": 1}]}))
    (part,) = segment_plate.parts(store, plate, CHAMPION, 10, nuclear_diameter_px=40.5)
    assert SegmentParams(**part).nuclear_diameter_px == 40.5


@pytest.mark.parametrize("name", ["../../elsewhere/a@000000000000", "a@000000000000/../../../elsewhere/a@000000000000"])
def test_a_name_that_leads_out_of_the_store_is_no_plate(inbox: Path, store: Path, name: str) -> None:
    add_plate(store, "a", "screen")
    add_plate(store.parent / "elsewhere", "a", "screen")
    (store.parent / "elsewhere/ingest/a@000000000000").rename(store.parent / "elsewhere/a@000000000000")
    assert (store / "ingest" / name).is_dir()
    with pytest.raises(FormError, match="There is no plate named"):
        segment_plate.find_plate(name, inbox, store)


READY: ReadyModel = {
    "version": None,
    "name": "base",
    "key": "2222222222222222",
    "method": "fpn2_ws",
    "networks": ["train_fpn2_ws/3"],
    "settings": {},
    "trainings": [],
    "augmentation": None,
    "to_store": [{"task": "train_fpn2_ws", "rois": None, "cycles": 0}],
}


def test_a_model_that_needs_no_training_is_named_in_all_that_it_makes(store: Path) -> None:
    plate = add_plate(store, "a", "screen")
    (store / plate / "report.json").write_text(json.dumps({"fovs": [{"fov": "1", "well": "A01", "site": 1}]}))
    parts = segment_plate.parts(store, plate, READY, 10)
    assert str(SegmentParams(**parts[0]).made_by) == "base, 2222222222222222"
    given = {"segmentations": ["segment/0123456789abcdef"]}
    assert (
        str(AssemblePlateParams(**segment_plate.assembly_of(given, {"parts": parts})).model) == "base, 2222222222222222"
    )


def test_only_of_a_model_that_is_not_registered_networks_are_put_into_the_store() -> None:
    registered: Any = {"values": {"model": CHAMPION}}
    ready: Any = {"values": {"model": READY}}
    assert segment_plate.networks_to_store(registered, {}) == []
    assert segment_plate.networks_to_store(ready, {}) == READY["to_store"]


@pytest.mark.parametrize("model", ["champion", "3", "base", "classical", "external:cellpose", "external:our_tool"])
def test_the_form_takes_registered_models_and_those_that_need_no_training(model: str) -> None:
    assert segment_plate_form()["model"].resolve(model) == model


@pytest.mark.parametrize("model", ["best", "0", "external:", "external", "external:../x", "classical "])
def test_the_form_refuses_what_names_no_model(model: str) -> None:
    with pytest.raises(ParamValidationError):
        segment_plate_form()["model"].resolve(model)
