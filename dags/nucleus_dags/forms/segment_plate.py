"""The form of `segment_plate`."""

import re
from collections.abc import Mapping

from airflow.sdk import Param

from nucleus_dags.forms import typed
from nucleus_dags.forms.fields import MAIN, SEGMENTATION, between, param_field, plate_field
from nucleus_dags.manifest import manifest


@typed.form
def segment_plate_form() -> dict[str, Param]:
    return {
        "plate": plate_field("It needs no labels; its role may be screen."),
        "model": model_field(),
        "nuclear_diameter_px": param_field(
            "segment", "nuclear_diameter_px", MAIN, "Only for models that see nuclei in one size."
        ),
        "ome_zarr": Param(
            False,
            type="boolean",
            title="OME-Zarr",
            description="Also write images and label images as an OME-Zarr plate, for napari and Fractal.",
            section=MAIN,
        ),
        "fovs_per_part": Param(
            100,
            type="integer",
            **between(1, 10_000),
            title="Fields per part",
            description="The plate is segmented in parts of so many fields, side by side; what fails is tried again by "
            "parts. 1 to 10000.",
            section=SEGMENTATION,
        ),
    }


def model_field(title: str = "Model", others: Mapping[str, str] = {}) -> Param:
    """Give the choice of a model: one that is registered, one that needs no training, or what others stand for."""
    ready = {**manifest()["ready_models"], **others}
    # A laboratory's own tools are written like those that everybody has.
    with_a_tool = sorted({name.partition(":")[0] for name in ready if ":" in name})
    names = [
        *map(re.escape, (name for name in ready if ":" not in name)),
        *(f"{name}:[\\w.-]+" for name in with_a_tool),
    ]
    in_words = " ".join(f"{name}: {title}." for name, title in ready.items())
    return Param(
        "champion",
        type="string",
        pattern=f"^(champion|challenger|[1-9][0-9]*|{'|'.join(names)})$",
        examples=["champion", "challenger", *ready],
        title=title,
        description=f"champion, challenger, or the number of a version of {manifest()['registered_model']} in MLflow; "
        f"or one that needs no training. {in_words}",
        section=MAIN,
    )
