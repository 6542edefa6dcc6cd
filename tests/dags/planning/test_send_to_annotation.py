"""Which fields are sent to annotation, by which proposals, and what is asked of the tasks."""

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import ParamValidationError

from nucleus_dags.errors import FormError
from nucleus_dags.forms.send_to_annotation import send_to_annotation_form
from nucleus_dags.manifest import manifest
from nucleus_dags.planning import send_to_annotation
from nucleus_dags.planning.types import FoundModel
from nucleus_dags.plates.skipped import Skipped, SkippedPatch
from nucleus_dags.plates.stored import read_plate
from tasks.annotation.tools import TOOLS
from tasks.steps.choose_patches import Params as ChooseParams
from tasks.steps.find_model import Params as FindParams
from tasks.steps.segment import Params as SegmentParams
from tasks.steps.send_to_annotation import Params as SendParams
from tests.dags.forms.filled import filled
from tests.dags.stored_plates import add_plate

CHAMPION: FoundModel = {
    "version": 4,
    "key": "1111111111111111",
    "method": "fpn2_ws",
    "networks": ["train_fpn2_ws/2"],
    "settings": {"marker_threshold": 0.4, "test_time_augmentation": False},
    "trainings": [],
    "augmentation": {},
}
PLATE = "ingest/screened@000000000000"


