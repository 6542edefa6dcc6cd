"""Choose the patches of a plate that a person corrects next, by how much its segmentations disagree.

Writes patches.csv (one row per patch, in the order in which they are to be annotated), queue.html, a page that stands
alone, and pictures/, one per patch. What is annotated, here or in one of the training plates, is left out.
`tasks.nuclei.choosing_patches` says how the patches are chosen.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import pandas as pd
import pydantic
from numpy.typing import NDArray

from tasks import tracking
from tasks.contract import PROCESSING, NothingToDo, Outcome, Resources, Result, Task, TaskParams, Workspace
from tasks.cores import cores
from tasks.nuclei import figures
from tasks.nuclei.choosing_patches import choose, patch_scores, strata, why, without_annotated, without_skipped
from tasks.nuclei.copies import Fingerprint
from tasks.nuclei.drift import MEASURES, field_distances, field_table, with_nuclei_found
from tasks.nuclei.errors import InputError, first_of
from tasks.nuclei.patch_grid import NUCLEI_PER_PATCH, Patch, patch_grid
from tasks.nuclei.plates.files import Fov, Plate
from tasks.nuclei.plates.image_files import read_ignored, read_image, read_label_image
from tasks.nuclei.tables import read_csv, write_csv
from tasks.steps import pages
from tasks.store.imported_plates import measured_rows, report_of
from tasks.store.provenance import plate_at, plate_of_segmentation

JPEG_LEVEL = 90
SECONDS_PER_NUCLEUS = 5.3
"""In the paper, 1,349 proposed nuclei were corrected in about two hours."""
SHOWN_COLUMNS = ["rank", "fov", "well", *Patch._fields, "nuclei", "score", "is_random", "why"]

log = logging.getLogger("nucleus")


class Skipped(pydantic.BaseModel):
    """A part of a field that a person doesn't want to be offered, in px; `y1` and `x1` are the first ones after it."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    fov: str
    y0: int = pydantic.Field(ge=0)
    x0: int = pydantic.Field(ge=0)
    y1: int
    x1: int

    @property
    def patch(self) -> Patch:
        return Patch(self.y0, self.x0, self.y1, self.x1)


class Params(TaskParams):
    plate: str
    """Imported plate that has fields without labels: output of `ingest`."""
    segmentations: list[str] = pydantic.Field(min_length=2)
    """Outputs of `segment` or `assemble_plate` for the same fields. The first has the proposals to be corrected; the
    others may be of an earlier model, or of the same one with other settings."""
    references: list[str] = pydantic.Field(default_factory=list)
    """Training plates of the same cell line: outputs of `ingest`. Patches are spread over how unlike them the fields
    are."""
    amount: int = pydantic.Field(20, ge=1, le=10_000, title="Patches")
    """How many patches are chosen."""
    nuclei_per_patch: int = pydantic.Field(NUCLEI_PER_PATCH, ge=1, le=10_000, title="Nuclei per patch")
    """How many nuclei a patch has on average; the paper's are 50."""
    random_share: float = pydantic.Field(0.2, ge=0, le=1, title="Share at random")
    """Share of the patches that are drawn at random. Only these tell how good a model is on the whole plate."""
    skipped: list[Skipped] = pydantic.Field(default_factory=list)
    """Patches that aren't offered; they may have had other edges when they were."""
    random_seed: int = pydantic.Field(0, ge=0, lt=2**31)


@dataclass(frozen=True)
class Segmented:
    """The fields of a plate that were segmented and aren't annotated, and the folders with their label images."""

    plate: Plate
    annotated: int
    """How many of its fields are."""
    fovs: list[Fov]
    ignored: dict[str, list[Path]]
    """Of fields of which a part is annotated, what isn't."""
    folders: list[Path]

    def label_images(self, fov: Fov) -> list[NDArray[np.int32]]:
        return [read_label_image(folder / "labels" / f"{fov.name}.tif") for folder in self.folders]


