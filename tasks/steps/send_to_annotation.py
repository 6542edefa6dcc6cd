"""Send fields with proposed labels to an annotation tool: an archive that the tool opens, and what was in it.

The proposals are segmentations of the plate, the labels that it has, or none. The archive doesn't say what made them,
so that nobody corrects with that in mind; request.json does, for `receive_annotation`, which takes what comes back.
sent/ has the label images as they were sent. The names of all images in the archive end with the key of the request, by
which an answer is known whatever the tool calls it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from tasks.annotation.package import pack
from tasks.annotation.patches import divide
from tasks.annotation.request import Request, image_name, write_request
from tasks.annotation.sheet import Sheet, place_of
from tasks.annotation.tools import TOOLS, tool_named
from tasks.contract import PROCESSING, Outcome, Resources, Task, TaskParams, Workspace
from tasks.nuclei.errors import InputError, first_of
from tasks.nuclei.patch_grid import NUCLEI_PER_PATCH, Patch
from tasks.nuclei.plates.chosen_patches import Choice
from tasks.nuclei.plates.files import Fov, Plate
from tasks.nuclei.plates.image_files import UNSURE, read_image, read_kinds, read_numbered, write_label_image
from tasks.nuclei.plates.info import PlateName
from tasks.nuclei.plates.label_sets import SET_NAME
from tasks.nuclei.plates.origins import proposer
from tasks.nuclei.tables import read_csv
from tasks.store.provenance import params_of_segmentation, plate_at, plate_of_segmentation
from tasks.store.registered_model import REGISTERED_MODEL

MOST_IN_A_FIELD = 1_000_000
IMAGES_KEPT = 2
"""Patches of a field follow one another."""

log = logging.getLogger("nucleus")


class Params(TaskParams):
    plate: str
    """Imported plate: output of `ingest`."""
    tool: str = pydantic.Field(title="Tool", json_schema_extra={"enum": list(TOOLS)})
    """What the labels are corrected with."""
    segmentations: list[str] = pydantic.Field(default_factory=list)
    """Outputs of `segment` or `assemble_plate` for this plate: proposals for the fields that they hold."""
    proposals: Literal["segmentations", "labels", "none"] = "segmentations"
    """What is proposed: these segmentations, the labels that the plate has, or nothing."""
    asked: str | None = None
    """The name by which a person chose the model that proposes, such as champion, so that a next round can be sent
    like this one. It changes nothing of what is sent."""
    fovs: list[str] | None = pydantic.Field(None, min_length=1)
    """Names of the fields to send; all for which there are proposals if not given."""
    patches: str | None = None
    """Output of `choose_patches`: the only patches to look at. If not given, all of a field are."""
    nuclei_per_patch: int | None = pydantic.Field(None, ge=1, le=10_000, title="Nuclei per patch")
    """About how many nuclei a person looks at at a time. If not given, 50 as in the paper, and whole fields in tools
    that don't show where a patch ends."""
    target: PlateName = pydantic.Field(title="Name of the annotated plate")
    """Name of the plate that what comes back becomes a part of. If there is one, it gets these fields besides its
    own."""
    role: Literal["train", "test"] = pydantic.Field("train", title="Role of the annotated plate")
    """What the annotated plate is used for."""
    replicate: Literal["biological", "technical"] = pydantic.Field("biological", title="Replicate")
    """What kind of replicate the annotated plate is, where the plate itself doesn't say it."""
    label_set: str | None = pydantic.Field(None, pattern=f"^{SET_NAME}$", title="Name of the labels")
    """Such as the annotator's: up to 40 letters from A to Z, digits, underscore and hyphen. Where the annotated plate
    has labels of another name, both are kept and compared."""

    @pydantic.field_validator("tool")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            return tool_named(name).name
        except InputError as error:
            raise ValueError(str(error)) from None

    @pydantic.model_validator(mode="after")
    def _propose_what_is_given(self) -> Params:
        if (self.proposals == "segmentations") != bool(self.segmentations):
            raise ValueError(
                f"proposals={self.proposals!r} and {len(self.segmentations)} segmentations: give some with "
                "'segmentations', and none with the others"
            )
        return self


