"""What plate.json says of a plate."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside
from tasks.nuclei.plates.label_sets import SET_NAME
from tasks.nuclei.plates.pixel_size import CREDIBLE_IN_WORDS, PixelSize, first_stated, is_credible
from tasks.nuclei.plates.plate_json import read_json, tidied

ALL_CELL_LINES = "all"
"""It stands for all cell lines together in the scores, so no cell line may have this name."""


def _not_all(cell_line: str) -> str:
    if cell_line == ALL_CELL_LINES:
        raise ValueError(f"{ALL_CELL_LINES!r} stands for all cell lines together in the scores; choose another name")
    return cell_line


def _in_words(pattern: str, words: str, text: str) -> str:
    """Refuse a text that doesn't match a pattern, in words in place of the pattern."""
    if re.fullmatch(pattern, text) is None:
        raise ValueError(f"allowed are letters from A to Z, digits, {words}, with a letter or digit first")
    return text


_PLATE_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_CELL_LINE = r"[A-Za-z0-9][A-Za-z0-9._ -]*"

PlateName = Annotated[
    str,
    pydantic.Field(max_length=100, json_schema_extra={"pattern": f"^{_PLATE_NAME}$"}),
    pydantic.AfterValidator(partial(_in_words, _PLATE_NAME, "dot, underscore and hyphen")),
]
"""Letters, digits, dot, underscore and hyphen: it becomes the name of a folder."""

CellLine = Annotated[
    str,
    pydantic.Field(max_length=100, json_schema_extra={"pattern": f"^{_CELL_LINE}$"}),
    pydantic.AfterValidator(partial(_in_words, _CELL_LINE, "space, dot, underscore and hyphen")),
    pydantic.AfterValidator(_not_all),
]
"""As `PlateName`, and spaces: it becomes part of the name of a metric."""


ARRIVES = {"arrives": True}
"""Context in which the plate.json of a person is validated. What was imported before stays readable as it is."""

Role = Literal["train", "test", "screen"]


class PlateInfo(pydantic.BaseModel):
    """Content of plate.json."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: PlateName
    cell_line: CellLine
    objective: Annotated[str, pydantic.Field(min_length=1)]
    """Such as 60X."""
    binning: Literal[1, 2, 4]
    """Camera pixels in one image pixel, along one axis."""
    pixel_size_um: Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
    """Side of one image pixel, after binning, in µm. plate.json may leave it out where the images state it."""
    role: Role
    """What the plate is used for. A screening plate is only segmented, and needs no labels."""
    replicate: Literal["biological", "technical"] | None = None
    annotation: Literal["manual", "semi-automatic", "synthetic"] | None = None
    """How the labels were made. Synthetic ones were computed together with their images, so that what has no label is
    no nucleus, whatever it looks like."""
    label_set: Annotated[str, pydantic.Field(pattern=f"^{SET_NAME}$")] | None = None
    """Whose labels those in labels/ are, where label_sets/ has others too: such as an annotator's name."""
    channel: Annotated[int, pydantic.Field(ge=1, le=99)] | Annotated[str, pydantic.Field(min_length=1)] | None = None
    """Which channel shows the nuclei, where there are several: its number, the first is 1, or its name in the names of
    the files."""
    z: Annotated[int | None, pydantic.Field(ge=0)] = None
    """Which plane is used, where there are several along z: its number in the names of the files, or in OME-Zarr its
    index; the first is 0."""
    time: Annotated[int | None, pydantic.Field(ge=0)] = None
    """Which time point is used, where there are several: its number in the names of the files, or in OME-Zarr its
    index; the first is 0."""
    acquisition: Annotated[int | None, pydantic.Field(ge=0)] = None
    """Which acquisition is used, where there are several: its number in the names of the files or in OME-Zarr."""
    labels: Annotated[str | None, pydantic.Field(min_length=1)] = None
    """Which label image of images.ome.zarr shows the nuclei, where there are several and none is called nuclei."""
    image: str | None = None
    """Which image of images.ome.zarr is used, where a field has several, such as 0 and 0_illum_corr: how its name goes
    on after the number of the field, here illum_corr. An empty text is the one whose name is only the number."""
    wells: Literal[96, 384, 1536] | None = None
    """How many wells the plate has, where file names only number them, as those of CQ1 and ScanR; without it, there is
    no heat map of such a plate."""
    each_name_is_a_field: bool = False
    """Whether every image is a field of its own and its name gives nothing else, whatever it looks like: c1 and c2 are
    no channels, but clones."""
    labels_confirmed: bool = False
    """A person has looked at the labels that `ingest` doubts, and says that they are right."""
    _size_is_of_images: bool = pydantic.PrivateAttr(default=False)

    @property
    def size_is_of_images(self) -> bool:
        """Whether a plate that arrives leaves its pixel size to its images."""
        return self._size_is_of_images

    @property
    def name_of_labels(self) -> str:
        """The name of the set in labels/."""
        return self.label_set or self.annotation or "labels"

    @property
    def identity(self) -> dict[str, Any]:
        """What makes a plate another one, for its digest. Keys that plates once didn't have count if they are set."""
        content = self.model_dump(mode="json")
        later = {"z", "time", "acquisition", "labels", "image", "wells", "each_name_is_a_field", "labels_confirmed"}
        later.add("label_set")
        unset = [name for name in later if content[name] is None or content[name] is False]
        return {name: value for name, value in content.items() if name not in unset}

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _read_what_is_unambiguous(cls, value: Any, of: pydantic.ValidationInfo) -> Any:
        return tidied(str(of.field_name), value) if of.context == ARRIVES else value

    @pydantic.field_validator("pixel_size_um")
    @classmethod
    def _refuse_what_no_microscope_has(cls, um: float, of: pydantic.ValidationInfo) -> float:
        if of.context == ARRIVES and not is_credible(um):
            raise ValueError(f"allowed are {CREDIBLE_IN_WORDS}")
        return um

    @pydantic.model_validator(mode="after")
    def _say_how_it_was_labelled(self) -> PlateInfo:
        missing = [name for name in ("replicate", "annotation") if getattr(self, name) is None]
        if missing and self.role != "screen":
            raise ValueError(f"a {self.role} plate also needs {' and '.join(missing)}")
        return self