def form(**changes: Any) -> dict[str, Any]:
    return filled(send_to_annotation_form(), plate="screened", **changes)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A plate of ten fields in ten wells, of which the first has labels."""
    add_plate(tmp_path, "screened", "screen")
    report = tmp_path / PLATE / "report.json"
    rows = [
        {"fov": f"f{number}", "well": f"A{number:02}", "site": 1, "labels": None if number else "labels/f0.tif"}
        for number in reversed(range(10))
    ]
    report.write_text(json.dumps(json.loads(report.read_text()) | {"fovs": rows}))
    return tmp_path


def result(segmentation: str) -> Any:
    return {"outputs": {"segmentation": segmentation}}


@pytest.mark.parametrize(
    ("amount", "names"),
    [(1, ["f5"]), (2, ["f2", "f7"]), (5, ["f1", "f3", "f5", "f7", "f9"]), (None, [f"f{n}" for n in range(10)])],
)
def test_fields_are_spread_evenly_over_the_plate(amount: int | None, names: list[str], store: Path) -> None:
    assert send_to_annotation.chosen_fovs(read_plate(store, PLATE), store, amount, needs_labels=False) == names


def skip(store: Path, *names: str, **changes: Any) -> Skipped:
    changes = {"patches": 6, "skip": [*names], **changes}
    return send_to_annotation.skipped_of(read_plate(store, PLATE), store, form(**changes))


def test_what_was_skipped_once_is_not_offered_again(store: Path) -> None:
    skip(store, "f1", " f2_y0-50_x10-60 ")
    again = skip(store, f"005_f2_annotation-{'0' * 16}_y50-90_x0-9")
    assert again.fields == ["f1"]
    assert again.patches == [
        {"fov": "f2", "y0": 0, "x0": 10, "y1": 50, "x1": 60},
        {"fov": "f2", "y0": 50, "x0": 0, "y1": 90, "x1": 9},
    ]
    names = send_to_annotation.chosen_fovs(read_plate(store, PLATE), store, None, False, again.fields)
    assert names == [f"f{number}" for number in range(10) if number != 1]
    (line,) = send_to_annotation.skipped_lines(again.fields, again.patches, 1)
    assert line.startswith("Skipped, in this run or before: 1 fields and 2 patches.")


def test_what_was_skipped_is_offered_again_if_a_person_wants_it(store: Path) -> None:
    skip(store, "f1", "f2")
    assert skip(store, "f3", offer_skipped_again=True).fields == ["f3"]
    assert skip(store).fields == ["f3"]


@pytest.mark.parametrize("name", ["f11", "f11_y0-5_x0-5", "f1_y5-5_x0-5", "3"])
def test_a_name_of_no_field_and_no_patch_is_refused_and_nothing_is_skipped(name: str, store: Path) -> None:
    with pytest.raises(FormError, match=f"Skip: {name} is no field of screened .* such as f0, .* such as f0_y0-500_x0"):
        skip(store, "f1", name)
    assert skip(store).fields == []


def test_patches_are_not_skipped_where_whole_fields_are_sent(store: Path) -> None:
    with pytest.raises(FormError, match="f1_y0-5_x0-5 is a patch, and Patches is empty"):
        skip(store, "f1_y0-5_x0-5", patches=None)
    assert skip(store, "f1", patches=None).fields == ["f1"]


def test_a_plate_of_which_all_is_skipped_says_how_to_get_it_back(store: Path) -> None:
    fields = skip(store, *(f"f{number}" for number in range(10))).fields
    with pytest.raises(FormError, match="All fields of screened are skipped; tick Offer skipped ones again"):
        send_to_annotation.chosen_fovs(read_plate(store, PLATE), store, None, False, fields)


def test_own_labels_are_proposed_for_the_fields_that_have_them(store: Path) -> None:
    assert send_to_annotation.chosen_fovs(read_plate(store, PLATE), store, None, needs_labels=True) == ["f0"]


def test_whole_fields_are_segmented_once_in_parts() -> None:
    fovs = [f"f{number}" for number in range(150)]
    parts = send_to_annotation.segmentations_to_make(PLATE, [CHAMPION], fovs, form())
    assert [len(part["fovs"]) for part in parts] == [100, 50]
    assert SegmentParams(**parts[0]).plate == PLATE


def test_where_patches_are_chosen_the_model_looks_at_the_same_fields_in_a_second_way() -> None:
    fovs = [f"f{number}" for number in range(150)]
    first, second = send_to_annotation.segmentations_to_make(PLATE, [CHAMPION], fovs, form(patches=6))
    assert first["fovs"] == second["fovs"] == fovs
    assert (first["settings"], second["settings"]) == (
        {"marker_threshold": 0.4, "test_time_augmentation": False},
        {"marker_threshold": 0.4, "test_time_augmentation": True},
    )
    segmented = [result("segment/1"), result("segment/2")]
    skipped: SkippedPatch = {"fov": "f1", "y0": 0, "x0": 1, "y1": 2, "x1": 3}
    (asked,) = send_to_annotation.choices(PLATE, segmented, [], [skipped], form(patches=6))
    assert ChooseParams(**asked).segmentations == ["segment/1", "segment/2"]
    assert ChooseParams(**asked).skipped[0].patch == (0, 1, 2, 3)
    sent = send_to_annotation.request_of(
        PLATE, fovs, [result("segment/1"), result("segment/2")], "choose_patches/3/p", form(patches=6)
    )
    assert SendParams(**sent).segmentations == ["segment/1"]
    assert SendParams(**sent).asked == "champion"
    assert send_to_annotation.choices(PLATE, [], [], [], form()) == []


def test_where_patches_are_chosen_the_version_before_sees_the_same_fields_too() -> None:
    before: FoundModel = {**CHAMPION, "version": 3, "networks": ["train_fpn2_ws/1"], "settings": {}}
    looks = send_to_annotation.segmentations_to_make(PLATE, [CHAMPION, before], ["f0", "f1"], form(patches=6))
    assert [(look["networks"], look["fovs"]) for look in looks] == [
        *((["train_fpn2_ws/2"], ["f0", "f1"]), (["train_fpn2_ws/2"], ["f0", "f1"])),
        (["train_fpn2_ws/1"], ["f0", "f1"]),
    ]
    assert looks[-1]["settings"] == {}
    parts = send_to_annotation.segmentations_to_make(
        PLATE, [{**CHAMPION, "method": "external", "settings": {}}, before], ["f0"], form(patches=6)
    )
    assert len(parts) == 2


@pytest.mark.parametrize(
    ("proposals", "patches", "asked"),
    [
        ("champion", 6, [{"model": "champion"}, {"model": "champion", "before": True, "may_lack": True}]),
        ("7", 6, [{"model": "7"}, {"model": "7", "before": True, "may_lack": True}]),
        ("champion", None, [{"model": "champion"}]),
        ("classical", 6, [{"model": "classical"}]),
        ("labels", None, []),
    ],
)
def test_of_a_registered_model_the_version_before_is_asked_for_where_patches_are_chosen(
    proposals: str, patches: int | None, asked: list[dict[str, Any]]
) -> None:
    found = send_to_annotation.models_to_find(form(proposals=proposals, patches=patches), "run")
    assert found == [params | {"dag_run_id": "run"} for params in asked]
    assert all(FindParams(**params) for params in found)


def test_of_a_model_without_a_second_way_to_look_a_threshold_is_moved_a_little() -> None:
    classical: FoundModel = {**CHAMPION, **manifest()["baseline"]["model"]}  # type: ignore[typeddict-item]
    looks = send_to_annotation.segmentations_to_make(PLATE, [classical], ["f0"], form(patches=6))
    assert [SegmentParams(**look).settings.model_dump()["threshold_share"] for look in looks] == [0.5, 0.4, 0.6]
    least: FoundModel = {**classical, "settings": {"threshold_share": 0.05}}
    looks = send_to_annotation.segmentations_to_make(PLATE, [least], ["f0"], form(patches=6))
    assert [look["settings"]["threshold_share"] for look in looks] == [0.05, 0.15]


def test_a_model_that_looks_at_a_field_in_one_way_only_can_not_choose_patches() -> None:
    tool: FoundModel = {**CHAMPION, "method": "external", "settings": {}}
    with pytest.raises(FormError, match="external looks at a field in one way only"):
        send_to_annotation.segmentations_to_make(PLATE, [tool], ["f0"], form(patches=6))


@pytest.mark.parametrize("proposals", ["labels", "none"])
def test_patches_need_a_model(proposals: str) -> None:
    with pytest.raises(FormError, match=f"Patches: 6, and Proposals: {proposals}"):
        send_to_annotation.refuse_impossible(form(proposals=proposals, patches=6))
    send_to_annotation.refuse_impossible(form(proposals=proposals))


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(("field", "title"), [("patches", "Patches"), ("nuclei_per_patch", "Nuclei per patch")])
def test_patches_are_refused_for_a_tool_that_does_not_show_them(tool: str, field: str, title: str) -> None:
    send_to_annotation.refuse_impossible(form(tool=tool))
    if TOOLS[tool].by_patches:
        send_to_annotation.refuse_impossible(form(tool=tool, **{field: 6}))
    else:
        with pytest.raises(
            FormError, match=rf"^{title}: 6, and Tool: .* choose a tool that shows patches: Supervisely"
        ):
            send_to_annotation.refuse_impossible(form(tool=tool, **{field: 6}))


@pytest.mark.parametrize(
    ("changes", "target"),
    [({}, "screened-annotated"), ({"proposals": "labels"}, "screened"), ({"target": " mine "}, "mine")],
)
def test_the_annotated_plate_has_a_name_of_its_own_unless_its_labels_are_corrected(
    changes: dict[str, Any], target: str
) -> None:
    params = send_to_annotation.request_of(PLATE, ["f0"], [result("segment/1")], None, form(**changes))
    assert SendParams(**params).target == target


def test_the_form_offers_every_tool_and_every_model_and_refuses_others() -> None:
    assert send_to_annotation_form()["tool"].schema["values_display"] == {
        name: tool.title for name, tool in TOOLS.items()
    }
    field = send_to_annotation_form()["proposals"]
    for proposals in ("champion", "7", "labels", "none", *manifest()["ready_models"]):
        assert field.resolve(proposals) == proposals
    with pytest.raises(ParamValidationError):
        field.resolve("unheard-of")


def test_the_archive_is_laid_out_whole_where_people_fetch_it(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(b"content")
    (tmp_path / "inbox").mkdir()
    laid_out = send_to_annotation.lay_out(archive, tmp_path / "inbox")
    assert laid_out == tmp_path / "inbox/to_annotate/a.zip"
    assert laid_out.read_bytes() == b"content"
    assert [path.name for path in laid_out.parent.iterdir()] == ["a.zip"]
