"""From a filled form and the plates of an inbox to what `train_models` does."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nucleus_dags.errors import FormError
from nucleus_dags.forms.train_models import train_models_form
from nucleus_dags.planning import retire_plate, train_models
from nucleus_dags.planning.retire_plate import RETIRE
from nucleus_dags.planning.types import TrainModelsPlan
from tasks.steps.augment import Params as AugmentParams
from tasks.steps.open_run import Params as OpenRunParams
from tests.dags.forms.filled import filled
from tests.dags.stored_plates import add_plate as add_stored_plate


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    for name, role in (("b-train", "train"), ("a-train", "train"), ("a-test", "test")):
        add_plate(tmp_path, name, role)
    (tmp_path / "no plate").mkdir()
    return tmp_path


def add_plate(inbox: Path, name: str, role: str, folder: str | None = None) -> None:
    (inbox / (folder or name)).mkdir()
    (inbox / (folder or name) / "plate.json").write_text(json.dumps({"name": name, "role": role}))


def plan(inbox: Path, dag_run_id: str = "manual__1", **form: Any) -> TrainModelsPlan:
    return train_models.plan(filled(train_models_form(), **form), inbox, inbox.parent / "store", dag_run_id)


def test_without_names_every_plate_is_taken_for_its_role(inbox: Path) -> None:
    planned = plan(inbox)
    assert planned["train_plates"] == [
        {"folder": str(inbox / "a-train"), "role": "train"},
        {"folder": str(inbox / "b-train"), "role": "train"},
    ]
    assert planned["test_plates"] == [{"folder": str(inbox / "a-test"), "role": "test"}]


def test_named_plates_are_taken_in_the_order_given(inbox: Path) -> None:
    planned = plan(inbox, train_plates=["b-train", "a-train"])
    assert [plate["folder"] for plate in planned["train_plates"]] == [str(inbox / "b-train"), str(inbox / "a-train")]


def test_a_plate_is_known_by_the_name_in_plate_json(inbox: Path) -> None:
    add_plate(inbox, "c-train", "train", folder="copied yesterday")
    planned = plan(inbox, train_plates=["c-train"])
    assert planned["train_plates"] == [{"folder": str(inbox / "copied yesterday"), "role": "train"}]


def test_a_named_plate_that_is_not_in_the_inbox_is_taken_from_the_store_in_its_newest_version(
    inbox: Path, tmp_path: Path
) -> None:
    store = tmp_path / "results"
    add_stored_plate(store, "annotated", "train")
    newest = add_stored_plate(store, "annotated", "train", "1" * 12, day=2)
    add_stored_plate(store, "a-train", "train")
    form = filled(train_models_form(), train_plates=["annotated", "a-train"])
    planned = train_models.plan(form, inbox, store, "manual__1")
    folders = [plate["folder"] for plate in planned["train_plates"]]
    assert folders == [str(store / newest), str(inbox / "a-train")]
    with pytest.raises(FormError, match="No test plate named annotated"):
        train_models.plan(filled(train_models_form(), test_plates=["annotated"]), inbox, store, "manual__1")


def test_imported_plates_that_an_empty_form_does_not_take_are_told_of(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for name, role in (("a-train", "train"), ("a-test", "test")):
        add_plate(inbox, name, role)
        add_stored_plate(tmp_path / "store", name, role)
    add_stored_plate(tmp_path / "store", "corrected", "train")
    told = (
        "Imported train plates that aren't in the inbox are left out: `corrected`. To use them, name in the form all "
        "train plates that are to be used."
    )
    assert plan(inbox)["left_out"] == [told]
    assert plan(inbox, test_plates=["a-test"])["left_out"] == [told]
    assert plan(inbox, train_plates=["a-train", "corrected"])["left_out"] == []


def test_a_retired_plate_is_left_out_and_told_of_or_refused_where_it_is_named(inbox: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    add_stored_plate(store, "a-train", "train")
    form = {"plate": "a-train", "change": RETIRE, "reason": "Out of focus."}
    retire_plate.change(store, form, "anna", datetime(2026, 11, 27, 12, tzinfo=UTC), "manual__1")
    told = "a-train isn't used; it was retired by anna on 2026-11-27 12:00 UTC: Out of focus."
    planned = train_models.plan(filled(train_models_form()), inbox, store, "manual__2")
    assert planned["train_plates"] == [{"folder": str(inbox / "b-train"), "role": "train"}]
    assert told in planned["left_out"]
    with pytest.raises(FormError, match=re.escape(told)):
        train_models.plan(filled(train_models_form(), train_plates=["a-train"]), inbox, store, "manual__2")


def test_empty_lines_and_blanks_of_the_form_do_not_count(inbox: Path) -> None:
    assert plan(inbox, train_plates=["b-train ", "", " a-train"]) == plan(inbox, train_plates=["b-train", "a-train"])
    assert plan(inbox, train_plates=[""]) == plan(inbox)


def test_an_unknown_plate_is_refused_with_the_known_ones(inbox: Path) -> None:
    with pytest.raises(FormError, match=r"No test plate named x: .* has a-test \(test\), a-train \(train\), b-train"):
        plan(inbox, test_plates=["a-test", "x"])


def test_a_plate_of_the_other_role_is_refused(inbox: Path) -> None:
    with pytest.raises(FormError, match="No test plate named a-train"):
        plan(inbox, test_plates=["a-train"])


@pytest.mark.parametrize("role", ["train", "test"])
def test_an_inbox_without_a_plate_for_a_role_is_refused(tmp_path: Path, role: str) -> None:
    add_plate(tmp_path, "only", "test" if role == "train" else "train")
    with pytest.raises(FormError, match=f"No {role} plate: .* has only"):
        plan(tmp_path)


def test_an_empty_inbox_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormError, match=r"No train plate: .* has no plate"):
        plan(tmp_path)


def test_a_faulty_plate_json_keeps_no_other_plate_from_being_trained_on_and_is_told_of(inbox: Path) -> None:
    (inbox / "a-train" / "plate.json").write_text("[]")
    planned = plan(inbox)
    assert planned["train_plates"] == [{"folder": str(inbox / "b-train"), "role": "train"}]
    remark, other = train_models.remarks(inbox, planned["left_out"], [], [])
    assert remark == (
        f"- Left out of the inbox: {inbox}/a-train/plate.json must be a JSON object with name and role; correct it."
    )
    assert other.startswith("- Left out of the inbox: `no plate` isn't a plate: it is an empty folder")


def test_what_is_no_plate_is_told_of_unless_all_plates_are_named_and_where_one_is_missed(inbox: Path) -> None:
    (inbox / "no plate").rmdir()
    (inbox / "a-train" / "plate.json").rename(inbox / "a-train" / "plate.json.txt")
    told = "Left out of the inbox: `a-train` isn't a plate: it has no plate.json; rename plate.json.txt to plate.json."
    assert plan(inbox)["left_out"] == [told]
    assert plan(inbox, train_plates=["b-train"])["left_out"] == [told]
    assert plan(inbox, train_plates=["b-train"], test_plates=["a-test"])["left_out"] == []
    with pytest.raises(FormError, match="No train plate named a-train: ") as raised:
        plan(inbox, train_plates=["a-train"])
    assert str(raised.value).endswith(told)


def test_a_faulty_plate_json_is_refused_with_its_path_where_it_is_chosen_or_the_only_one(inbox: Path) -> None:
    (inbox / "a-test" / "plate.json").write_text("[]")
    for chosen in ([], ["a-test"], ["another"]):
        with pytest.raises(FormError, match=r"a-test/plate\.json"):
            plan(inbox, test_plates=chosen)


def test_two_folders_of_one_name_are_refused_unless_other_plates_are_chosen(inbox: Path) -> None:
    add_plate(inbox, "a-train", "train", folder="copy")
    assert plan(inbox, train_plates=["b-train"])["train_plates"][0]["folder"] == str(inbox / "b-train")
    for chosen in ([], ["a-train"]):
        with pytest.raises(FormError, match="the folders a-train, copy hold plates of one name, a-train"):
            plan(inbox, train_plates=chosen)


def test_doubts_about_the_plates_are_told_before_the_training(tmp_path: Path) -> None:
    train = add_stored_plate(tmp_path, "a", "train")
    test = add_stored_plate(tmp_path, "t", "test", doubts=["labels/1.tif: seem to be those of 2.tif"])
    assert train_models.remarks(tmp_path, [], [train], []) == []
    assert train_models.remarks(tmp_path, [], [train], [test]) == [
        "- **t**: 1 doubt about its labels or images; scores on the plate may be wrong; correct them, or confirm them "
        'by `"labels_confirmed": true` in plate.json:',
        "  - labels/1.tif: seem to be those of 2.tif",
    ]


def test_the_mlflow_run_is_called_by_the_date_and_time_of_the_dag_run(inbox: Path) -> None:
    opened = plan(inbox, "manual__2026-11-23T04:18:05.123456+00:00", experiment="mine")["open_run"]
    assert OpenRunParams(**opened).run_name == "fpn2_ws on a-train + b-train · 2026-11-23 04:18:05"
    assert opened["experiment"] == "mine"


def test_several_candidates_have_an_mlflow_run_each_and_a_single_one_has_that_of_the_dag_run(inbox: Path) -> None:
    assert plan(inbox, initialisation="random")["open_run"]["children"] == []
    assert plan(inbox)["open_run"]["children"] == ["fpn2_ws", "base, not trained further"]
    planned = plan(inbox, methods=["mask_rcnn", "external"], tool=["stardist", "cellpose"])
    assert planned["open_run"]["children"] == ["mask_rcnn", "stardist", "cellpose"]
    assert [candidate["name"] for candidate in planned["candidates"]] == planned["open_run"]["children"]


def test_the_preset_sets_the_rois_and_a_filled_field_goes_before_it(inbox: Path) -> None:
    def augment(**form: Any) -> AugmentParams:
        return AugmentParams(plates=["ingest/a@000000000000"], **plan(inbox, **form)["augment"])

    laptop, paper = augment(), augment(preset="paper")
    assert (laptop.rois, laptop.augmentation, laptop.scaling, laptop.nucleus_px) == (5000, "Gentle", "percentile", 28)
    assert (paper.rois, paper.augmentation, paper.scaling, paper.nucleus_px) == (35_000, "Full", "minmax", None)
    assert laptop.zoom == paper.zoom == 1
    changed = augment(rois=100, zoom=2, augmentation="None", scaling="minmax", random_seed=7)
    assert (changed.rois, changed.augmentation, changed.scaling, changed.random_seed) == (100, "None", "minmax", 7)
    assert (changed.zoom, changed.nucleus_px) == (2, None)
    assert augment(nucleus_px=40).nucleus_px == augment(nucleus_px=40, preset="paper").nucleus_px == 40


def test_plates_are_not_magnified_in_two_ways_at_once(inbox: Path) -> None:
    with pytest.raises(FormError, match="Zoom and nuclear diameter seen are two ways to magnify plates; leave one"):
        plan(inbox, zoom=1, nucleus_px=28)


def test_the_random_seed_is_that_of_augmentation_training_and_scores(inbox: Path) -> None:
    planned = plan(inbox, random_seed=7)
    assert planned["augment"]["random_seed"] == 7
    assert planned["candidates"][0]["trainings"][0]["random_seed"] == 7


def test_what_a_person_chose_for_the_segmentation_is_kept_by_method(inbox: Path) -> None:
    planned = plan(inbox, methods=["fpn2_ws", "mask_rcnn"], marker_threshold=0.5, min_area_px=50, min_score=0.6)
    assert planned["settings"] == {
        "fpn2_ws": {"marker_threshold": 0.5, "min_area_px": 50},
        "mask_rcnn": {"min_score": 0.6, "min_area_px": 50},
    }


def test_a_field_that_the_form_does_not_have_is_refused() -> None:
    with pytest.raises(FormError, match="no field ciclces; it has cycles, rois"):
        train_models.refuse_unknown_fields({"ciclces": 3, "rois": 100}, ["cycles", "rois"])