def run(params: Params, workspace: Workspace) -> Outcome:
    segmented = _opened(params, workspace)
    distances = _distances(params, segmented, workspace)
    candidates = _scored(segmented, params)
    if candidates.empty:
        raise NothingToDo(f"All patches of {segmented.plate.info.name} are annotated or skipped.")
    candidates = candidates.assign(stratum=candidates["fov"].map(strata(distances)))
    chosen = choose(candidates, params.amount, params.random_share, params.random_seed)
    usual_score = float(candidates.loc[candidates["nuclei_seen"] > 0, "score"].median())
    chosen = chosen.assign(
        rank=range(1, len(chosen) + 1),
        score=chosen["score"].round(4),
        why=why(chosen, usual_score, distances.loc[chosen["fov"]]),
    )
    write_csv(chosen[SHOWN_COLUMNS], workspace.output_dir / "patches.csv")
    pictures = _draw(chosen, segmented, workspace.output_dir / "pictures")
    (workspace.output_dir / "queue.html").write_text(_page(params, segmented, candidates, chosen, pictures))
    counts = {
        "fovs": len(segmented.fovs),
        "annotated_fovs": segmented.annotated,
        "candidates": len(candidates),
        "patches": len(chosen),
        "random_patches": int(chosen["is_random"].sum()),
        "nuclei": int(chosen["nuclei"].sum()),
    }
    log.info("%(patches)d of %(candidates)d patches chosen, with %(nuclei)d proposed nuclei", counts)
    metrics = {} if math.isnan(usual_score) else {"usual_score": usual_score}
    return Outcome({"patches": "patches.csv", "page": "queue.html", "pictures": "pictures"}, metrics, counts)


def log_result(params: Params, result: Result, store: Path) -> None:
    """Show the queue in MLflow."""
    mlflow_run = tracking.Run()
    for name in ("patches", "page"):
        mlflow_run.log_artifact(store / result.outputs[name], "annotation")


def _opened(params: Params, workspace: Workspace) -> Segmented:
    plate = plate_at(params.plate, workspace.store)
    if len(set(params.segmentations)) < len(params.segmentations):
        raise InputError("segmentations: one is there more than once; give different ones, which may disagree.")
    for path in params.segmentations:
        if (other := plate_of_segmentation(path, workspace.store)) != params.plate:
            raise InputError(f"segmentations: {path} is of {other}; give those of {params.plate}.")
    annotated = _annotated(plate, params, workspace)
    fovs = [fov for fov in plate.fovs if None not in annotated[fov.name]]
    folders = [workspace.input(path) for path in params.segmentations]
    held = [[fov for fov in fovs if (folder / "labels" / f"{fov.name}.tif").exists()] for folder in folders]
    for path, of_path in zip(params.segmentations, held, strict=True):
        if missing := [fov.name for fov in held[0] if fov not in of_path]:
            raise InputError(
                f"segmentations: {path} has no label image of {first_of(missing)}, which "
                f"{params.segmentations[0]} has; give segmentations of the same fields, parts put together by "
                "assemble_plate."
            )
    if not held[0]:
        raise NothingToDo(f"All segmented fields of {plate.info.name} are annotated.")
    ignored = {fov.name: [path for path in annotated[fov.name] if path] for fov in held[0]}
    return Segmented(plate, len(plate.fovs) - len(fovs), held[0], ignored, folders)


def _annotated(plate: Plate, params: Params, workspace: Workspace) -> dict[str, list[Path | None]]:
    """Give for each field what is ignored where it is annotated, here or in a training plate; None for all of it.

    Fields are told by their pixels, under whatever name.
    """
    known: dict[str, list[Path | None]] = {}
    for one in [plate, *(plate_at(path, workspace.store) for path in params.references)]:
        values = _pixels(one)
        for fov in one.fovs:
            for value in values[fov.name] if fov.labels_path else ():
                known.setdefault(value, []).append(fov.ignored_path)
    return {
        name: [path for value in of_fov for path in known.get(value, ())] for name, of_fov in _pixels(plate).items()
    }


def _pixels(plate: Plate) -> dict[str, frozenset[str]]:
    return {row["fov"]: Fingerprint.of_row(row).values for row in report_of(plate.folder)["fovs"]}


