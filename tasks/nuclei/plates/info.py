"""What plate.json says of a plate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.image_files import read_bytes

ALL_CELL_LINES = "all"
"""It stands for all cell lines together in the scores, so no cell line may have this name."""


def _not_all(cell_line: str) -> str:
    if cell_line == ALL_CELL_LINES:
        raise ValueError(f"{ALL_CELL_LINES!r} stands for all cell lines together in the scores; choose another name")
    return cell_line


PlateName = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
"""Letters, digits, dot, underscore and hyphen: it becomes the name of a folder."""

CellLine = Annotated[
    str, pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]*$", max_length=100), pydantic.AfterValidator(_not_all)
]
"""As `PlateName`, and spaces: it becomes part of the name of a metric."""


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
    """Side of one image pixel, after binning, in µm."""
    role: Role
    """What the plate is used for. A screening plate is only segmented, and needs no labels."""
    replicate: Literal["biological", "technical"] | None = None
    annotation: Literal["manual", "semi-automatic"] | None = None
    channel: Annotated[int, pydantic.Field(ge=1, le=99)] | Annotated[str, pydantic.Field(min_length=1)] | None = None
    """Which channel shows the nuclei, where there are several: its number, the first is 1, or its name in the names of
    the files."""
    z: Annotated[int | None, pydantic.Field(ge=0)] = None
    """Which plane is used, where there are several along z: its number in the names of the files."""
    time: Annotated[int | None, pydantic.Field(ge=0)] = None
    """Which time point is used, where there are several: its number in the names of the files."""
    acquisition: Annotated[int | None, pydantic.Field(ge=0)] = None
    """Which acquisition is used, where there are several: its number in the names of the files or in OME-Zarr."""
    labels: Annotated[str | None, pydantic.Field(min_length=1)] = None
    """Which label image of images.ome.zarr shows the nuclei, where there are several and none is called nuclei."""
    labels_confirmed: bool = False
    """A person has looked at the labels that `ingest` doubts, and says that they are right."""

    @property
    def identity(self) -> dict[str, Any]:
        """What makes a plate another one, for its digest. Keys that plates once didn't have count where they are set."""
        content = self.model_dump(mode="json")
        later = ("z", "time", "acquisition", "labels", "labels_confirmed")
        return {name: value for name, value in content.items() if name not in later or value not in (None, False)}

    @pydantic.model_validator(mode="after")
    def _say_how_it_was_labelled(self) -> PlateInfo:
        missing = [name for name in ("replicate", "annotation") if getattr(self, name) is None]
        if missing and self.role != "screen":
            raise ValueError(f"a {self.role} plate also needs {' and '.join(missing)}")
        return self


def read_plate_info(folder: Path) -> PlateInfo:
    """Read and validate plate.json; InputError names the key, what came and what is allowed."""
    path = folder / "plate.json"
    try:
        return PlateInfo.model_validate_json(read_bytes(path))
    except pydantic.ValidationError as error:
        problems = [_describe(problem) for problem in error.errors(include_url=False)]
        raise InputError(f"{path}: {'; '.join(problems)}.") from None


def _describe(problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "json_invalid":
        return f"{problem['msg']}; correct the file"
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown key; allowed are {', '.join(PlateInfo.model_fields)}"
    if problem["type"] == "missing":
        return f"{key}: required, and not given"
    if not key and problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    return f"{key or 'content'}: {problem['msg']}, got {problem['input']!r:.200}"