def run(params: Params, workspace: Workspace) -> Outcome:
    plate = plate_at(params.plate, workspace.store)
    nuclei_per_patch = _nuclei_per_patch(params)
    proposed = _proposed(params, plate, workspace)
    fovs = _chosen(params, plate, proposed)
    wanted = _wanted_patches(params, fovs, workspace)
    (workspace.output_dir / "sent").mkdir()
    sheets: dict[str, list[Sheet]] = {}
    choices: dict[str, Choice] = {}
    unsure: dict[str, list[int]] = {}
    for number, fov in enumerate(fovs, start=1):
        label_image = _label_image(fov, proposed)
        write_label_image(workspace.output_dir / "sent" / f"{fov.name}.tif", label_image)
        unsure[fov.name] = _unsure_in(label_image, fov, params)
        name = image_name(number, fov.name, workspace.key)
        of_fov = divide(name, label_image, unsure[fov.name], nuclei_per_patch)
        if wanted is not None:
            of_fov = _only(wanted[fov.name], of_fov, fov.name)
            choices |= {sheet.name: wanted[fov.name][place_of(sheet)] for sheet in of_fov}
        sheets[fov.name] = of_fov
    names = {fov: [sheet.name for sheet in of_fov] for fov, of_fov in sheets.items()}
    request = _request(params, nuclei_per_patch, workspace, sheets=names, choices=choices, unsure=unsure)
    write_request(request, workspace.output_dir)
    archive = workspace.output_dir / f"{params.target}_{params.tool}_annotation-{workspace.key}.zip"
    _write_archive(sheets, {fov.name: fov for fov in fovs}, params.tool, archive, workspace.checkpoint_dir / "archive")
    patches = [sheet for of_fov in sheets.values() for sheet in of_fov]
    nuclei = sum(nucleus.kind != "context" for sheet in patches for nucleus in sheet.nuclei)
    counts = {"fovs": len(fovs), "patches": len(patches), "nuclei": nuclei}
    log.info("%(nuclei)d proposed nuclei in %(patches)d patches of %(fovs)d fields", counts)
    return Outcome({"archive": archive.name, "request": "request.json"}, {}, counts)


def _proposed(params: Params, plate: Plate, workspace: Workspace) -> dict[str, Path]:
    """Give the label images that are proposed, by the names of their fields; none where nothing is."""
    if params.proposals == "labels":
        found = {fov.name: fov.labels_path for fov in plate.fovs if fov.labels_path}
        if not found:
            raise InputError(f"proposals: {plate.info.name} has no labels; propose a model's or none.")
        return found
    found = {}
    for path in params.segmentations:
        if (other := plate_of_segmentation(path, workspace.store)) != params.plate:
            raise InputError(f"segmentations: {path} is of {other}; give those of {params.plate}.")
        folder = workspace.input(path) / "labels"
        found |= {fov.name: folder / f"{fov.name}.tif" for fov in plate.fovs if (folder / f"{fov.name}.tif").exists()}
    return found


def _chosen(params: Params, plate: Plate, proposed: Mapping[str, Path]) -> list[Fov]:
    """Give the fields to send, in the order of the plate."""
    there = set(proposed) if params.proposals != "none" else {fov.name for fov in plate.fovs}
    names = there if params.fovs is None else set(params.fovs)
    if unknown := sorted(names - {fov.name for fov in plate.fovs}):
        raise InputError(f"fovs: {params.plate} has no field {first_of(unknown)}; give names of its fields.")
    if without := sorted(names - there):
        raise InputError(f"fovs: nothing is proposed for {first_of(without)}; segment these fields too.")
    return [fov for fov in plate.fovs if fov.name in names]


