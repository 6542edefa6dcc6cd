"""The forms of the DAGs in the Airflow page: what may be chosen, its bounds, what it means.

A value that breaks the schema is refused before anything runs. For an empty field, the preset, the
calibration or the task's own default holds.
"""

from typing import Any

from airflow.sdk import Param

from nucleus_dags.catalogue import ENCODERS
from nucleus_dags.plan import METHODS

PRESETS: dict[str, dict[str, Any]] = {
    "laptop": {"networks": "shared", "augment": {"rois": 5000, "augmentation": "Gentle"}},
    "paper": {"networks": "two", "augment": {"rois": 35_000, "augmentation": "Full"}},
}
"""What a preset means before `train_fpn`, which has its own part of it."""

AUGMENTATIONS = {
    "Full": "Full: the paper's",
    "Min_Blur": "Min_Blur: Full without blur",
    "Min_Contr": "Min_Contr: Full without changes of contrast",
    "Min_Noise": "Min_Noise: Full without noise",
    "Min_Scaling": "Min_Scaling: Full at one scale",
    "None": "None: crops only",
    "Gentle": "Gentle: for short trainings",
}

# The page opens this section by itself, and only this one.
_MAIN = "Run Parameters"
_NETWORK, _TRAINING, _SEGMENTATION = "Network", "Training", "Segmentation"
_AS_PRESET = {"null": "as the preset"}


