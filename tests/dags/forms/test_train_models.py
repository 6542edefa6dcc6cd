"""The form of `train_models`."""

import pytest
from airflow.sdk.exceptions import ParamValidationError

from nucleus_dags.forms.train_models import train_models_form

WRONG_VALUES = [
    ("train_plates", "a-train"),
    ("train_plates", ["a", "a"]),
    ("test_plates", [3]),
    ("preset", "desktop"),
    ("networks", "three"),
    ("encoder", "resnet35"),
    ("initialisation", "cocoa"),
    ("methods", []),
    ("methods", ["u_net"]),
    ("methods", ["mask_rcnn", "mask_rcnn"]),
    ("methods", ["fpn2_ws", "fpn2-ws"]),
    ("initialisation", "train_fpn2_ws/../ingest"),
    ("initialisation", "published"),
    ("tool", ["stardist", "stardist"]),
    ("rois", 9),
    ("rois", 10_000_001),
    ("rois", 100.5),
    ("zoom", 5),
    ("scaling", "clahe"),
    ("cycles", -1),
    ("cycles", 10_001),
    ("batch_size", 0),
    ("learning_rate", 0),
    ("augmentation", "full"),
    ("marker_threshold", 1),
    ("marker_threshold", "0.6"),
    ("foreground_threshold", 0),
    ("test_time_augmentation", "yes"),
    ("min_score", 0.2),
    ("min_area_px", -1),
    ("max_area_px", 0),
    ("padding", "mirror"),
    ("max_tile_px", 1000),
    ("halo_px", 33),
    ("random_seed", -1),
    ("random_seed", None),
    ("experiment", ""),
]


@pytest.mark.parametrize(("field", "value"), WRONG_VALUES)
def test_a_wrong_value_is_refused(field: str, value: object) -> None:
    with pytest.raises(ParamValidationError):
        train_models_form()[field].resolve(value)


@pytest.mark.parametrize("task", ["train_fpn2_ws", "train_fpn", "train_jacobkie"])
def test_initial_weights_may_be_a_network_of_the_store_also_of_the_earlier_name_of_its_task(task: str) -> None:
    train_models_form()["initialisation"].resolve(f"{task}/0123456789abcdef")


@pytest.mark.parametrize("field", train_models_form())
def test_every_field_has_a_valid_default_a_title_and_an_explanation(field: str) -> None:
    param = train_models_form()[field]
    param.resolve()
    assert param.schema["title"]
    assert param.description
    assert param.schema["section"]


def test_every_choice_that_is_shown_otherwise_is_a_choice() -> None:
    for param in train_models_form().values():
        enum = param.schema.get("enum") or param.schema.get("items", {}).get("enum", [])
        choices = {"null" if choice is None else choice for choice in enum}
        assert set(param.schema.get("values_display", {})) <= choices


def test_no_number_has_bounds_that_the_page_moves_it_to() -> None:
    for param in train_models_form().values():
        assert not {"minimum", "maximum"} & set(param.schema)