def read_plate_info(
    folder: Path, stated: Iterable[PixelSize] | None = None, given: Mapping[str, Any] | None = None
) -> PlateInfo:
    """Read and validate plate.json; InputError names the key, what came and what is allowed.

    `stated` are the pixel sizes that the images of a plate that arrives state; they are read only if plate.json leaves
    its own out. It is None for a plate that was imported. `given` stands for the content of the file.
    """
    path = inside(folder, "plate.json")
    content = content_of(path) if given is None else dict(given)
    size_is_of_images = stated is not None and content.get("pixel_size_um") is None
    if stated is not None and size_is_of_images:
        content["pixel_size_um"] = first_stated(stated, path)
    try:
        info = PlateInfo.model_validate(content, context=None if stated is None else ARRIVES)
    except pydantic.ValidationError as error:
        problems = dict.fromkeys(_describe(problem) for problem in error.errors(include_url=False))
        raise InputError(f"{path}: {'; '.join(problems)}.") from None
    info._size_is_of_images = size_is_of_images
    return info


def content_of(plate_json: Path) -> dict[str, Any]:
    """Read plate.json, whatever its keys and values are."""
    content = read_json(plate_json)
    if not isinstance(content, dict):
        raise InputError(f'{plate_json}: must be one JSON object, as in {{"name": "my-plate", ...}}; correct the file.')
    return content


def problems_of_values(content: Mapping[str, Any]) -> dict[str, str]:
    """Say what is wrong with the values of a plate.json, by their keys; "" where it isn't one value that is wrong."""
    try:
        PlateInfo.model_validate(dict(content), context=ARRIVES)
    except pydantic.ValidationError as error:
        wrong = [(str(problem["loc"][0]) if problem["loc"] else "", problem) for problem in error.errors()]
        return {key: _describe(problem) for key, problem in reversed(wrong)}
    return {}


def _describe(problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown key; allowed are {', '.join(PlateInfo.model_fields)}"
    if problem["type"] == "missing":
        return f"{key}: required, and not given"
    if not key:
        return message
    if problem["loc"][0] == "channel" and problem["type"] != "value_error":
        key, message = "channel", "allowed is a number from 1 to 99, or the channel's name"
    if key == "pixel_size_um" and problem["type"] != "value_error":
        message = f"allowed are {CREDIBLE_IN_WORDS}"
    return f"{key}: {message}, got {problem['input']!r:.200}"
