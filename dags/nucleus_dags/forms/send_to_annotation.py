"""The form of `send_to_annotation`."""

from airflow.sdk import Param

from nucleus_dags.forms import typed
from nucleus_dags.forms.fields import MAIN, SEGMENTATION, between, lines_field, param_field, plate_field
from nucleus_dags.forms.segment_plate import model_field
from nucleus_dags.manifest import manifest

TARGET = "The annotated plate"
LABELS, NONE = "labels", "none"
"""What may be proposed besides what a model finds."""


@typed.form
def send_to_annotation_form() -> dict[str, Param]:
    return {
        "plate": plate_field("It needs no labels; its role may be screen."),
        "tool": Param(
            "label_tiff",
            type="string",
            enum=list(manifest()["annotation_tools"]),
            values_display={name: tool["title"] for name, tool in manifest()["annotation_tools"].items()},
            title="Tool",
            description="What the labels are corrected with.",
            section=MAIN,
        ),
        "proposals": model_field(
            "Proposals", {LABELS: "the labels that the plate has", NONE: "nothing; a person draws all nuclei"}
        ),
        "fields": Param(
            10,
            type=["null", "integer"],
            **between(1, 100_000),
            title="Fields",
            description="How many fields are sent, evenly spread over the plate. Empty: all.",
            section=MAIN,
        ),
        "patches": Param(
            None,
            type=["null", "integer"],
            **between(1, 10_000),
            title="Patches",
            description="How many patches of these fields are sent: those in which a model is least sure, spread over "
            "the plate, and one in five at random. Empty: all patches, so that whole fields are annotated.",
            section=MAIN,
        ),
        "skip": lines_field(
            "Skip",
            "What isn't worth annotating, such as a patch that is blurred or shows only debris: names of "
            "patches as the queue of an earlier run shows them, or of whole fields, one per line. They aren't offered "
            "again.",
        ),
        "offer_skipped_again": Param(
            False,
            type="boolean",
            title="Offer skipped ones again",
            description="Forget what was skipped of this plate in earlier runs.",
            section=MAIN,
        ),
        "nuclei_per_patch": param_field("send_to_annotation", "nuclei_per_patch", MAIN, ""),
        "target": Param(
            None,
            type=["null", "string"],
            title="Name",
            description="Name of the plate that what comes back becomes a part of. If there is one, it gets these "
            "fields besides its own. Empty: the name of the plate with -annotated, or where its own labels are "
            "corrected, the plate itself.",
            section=TARGET,
        ),
        "role": Param(
            "train",
            type="string",
            enum=["train", "test"],
            title="Role",
            description="What it is used for.",
            section=TARGET,
        ),
        "replicate": Param(
            "biological",
            type="string",
            enum=["biological", "technical"],
            title="Replicate",
            description="What kind of replicate it is, where the plate itself doesn't say it.",
            section=TARGET,
        ),
        "label_set": param_field("send_to_annotation", "label_set", TARGET, "Empty: the labels that count."),
        "nuclear_diameter_px": param_field(
            "segment", "nuclear_diameter_px", SEGMENTATION, "Only for models that see nuclei in one size."
        ),
    }