def _wanted_patches(params: Params, fovs: list[Fov], workspace: Workspace) -> dict[str, dict[Patch, Choice]] | None:
    """Give the chosen patches by field, and leave out the fields without any; None if all are wanted."""
    if params.patches is None:
        return None
    table = read_csv(workspace.input(params.patches), dtype={"fov": str})
    wanted: dict[str, dict[Patch, Choice]] = {}
    for fov, *sides, is_random in table[["fov", *Patch._fields, "is_random"]].itertuples(index=False, name=None):
        wanted.setdefault(fov, {})[Patch(*sides)] = "random" if is_random else "ranked"
    fovs[:] = [fov for fov in fovs if fov.name in wanted]
    return wanted


def _only(wanted: Collection[Patch], sheets: list[Sheet], fov: str) -> list[Sheet]:
    found = [sheet for sheet in sheets if place_of(sheet) in wanted]
    if lacking := sorted(set(wanted) - {place_of(sheet) for sheet in found}):
        y0, x0, y1, x1 = lacking[0]
        raise InputError(
            f"patches: {fov} has no patch of rows {y0} to {y1} and columns {x0} to {x1} with these proposals; give the "
            "first segmentation that choose_patches was given, and as many nuclei per patch."
        )
    return found


def _unsure_in(label_image: NDArray[Any], fov: Fov, params: Params) -> list[int]:
    """Give the labels of which nobody could tell what they are, where the labels that a plate has are proposed."""
    if params.proposals != "labels" or fov.ignored_path is None:
        return []
    is_unsure = read_kinds(fov.ignored_path) == UNSURE
    return [number for number in np.unique(label_image[is_unsure]).tolist() if number]


def _label_image(fov: Fov, proposed: Mapping[str, Path]) -> NDArray[Any]:
    """Give the proposed labels with the numbers of their file, or no label at all."""
    if fov.name not in proposed:
        return np.zeros(read_image(fov.image_path).shape, np.uint16)
    return read_numbered(proposed[fov.name]).as_in_file


def _nuclei_per_patch(params: Params) -> int:
    if params.nuclei_per_patch is not None:
        return params.nuclei_per_patch
    return NUCLEI_PER_PATCH if params.patches or tool_named(params.tool).by_patches else MOST_IN_A_FIELD


def _request(params: Params, nuclei_per_patch: int, workspace: Workspace, **sent: Any) -> Request:
    """Describe what is sent: its `sheets`, their `choices`, and what is `unsure`."""
    model, proposed_by = "", ""
    if params.segmentations:
        by = params_of_segmentation(params.segmentations[0], workspace.store)
        model, proposed_by = _title_of(by.get("made_by"), by["method"]), proposer(by["method"], by["networks"])
    return Request(
        plate=params.plate,
        tool=params.tool,
        target=params.target,
        role=params.role,
        replicate=params.replicate,
        label_set=params.label_set,
        proposals=params.proposals,
        model=model,
        proposed_by=proposed_by,
        nuclei_per_patch=nuclei_per_patch,
        **sent,
    )


def _title_of(made_by: Mapping[str, Any] | None, method: str) -> str:
    """Name what proposed labels, for people: a registered version, what a person chose it by, or the method."""
    if not made_by:
        return method
    return f"{REGISTERED_MODEL} version {made_by['version']}" if made_by.get("version") else str(made_by["name"])


class _Images(Mapping[str, NDArray[Any]]):
    """The image of each sheet, read when it is asked for."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = paths
        self._read = lru_cache(IMAGES_KEPT)(read_image)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._read(self._paths[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def _write_archive(
    sheets: Mapping[str, list[Sheet]], fovs: Mapping[str, Fov], tool: str, archive: Path, folder: Path
) -> None:
    images = _Images({sheet.name: fovs[fov].image_path for fov, of_fov in sheets.items() for sheet in of_fov})
    folder.mkdir()
    tool_named(tool).write([sheet for of_fov in sheets.values() for sheet in of_fov], images, folder)
    pack(folder, archive)


TASK = Task(
    name="send_to_annotation",
    version=2,
    params_type=Params,
    run=run,
    resources=Resources(PROCESSING, cpu=2, memory_gib=4),
)

if __name__ == "__main__":
    sys.exit(TASK.main())