def train_models_form() -> dict[str, Param]:
    return {
        "train_plates": _plates("Plates to train on", "train"),
        "test_plates": _plates("Plates to test on", "test"),
        "methods": Param(
            ["fpn2_ws"],
            type="array",
            items={"type": "string", "enum": list(METHODS)},
            examples=list(METHODS),
            values_display={
                "fpn2_ws": "fpn2_ws: networks and a watershed, the paper's best",
                "mask_rcnn": "mask_rcnn: boxes and masks, slower",
                "jacobkie": "jacobkie: positions of pixels in their nuclei, slower; as published with the preset paper",
                "external": "external: programs of others, chosen below",
            },
            minItems=1,
            uniqueItems=True,
            title="Methods",
            description="Each is trained on the same crops and scored on the same plates; the report compares them.",
            section=_MAIN,
        ),
        "programs": Param(
            [],
            type=["array", "null"],
            items={"type": "string"},
            uniqueItems=True,
            title="Programs",
            description="Of the method external: names of programs, one a line, such as stardist or cellpose. Each is "
            "trained and compared like a method. The file programs.yaml says which there are, and how to install them.",
            section=_MAIN,
        ),
        "preset": Param(
            "laptop",
            type="string",
            enum=list(PRESETS),
            values_display={"laptop": "laptop: minutes on a CPU", "paper": "paper: hours on a GPU"},
            title="Preset",
            description="Sets what is left empty under Network and Training, but for the zoom. laptop: 5000 ROIs, "
            "Gentle, 4 cycles, small networks with random first weights; FPN2-WS has one network, mobilenetv2, random. "
            "paper: 35000 ROIs, Full, 25 cycles; FPN2-WS has two networks, inceptionresnetv2, imagenet; Mask R-CNN "
            "begins from coco; Jacobkie is used as it was published.",
            section=_MAIN,
        ),
        "experiment": Param(
            "experiments",
            type="string",
            minLength=1,
            maxLength=200,
            title="Experiment",
            description="Experiment in MLflow that the run is listed under.",
            section=_MAIN,
        ),
        "networks": Param(
            None,
            type=["null", "string"],
            enum=[None, "shared", "two"],
            values_display={
                **_AS_PRESET,
                "shared": "one network with two heads: half the time",
                "two": "two networks, one for each target: the paper's",
            },
            title="Networks",
            description="Of FPN2-WS: what predicts the distance map and the blurred border of the nuclei.",
            section=_NETWORK,
        ),
        "encoder": Param(
            None,
            type=["null", "string"],
            enum=[None, *ENCODERS],
            values_display=_AS_PRESET,
            title="Encoder",
            description="Of FPN2-WS. The paper's is inceptionresnetv2; mobilenetv2 is the fastest.",
            section=_NETWORK,
        ),
        "initialisation": Param(
            None,
            type=["null", "string"],
            pattern=r"^(imagenet|coco|published|random|train_(fpn|mask_rcnn|jacobkie|external)/[0-9a-f]{16})$",
            examples=["imagenet", "coco", "published", "random"],
            title="First weights",
            description="Empty: as the preset. imagenet: of FPN2-WS, the encoder's, needs them on this machine or a "
            "connection to the internet. coco: of Mask R-CNN and Jacobkie, needs the file mask_rcnn_coco.h5 on this "
            "machine. published: used as they are if Cycles is empty; Jacobkie needs the file jacobkie_2018dsb.h5, "
            "Mask R-CNN mask_rcnn_nuclei.h5, a program the folder with its name. Or those of an earlier network of "
            "the same kind: its folder in the store, such as train_fpn/0123456789abcdef.",
            section=_NETWORK,
        ),
        "rois": Param(
            None,
            type=["null", "integer"],
            **_between(100, 1_000_000),
            title="ROIs",
            description="Training crops of 256 x 256 px in all, 100 to 1000000. Empty: as the preset.",
            section=_TRAINING,
        ),
        "augmentation": Param(
            None,
            type=["null", "string"],
            enum=[None, *AUGMENTATIONS],
            # With a label for one of them, the page needs labels for all.
            values_display={**_AS_PRESET, **AUGMENTATIONS},
            title="Augmentation",
            description="How the crops are changed.",
            section=_TRAINING,
        ),
        "zoom": Param(
            None,
            type=["null", "number"],
            **_between(0.25, 4),
            title="Zoom",
            description="Magnification at which the networks see the images, 0.25 to 4, with a point: 1.5. Empty: 1, "
            "the paper's. Small nuclei: 2.",
            section=_TRAINING,
        ),
        "cycles": Param(
            None,
            type=["null", "integer"],
            **_between(1, 1000),
            title="Cycles",
            description="Passes over all ROIs, 1 to 1000. Empty: as the preset.",
            section=_TRAINING,
        ),
        "random_seed": _random_seed(),
        "marker_threshold": Param(
            None,
            type=["null", "number"],
            **_between(0.05, 0.95),
            title="Marker threshold",
            description="Of FPN2-WS, 0.05 to 0.95. A nucleus starts where its distance map is above this. Lower finds "
            "more nuclei, higher parts clumps better. Empty: the best on fields kept back from training; the paper's: "
            "0.6.",
            section=_SEGMENTATION,
        ),
        "foreground_threshold": Param(
            None,
            type=["null", "number"],
            **_between(0.01, 0.95),
            title="Foreground threshold",
            description="Of FPN2-WS, 0.01 to 0.95. A nucleus ends where its maps fall below this. Lower makes nuclei "
            "larger. Empty: the best on fields kept back from training, with the best marker threshold.",
            section=_SEGMENTATION,
        ),
        "min_score": Param(
            None,
            type=["null", "number"],
            **_between(0.3, 0.99),
            title="Least score",
            description="Of Mask R-CNN, 0.3 to 0.99. What it holds for a nucleus with a lower score isn't one. Lower "
            "finds more nuclei. Empty: the best on fields kept back from training.",
            section=_SEGMENTATION,
        ),
        "core_depth": Param(
            None,
            type=["null", "number"],
            **_between(0.01, 0.99),
            title="Core depth",
            description="Of Jacobkie, 0.01 to 0.99: how far inside a pixel must lie to be in the core of a nucleus; 0 "
            "is the outline, 1 the centre. Lower finds more nuclei, higher merges fewer. Empty: the best on fields "
            "kept back from training.",
            section=_SEGMENTATION,
        ),
        "mask_threshold": Param(
            None,
            type=["null", "number"],
            **_between(0.01, 0.99),
            title="Mask threshold",
            description="Of Jacobkie, 0.01 to 0.99: pixels that are more likely in a nucleus than this belong to one. "
            "Lower makes nuclei larger. Empty: the best on fields kept back from training.",
            section=_SEGMENTATION,
        ),
        "test_time_augmentation": Param(
            False,
            type="boolean",
            title="Test-time augmentation",
            description="Of FPN2-WS: the networks see every field in six turned and mirrored forms. Outlines get "
            "better, segmenting takes six times as long.",
            section=_SEGMENTATION,
        ),
    }


