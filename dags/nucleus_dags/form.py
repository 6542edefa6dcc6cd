"""The form of `train_models` in the Airflow page: what may be chosen, its bounds, what it means.

A value that breaks the schema is refused before anything runs. For an empty field, the preset, the
calibration or the task's own default holds.
"""

from typing import Any

from airflow.sdk import Param

from nucleus_dags.catalogue import ENCODERS

PRESETS: dict[str, dict[str, Any]] = {
    "laptop": {"networks": "shared", "augment": {"rois": 5000, "augmentation": "Gentle"}},
    "paper": {"networks": "two", "augment": {"rois": 35_000, "augmentation": "Full"}},
}
"""What a preset means before `train_fpn`, which has its own part of it."""

AUGMENTATIONS = ("Full", "Min_Blur", "Min_Contr", "Min_Noise", "Min_Scaling", "None", "Gentle")

_PLATES, _NETWORK, _TRAINING, _RUN = "Plates", "Network", "Training", "Segmentation and run"


def train_models_form() -> dict[str, Param]:
    return {
        "train_plates": _plates("Plates to train on", "train"),
        "test_plates": _plates("Plates to test on", "test"),
        "preset": Param(
            "laptop",
            type="string",
            enum=list(PRESETS),
            values_display={"laptop": "laptop: minutes on a CPU", "paper": "paper: hours on a GPU"},
            title="Preset",
            description="Sets what is left empty below under Network and Training, but for the zoom.",
            section=_NETWORK,
        ),
        "networks": Param(
            None,
            type=["null", "string"],
            enum=[None, "shared", "two"],
            values_display={
                "shared": "one network with two heads: half the time",
                "two": "two networks, one for each target: the paper's",
            },
            title="Networks",
            description="What predicts the distance map and the blurred border of the nuclei. Empty: as the preset.",
            section=_NETWORK,
        ),
        "encoder": Param(
            None,
            type=["null", "string"],
            enum=[None, *ENCODERS],
            title="Encoder",
            description="Empty: as the preset. The paper's is inceptionresnetv2; mobilenetv2 is the fastest.",
            section=_NETWORK,
        ),
        "initialisation": Param(
            None,
            type=["null", "string"],
            pattern=r"^(imagenet|random|train_fpn/[0-9a-f]{16})$",
            examples=["imagenet", "random"],
            title="First weights",
            description="Empty: as the preset. imagenet: the encoder's, needs them on this machine or a connection to "
            "the internet. Or those of an earlier network of the same kind: its folder in the store, such as "
            "train_fpn/0123456789abcdef.",
            section=_NETWORK,
        ),
        "rois": Param(
            None,
            type=["null", "integer"],
            minimum=100,
            maximum=1_000_000,
            title="ROIs",
            description="Training crops of 256 x 256 px in all. Empty: as the preset; the paper's: 35000.",
            section=_TRAINING,
        ),
        "augmentation": Param(
            None,
            type=["null", "string"],
            enum=[None, *AUGMENTATIONS],
            title="Augmentation",
            description="How the crops are changed. Empty: as the preset; the paper's: Full.",
            section=_TRAINING,
        ),
        "zoom": Param(
            None,
            type=["null", "number"],
            minimum=0.25,
            maximum=4,
            title="Zoom",
            description="Magnification at which the networks see the images. Empty: 1, the paper's. Small nuclei: 2.",
            section=_TRAINING,
        ),
        "cycles": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=1000,
            title="Cycles",
            description="Passes over all ROIs. Empty: as the preset; the paper's: 25.",
            section=_TRAINING,
        ),
        "random_seed": Param(
            0,
            type="integer",
            minimum=0,
            maximum=2**31 - 1,
            title="Random seed",
            description="The same seed gives the same crops and the same first weights.",
            section=_TRAINING,
        ),
        "marker_threshold": Param(
            None,
            type=["null", "number"],
            minimum=0.05,
            maximum=0.95,
            title="Marker threshold",
            description="A nucleus starts where its distance map is above this. Lower finds more nuclei, higher parts "
            "clumps better. Empty: the best on fields kept back from training; the paper's: 0.6.",
            section=_RUN,
        ),
        "foreground_threshold": Param(
            None,
            type=["null", "number"],
            minimum=0.01,
            maximum=0.95,
            title="Foreground threshold",
            description="A nucleus ends where its maps fall below this. Lower makes nuclei larger. Empty: the best on "
            "fields kept back from training, with the marker threshold that is the best there.",
            section=_RUN,
        ),
        "test_time_augmentation": Param(
            False,
            type="boolean",
            title="Test-time augmentation",
            description="The networks see every field in six turned and mirrored forms. Outlines get better, "
            "segmenting takes six times as long.",
            section=_RUN,
        ),
        "experiment": Param(
            "train_models",
            type="string",
            minLength=1,
            maxLength=200,
            title="Experiment",
            description="Experiment in MLflow that the run is listed under.",
            section=_RUN,
        ),
    }


def _plates(title: str, role: str) -> Param:
    return Param(
        [],
        type=["array", "null"],
        items={"type": "string", "minLength": 1},
        uniqueItems=True,
        title=title,
        description=f"Names of plates in the inbox, one a line. Empty: every plate whose role is {role}.",
        section=_PLATES,
    )
