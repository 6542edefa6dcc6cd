import json
from pathlib import Path
from typing import Any

import pytest

from nucleus_dags.form import PRESETS, train_models_form
from nucleus_dags.plan import FormError, refuse_unknown_fields, segmentation_settings, settings_of_tasks


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    for name, role in (("b-train", "train"), ("a-train", "train"), ("a-test", "test")):
        add_plate(tmp_path, name, role)
    (tmp_path / "no plate").mkdir()
    return tmp_path


def add_plate(inbox: Path, name: str, role: str, folder: str | None = None) -> None:
    (inbox / (folder or name)).mkdir()
    (inbox / (folder or name) / "plate.json").write_text(json.dumps({"name": name, "role": role}))


def plan(inbox: Path, commands: dict[str, Any] | None = None, **form: Any) -> dict[str, Any]:
    defaults = {name: param.value for name, param in train_models_form().items()}
    return settings_of_tasks(defaults | form, PRESETS, inbox, "manual__1", commands or {})


def test_without_names_every_plate_is_taken_for_its_role(inbox: Path) -> None:
    settings = plan(inbox)
    assert settings["train_plates"] == [
        {"folder": str(inbox / "a-train"), "role": "train"},
        {"folder": str(inbox / "b-train"), "role": "train"},
    ]
    assert settings["test_plates"] == [{"folder": str(inbox / "a-test"), "role": "test"}]


def test_named_plates_are_taken_in_the_order_given(inbox: Path) -> None:
    settings = plan(inbox, train_plates=["b-train", "a-train"])
    assert [plate["folder"] for plate in settings["train_plates"]] == [str(inbox / "b-train"), str(inbox / "a-train")]


def test_a_plate_is_known_by_the_name_in_plate_json(inbox: Path) -> None:
    add_plate(inbox, "c-train", "train", folder="copied yesterday")
    settings = plan(inbox, train_plates=["c-train"])
    assert settings["train_plates"] == [{"folder": str(inbox / "copied yesterday"), "role": "train"}]


def test_empty_lines_and_blanks_of_the_form_do_not_count(inbox: Path) -> None:
    assert plan(inbox, train_plates=["b-train ", "", " a-train"]) == plan(inbox, train_plates=["b-train", "a-train"])
    assert plan(inbox, train_plates=[""]) == plan(inbox)


def test_the_mlflow_run_is_called_by_the_date_and_time_of_the_dag_run(inbox: Path) -> None:
    form = {name: param.value for name, param in train_models_form().items()}
    settings = settings_of_tasks(form, PRESETS, inbox, "manual__2026-11-23T04:18:05.123456+00:00", {})
    assert settings["open_run"]["run_name"] == "2026-11-23 04:18:05"


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


def test_two_folders_with_plates_of_one_name_are_refused(inbox: Path) -> None:
    add_plate(inbox, "a-train", "train", folder="copy")
    with pytest.raises(FormError, match="the folders a-train, copy hold plates of one name"):
        plan(inbox)


@pytest.mark.parametrize("content", ['{"name": ', "[]", '{"name": "x"}'])
def test_a_faulty_plate_json_is_refused_with_its_path(inbox: Path, content: str) -> None:
    (inbox / "a-test" / "plate.json").write_text(content)
    with pytest.raises(FormError, match=r"a-test/plate\.json"):
        plan(inbox)


def test_an_empty_field_is_not_sent_so_that_the_preset_holds(inbox: Path) -> None:
    settings = plan(inbox)
    (training,) = trainings(settings)
    assert training == {"task": "train_fpn", "target": "both", "preset": "laptop", "random_seed": 0}
    assert settings["segmentation"] == {"test_time_augmentation": False}


def test_a_filled_field_is_sent(inbox: Path) -> None:
    form: dict[str, Any] = {"encoder": "resnet34", "initialisation": "random", "cycles": 3, "random_seed": 7}
    form["marker_threshold"] = 0.5
    settings = plan(inbox, **form)
    (training,) = trainings(settings)
    assert training == {
        "task": "train_fpn",
        "target": "both",
        "preset": "laptop",
        "encoder": "resnet34",
        "initialisation": "random",
        "cycles": 3,
        "random_seed": 7,
    }
    assert settings["segmentation"] == {"marker_threshold": 0.5, "test_time_augmentation": False}
    assert settings["score"] == {"random_seed": 7}


def test_thresholds_are_calibrated_for_the_images_as_they_will_be_segmented(inbox: Path) -> None:
    settings = plan(inbox, test_time_augmentation=True, marker_threshold=0.5)
    assert settings["calibrate"] == {"test_time_augmentation": True}
    assert settings["segmentation"]["test_time_augmentation"]


def test_the_preset_sets_the_rois_and_a_filled_field_goes_before_it(inbox: Path) -> None:
    assert plan(inbox, preset="paper")["augment"] == {"rois": 35_000, "augmentation": "Full", "random_seed": 0}
    changed = plan(inbox, preset="paper", rois=100, zoom=2)["augment"]
    assert changed == {"rois": 100, "augmentation": "Full", "zoom": 2, "random_seed": 0}