def retrain_champion_form() -> dict[str, Param]:
    return {
        "first_weights": Param(
            ["champion"],
            type="array",
            items={"type": "string", "enum": ["champion", "imagenet", "random"]},
            examples=["champion", "imagenet", "random"],
            minItems=1,
            uniqueItems=True,
            title="First weights",
            description="Each gives a candidate, and the best one is judged in the end. champion: goes on with the "
            "model in force. imagenet, random: the same network from its beginning.",
            section=_MAIN,
        ),
        "approval": Param(
            "as in gate.yaml",
            type="string",
            enum=["as in gate.yaml", "automatic", "by_person"],
            title="Approval",
            description="automatic: a challenger that passes the gate becomes champion by itself. by_person: somebody "
            "approves it in this page first, within three days.",
            section=_MAIN,
        ),
        "replicates": Param(
            1,
            type="integer",
            **_between(1, 20),
            title="Replicates",
            description="How often each candidate is trained, with another random seed every time, 1 to 20. It shows "
            "how much is chance.",
            section=_TRAINING,
        ),
        "new_share": Param(
            0.5,
            type="number",
            **_between(0.05, 0.95),
            title="Share of new plates",
            description="Share of the ROIs that come from plates that the champion wasn't trained on, 0.05 to 0.95. "
            "The rest comes from all others, so that nothing is forgotten.",
            section=_TRAINING,
        ),
        "also_without_news": Param(
            False,
            type="boolean",
            title="Also without news",
            description="Train also if no plate has come since the last retraining.",
            section=_MAIN,
        ),
        "preset": Param(
            "laptop",
            type="string",
            enum=list(PRESETS),
            title="Preset of the first model",
            description="Counts only while there is no champion; later models are like the champion. As in "
            "train_models.",
            section=_TRAINING,
        ),
        "initialisation": Param(
            None,
            type=["null", "string"],
            enum=[None, "imagenet", "random"],
            values_display={**_AS_PRESET, "imagenet": "imagenet", "random": "random"},
            title="First weights of the first model",
            description="Counts only while there is no champion.",
            section=_TRAINING,
        ),
        "rois": Param(
            None,
            type=["null", "integer"],
            **_between(100, 1_000_000),
            title="ROIs",
            description="Training crops in all, 100 to 1000000. Empty: as the champion's.",
            section=_TRAINING,
        ),
        "cycles": Param(
            None,
            type=["null", "integer"],
            **_between(1, 1000),
            title="Cycles",
            description="Passes over all ROIs, 1 to 1000. Empty: as the champion's.",
            section=_TRAINING,
        ),
        "random_seed": _random_seed(),
    }


def promote_model_form() -> dict[str, Param]:
    return {
        "version": Param(
            None,
            type="integer",
            minimum=1,
            title="Version",
            description="Of nucleus-segmenter in MLflow: the one that is to be the champion, such as an earlier one.",
            section=_MAIN,
        ),
        "reason": Param(
            None,
            type="string",
            minLength=5,
            maxLength=2000,
            title="Reason",
            description="Why; it stays with the version in MLflow.",
            section=_MAIN,
        ),
    }


def segment_plate_form() -> dict[str, Param]:
    return {
        "plate": Param(
            None,
            type="string",
            minLength=1,
            title="Plate",
            description="Name of a plate in the inbox or in the store, or name@digest of one version in the store. It "
            "needs no labels; its role may be screen.",
            section=_MAIN,
        ),
        "model": Param(
            "champion",
            type="string",
            pattern="^(champion|challenger|[1-9][0-9]*)$",
            examples=["champion", "challenger"],
            title="Model",
            description="champion, challenger, or the number of a version of nucleus-segmenter in MLflow.",
            section=_MAIN,
        ),
        "ome_zarr": Param(
            False,
            type="boolean",
            title="OME-Zarr",
            description="Also write images and label images as an OME-Zarr plate, for napari and Fractal.",
            section=_MAIN,
        ),
        "fovs_per_part": Param(
            100,
            type="integer",
            **_between(1, 10_000),
            title="Fields of a part",
            description="The plate is segmented in parts of so many fields, side by side; what fails is tried again by "
            "parts. 1 to 10000.",
            section=_SEGMENTATION,
        ),
    }


def _random_seed() -> Param:
    return Param(
        0,
        type="integer",
        **_between(0, 2**31 - 1),
        title="Random seed",
        description="The same seed gives the same crops and the same first weights.",
        section=_TRAINING,
    )


def _plates(title: str, role: str) -> Param:
    return Param(
        [],
        type=["array", "null"],
        items={"type": "string"},
        uniqueItems=True,
        title=title,
        description=f"Names of plates in the inbox, one a line. Empty: every plate whose role is {role}.",
        section=_MAIN,
    )


def _between(least: float, most: float) -> dict[str, Any]:
    """Bounds that refuse a number outside. With plain ones, the page moves it to the nearest without a word."""
    return {"allOf": [{"minimum": least, "maximum": most}]}
