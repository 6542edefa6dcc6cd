"""The form of `train_models`."""

from airflow.sdk import Param

from nucleus_dags.forms import typed
from nucleus_dags.forms.fields import (
    AS_PRESET,
    MAIN,
    TRAINING,
    between,
    experiment_field,
    initial_weights_in_words,
    initialisation_field,
    lines_field,
    param_field,
    preset_field,
    presets_in_words,
    segmentation_fields,
    training_fields,
)
from nucleus_dags.manifest import manifest, short_title


@typed.form
def train_models_form() -> dict[str, Param]:
    return {
        "train_plates": _plates("Training plates", "train"),
        "test_plates": _plates("Test plates", "test"),
        "methods": _methods(),
        "preset": preset_field("Preset", f"Sets what is left empty under Training. {presets_in_words()}"),
        "experiment": experiment_field(),
        "rois": param_field("augment", "rois", TRAINING, AS_PRESET),
        "augmentation": param_field("augment", "augmentation", TRAINING, AS_PRESET),
        "nucleus_px": param_field("augment", "nucleus_px", TRAINING, AS_PRESET),
        "zoom": param_field(
            "augment", "zoom", TRAINING, "Empty: as the nuclear diameter seen says; with the preset paper 1, its own."
        ),
        "scaling": param_field("augment", "scaling", TRAINING, AS_PRESET),
        "networks": networks_field(),
        "initialisation": initialisation_field(
            "Initial weights",
            f"{AS_PRESET} {initial_weights_in_words()} Or those of an earlier network of the same method: its "
            "folder in the store, such as train_…/0123456789abcdef.",
            earlier=True,
        ),
        **training_fields(),
        "random_seed": random_seed_field(),
        **segmentation_fields(),
    }


def networks_field() -> Param:
    """Give the choice of networks, of those methods that have one."""
    methods = {name: method for name, method in manifest()["methods"].items() if len(method["networks"]) > 1}
    choices = {name: networks["title"] for method in methods.values() for name, networks in method["networks"].items()}
    return Param(
        None,
        type=["null", "string"],
        enum=[None, *choices],
        values_display={"null": "as the preset", **choices},
        title="Networks",
        description=f"{', '.join(map(short_title, methods))} only. Which networks a model has.",
        section=TRAINING,
    )


def random_seed_field() -> Param:
    return Param(
        0,
        type="integer",
        **between(0, 2**31 - 1),
        title="Random seed",
        description="The same seed gives the same crops and the same initial weights.",
        section=TRAINING,
    )


def _methods() -> Param:
    methods = manifest()["methods"]
    return Param(
        [manifest()["default_method"]],
        type="array",
        items={"type": "string", "enum": list(methods)},
        examples=list(methods),
        values_display={name: method["title"] for name, method in methods.items()},
        minItems=1,
        uniqueItems=True,
        title="Methods",
        description="Each is trained on the same crops and scored on the same plates; the report compares them.",
        section=MAIN,
    )


def _plates(title: str, role: str) -> Param:
    return lines_field(
        title,
        "Names of plates in the inbox, or of imported ones such as those that came from annotation, one per line. "
        f"Empty: every plate of the inbox whose role is {role}.",
    )