def trainings(settings: dict[str, Any]) -> list[dict[str, Any]]:
    return [training for candidate in settings["candidates"] for training in candidate["trainings"]]


def targets(settings: dict[str, Any]) -> list[str]:
    return [training["target"] for training in trainings(settings)]


def test_two_networks_are_one_for_each_target(inbox: Path) -> None:
    assert targets(plan(inbox, networks="shared")) == ["both"]
    assert targets(plan(inbox, networks="two")) == ["distance_map", "blurred_border"]


def test_the_preset_chooses_one_network_or_two(inbox: Path) -> None:
    assert len(targets(plan(inbox, preset="laptop"))) == 1
    assert len(targets(plan(inbox, preset="paper"))) == 2
    assert len(targets(plan(inbox, preset="paper", networks="shared"))) == 1


def test_every_method_is_a_candidate_with_the_settings_that_are_its_own(inbox: Path) -> None:
    settings = plan(inbox, methods=["mask_rcnn", "fpn2_ws"], encoder="resnet34", cycles=3, initialisation="coco")
    assert [candidate["name"] for candidate in settings["candidates"]] == ["mask_rcnn", "fpn2_ws"]
    shared = {"preset": "laptop", "cycles": 3, "random_seed": 0}
    assert trainings(settings) == [
        {"task": "train_mask_rcnn", "initialisation": "coco"} | shared,
        {"task": "train_fpn", "encoder": "resnet34", "target": "both"} | shared,
    ]


@pytest.mark.parametrize(
    ("first_weights", "fit"),
    [
        ("random", ["mask_rcnn", "fpn2_ws", "jacobkie"]),
        ("imagenet", ["fpn2_ws"]),
        ("coco", ["mask_rcnn", "jacobkie"]),
        ("published", ["mask_rcnn", "jacobkie"]),
        ("train_fpn/0123456789abcdef", ["fpn2_ws"]),
        ("train_mask_rcnn/0123456789abcdef", ["mask_rcnn"]),
    ],
)
def test_first_weights_go_to_the_methods_that_can_take_them(inbox: Path, first_weights: str, fit: list[str]) -> None:
    settings = plan(inbox, methods=["mask_rcnn", "fpn2_ws", "jacobkie"], initialisation=first_weights)
    taken = [c["name"] for c in settings["candidates"] if c["trainings"][0].get("initialisation") == first_weights]
    assert taken == fit


def test_first_weights_that_no_method_can_take_are_refused(inbox: Path) -> None:
    message = "First weights imagenet are of none of the methods mask_rcnn; .* random, coco, published, train_mask_rcnn"
    with pytest.raises(FormError, match=message):
        plan(inbox, methods=["mask_rcnn"], initialisation="imagenet")


def test_every_program_of_others_is_a_candidate_of_its_name(inbox: Path) -> None:
    commands = {"mine": {"segment": ["find"]}, "yours": {"segment": ["look"], "train": ["learn"]}}
    settings = plan(inbox, commands, methods=["fpn2_ws", "external"], cycles=3, initialisation="published")
    assert [candidate["name"] for candidate in settings["candidates"]] == ["fpn2_ws", "mine", "yours"]
    shared = {"task": "train_external", "initialisation": "published", "random_seed": 0}
    assert trainings(settings)[1:] == [
        {"program": "mine", "segment": ["find"]} | shared,
        {"program": "yours", "segment": ["look"], "train": ["learn"]} | shared,
    ]


def test_programs_without_their_method_and_the_method_without_programs_are_refused(inbox: Path) -> None:
    with pytest.raises(FormError, match='Programs are of the method "external": choose both, or none'):
        plan(inbox, methods=["external"])
    with pytest.raises(FormError, match="choose both, or none"):
        plan(inbox, {"mine": {"segment": ["find"]}})


def test_a_program_with_the_name_of_a_method_is_refused(inbox: Path) -> None:
    with pytest.raises(FormError, match="A program is called mask_rcnn, as a method is; give it another name"):
        plan(inbox, {"mask_rcnn": {"segment": ["find"]}}, methods=["external"])


CALIBRATED = {"marker_threshold": 0.5, "foreground_threshold": 0.1, "validation_f1_at_0.7": 0.9}


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, {"marker_threshold": 0.5, "foreground_threshold": 0.1}),
        ({"marker_threshold": 0.7}, {"marker_threshold": 0.7, "foreground_threshold": 0.1}),
        ({"min_score": 0.6}, {"marker_threshold": 0.5, "foreground_threshold": 0.1, "min_score": 0.6}),
        ({"foreground_threshold": 0.2}, {"marker_threshold": 0.5, "foreground_threshold": 0.2}),
    ],
)
def test_a_threshold_is_the_calibrated_one_unless_it_is_chosen(
    chosen: dict[str, float], expected: dict[str, float]
) -> None:
    assert segmentation_settings(chosen, CALIBRATED) == expected


def test_a_field_that_the_form_does_not_have_is_refused() -> None:
    with pytest.raises(FormError, match="no field ciclces; it has cycles, rois"):
        refuse_unknown_fields({"ciclces": 3, "rois": 100}, ["cycles", "rois"])
