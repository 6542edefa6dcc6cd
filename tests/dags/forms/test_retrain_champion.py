"""The form of `retrain_champion`."""

import pytest
from airflow.sdk.exceptions import ParamValidationError

from nucleus_dags.forms.retrain_champion import retrain_champion_form
from nucleus_dags.manifest import manifest
from tasks.steps.augment import Params as AugmentParams

WRONG_VALUES = [
    ("initial_weights", []),
    ("initial_weights", ["champion", "champion"]),
    ("initial_weights", ["published"]),
    ("approval", "perhaps"),
    ("method", "u_net"),
    ("preset", "desktop"),
    ("initialisation", "train_fpn2_ws/0123456789abcdef"),
    ("replicates", 0),
    ("new_share", 1),
    ("rois", 9),
    ("cycles", -1),
]


@pytest.mark.parametrize(("field", "value"), WRONG_VALUES)
def test_a_wrong_value_is_refused(field: str, value: object) -> None:
    with pytest.raises(ParamValidationError):
        retrain_champion_form()[field].resolve(value)


def test_initial_weights_are_those_of_all_methods_and_the_champions() -> None:
    known = {kind for method in manifest()["methods"].values() for kind in method["initial_weights"]}
    assert set(retrain_champion_form()["initial_weights"].schema["items"]["enum"]) == {"champion"} | known


def test_the_share_of_new_plates_is_one_that_augment_takes() -> None:
    field = retrain_champion_form()["new_share"]
    [bounds] = field.schema["allOf"]
    for share in (field.value, *bounds.values()):
        assert AugmentParams(plates=["ingest/a@000000000000"], new_share=share).new_share == share