def _distances(params: Params, segmented: Segmented, workspace: Workspace) -> pd.DataFrame:
    """Give how far every field is from the training plates, with the nuclei proposed; the index is its name."""
    plate, names = segmented.plate, [fov.name for fov in segmented.fovs]
    if not params.references:
        return pd.DataFrame(np.nan, pd.Index(names), [measure.name for measure in MEASURES])
    columns = ["fov", "area_px", "touches_edge"]
    nuclei = read_csv(segmented.folders[0] / "nuclei.csv", usecols=columns, dtype={"fov": str})
    rows = with_nuclei_found([row for row in measured_rows(plate) if row["fov"] in names], nuclei)
    fields = field_table(plate.info, rows).set_axis([row["fov"] for row in rows])
    references = [plate_at(path, workspace.store) for path in params.references]
    tables = [field_table(one.info, measured_rows(one)) for one in references]
    return field_distances(fields, pd.concat(tables, ignore_index=True)).loc[names]


def _scored(segmented: Segmented, params: Params) -> pd.DataFrame:
    """Give all patches of the fields with their scores, but for what is annotated or skipped."""

    def of_field(fov: Fov) -> pd.DataFrame:
        label_images = segmented.label_images(fov)
        height, width = label_images[0].shape
        patches = patch_grid(label_images[0], height, width, params.nuclei_per_patch)
        scored = patch_scores(label_images, patches).assign(fov=fov.name, well=fov.well)
        for path in segmented.ignored[fov.name]:
            scored = without_annotated(scored, read_ignored(path))
        return without_skipped(scored, [one.patch for one in params.skipped if one.fov == fov.name])

    with ThreadPoolExecutor(cores()) as threads:
        return pd.concat(threads.map(of_field, segmented.fovs), ignore_index=True)


def _draw(chosen: pd.DataFrame, segmented: Segmented, folder: Path) -> list[Path]:
    """Write a picture of each patch, in the order of their ranks; a field is read once."""
    folder.mkdir()
    by_name = {fov.name: fov for fov in segmented.fovs}
    for name, patches in chosen.groupby("fov"):
        fov = by_name[str(name)]
        grey, label_images = figures.display_grey(read_image(fov.image_path)), segmented.label_images(fov)
        for row in patches.to_dict("records"):
            patch = Patch(*(row[side] for side in Patch._fields))
            picture = figures.patch_picture(grey, label_images, patch)
            _picture_path(folder, row["rank"]).write_bytes(
                imagecodecs.jpeg_encode(picture, level=JPEG_LEVEL, subsampling="444")
            )
    return [_picture_path(folder, rank) for rank in chosen["rank"]]


def _picture_path(folder: Path, rank: int) -> Path:
    return folder / f"{rank:04d}.jpg"


def _page(
    params: Params, segmented: Segmented, candidates: pd.DataFrame, chosen: pd.DataFrame, pictures: Iterable[Path]
) -> str:
    sources = [pages.embedded(path.read_bytes(), pages.MIME_JPEG) for path in pictures]
    patches = [
        {**row, "picture": source, "name": f"{row['fov']}_y{row['y0']}-{row['y1']}_x{row['x0']}-{row['x1']}"}
        for row, source in zip(chosen.to_dict("records"), sources, strict=True)
    ]
    return pages.render(
        "queue.html.jinja",
        plate=segmented.plate.info,
        patches=patches,
        nuclei=int(chosen["nuclei"].sum()),
        fovs=len(segmented.fovs),
        annotated=segmented.annotated,
        candidates=len(candidates),
        segmentations=len(params.segmentations),
        random_patches=int(chosen["is_random"].sum()),
        skipped=len(params.skipped),
        seconds=int(chosen["nuclei"].sum()) * SECONDS_PER_NUCLEUS,
    )


TASK = Task(
    name="choose_patches",
    version=2,
    params_type=Params,
    run=run,
    log=log_result,
    resources=Resources(PROCESSING, cpu=2, memory_gib=4),
)

if __name__ == "__main__":
    sys.exit(TASK.main())
