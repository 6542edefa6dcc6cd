"""Put the parts of a segmented plate together: label images, tables of nuclei and wells, heat maps, an overview.

Every part is an output of `segment` for some fields of the plate. Written are labels/, nuclei.parquet
and nuclei.csv (the same rows), wells.csv, heat_map.png if the names of the fields give wells,
overview.png, and plate.ome.zarr if asked for, with the nuclei of each field beside its pixels. All name the
model. Fields that `ingest` left out of the plate are counted in wells.csv, which has a row for a well without any
other, and in the titles of the pictures.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydantic
import tifffile
from matplotlib.figure import Figure

from tasks import tracking
from tasks.contract import PROCESSING, Outcome, Resources, Result, Task, TaskParams, Workspace
from tasks.files import link_or_copy
from tasks.nuclei import figures
from tasks.nuclei.errors import InputError, first_of, raise_if_any
from tasks.nuclei.intensity import robust_range
from tasks.nuclei.plates.files import Fov, Plate
from tasks.nuclei.plates.hcs import Channel, HcsWriter
from tasks.nuclei.plates.image_files import read_bytes, read_image, read_label_image, write_label_image
from tasks.nuclei.plates.pixel_size import pixel_size_of_image
from tasks.nuclei.plates.wells import is_well, parse_well, smallest_grid
from tasks.nuclei.tables import DOUBTFUL_BELOW, is_doubtful, read_nuclei, wells_table, write_csv, write_parquet
from tasks.store.imported_plates import left_out_of
from tasks.store.provenance import plate_at, plate_of_segmentation, result_of
from tasks.store.registered_model import ModelName, ReadyModelName

MOST_APART = 1.1
"""Zooms of parts may differ by one step: not all machines compute the same to the last digit."""

log = logging.getLogger("nucleus")

LEFT_OUT_SHOWN = 20
CHANNEL_NAME = "nuclear stain"
"""In OME-Zarr, where the names of the images give a number or nothing."""
OVERVIEW_FIELDS = 12
OVERVIEW_IN_DIAMETERS = 9
"""Side of the part of a field that the overview shows, in diameters of a typical nucleus."""
_TYPICAL_AREA_PX = 400.0
_MIN_OVERVIEW_PX = 128

# Four fields of 2160 x 2560 px at a time take about half a gigabyte.
_THREADS = 4


class Params(TaskParams):
    segmentations: list[str] = pydantic.Field(min_length=1)
    """Outputs of `segment` for one and the same plate, relative to the store; together every field once."""
    model: ModelName | ReadyModelName
    """The model that found the nuclei."""
    ome_zarr: bool = False
    """Whether to write images and label images as an OME-Zarr plate too."""


@dataclass(frozen=True)
class Part:
    """What `segment` made of some fields."""

    path: str
    """Relative to the store."""
    folder: Path
    params: dict[str, Any]
    zoom: float | None
    """By the size of the plate's nuclei; None where that doesn't matter."""

    @property
    def settings(self) -> dict[str, Any]:
        """All that must be equal among parts."""
        return {name: value for name, value in self.params.items() if name != "fovs"}


def run(params: Params, workspace: Workspace) -> Outcome:
    parts = [_open_part(path, workspace) for path in params.segmentations]
    _refuse_different_settings(parts)
    plate = plate_at(parts[0].params["plate"], workspace.store)
    model = str(params.model)
    labels = _labels_by_fov(parts, plate)
    sites = _sites_by_well(plate) if params.ome_zarr else {}

    _link_labels(labels, plate.info.pixel_size_um, model, workspace.output_dir / "labels")
    nuclei = _nuclei_table(parts, plate, model)
    write_csv(nuclei, workspace.output_dir / "nuclei.csv")
    write_parquet(workspace.output_dir / "nuclei.parquet", nuclei, {"plate": plate.info.name, "model": model})
    left_out = left_out_of(plate.folder)
    left_out_by_well = Counter(row["well"] for row in left_out)
    wells = wells_table(_fovs_by_well(plate, left_out), left_out_by_well, nuclei).assign(model=model)
    write_csv(wells, workspace.output_dir / "wells.csv")
    _log_left_out(left_out)
    log.info("tables: %d nuclei of %d fields", len(nuclei), len(plate.fovs))

    outputs = {"assembled": ".", "wells": "wells.csv", "overview": "overview.png"}
    _draw_overview(plate, labels, nuclei, len(left_out), model, workspace.output_dir / "overview.png")
    if all(is_well(fov.well) for fov in plate.fovs):
        _draw_heat_map(plate, wells, model, workspace.output_dir / "heat_map.png")
        outputs["heat_map"] = "heat_map.png"
    else:
        numbered = plate.fovs[0].well and 'number the wells; say in plate.json how many there are, such as "wells": 384'
        log.info("no heat map: the names of the fields %s", numbered or "give no wells, as …_B07_s1_w1 would")
    if params.ome_zarr:
        _write_ome_zarr(plate, labels, nuclei, sites, model, workspace.output_dir / "plate.ome.zarr")
        outputs["ome_zarr"] = "plate.ome.zarr"

    counts = {"fovs": len(plate.fovs), "wells": len(wells), "nuclei": len(nuclei), "left_out": len(left_out)}
    return Outcome(outputs=outputs, metrics=_metrics(nuclei), counts=counts)


def _metrics(nuclei: pd.DataFrame) -> dict[str, float]:
    metrics = {f"area_median_{unit}": nuclei[f"area_{unit}"].median() for unit in ("um2", "px")}
    metrics["doubtful_share"] = is_doubtful(nuclei).mean()
    return {name: float(value) for name, value in metrics.items() if pd.notna(value)}


def log_result(params: Params, result: Result, store: Path) -> None:
    """Copy the table of wells and the pictures to MLflow and log what the plate has in numbers."""
    plate = plate_at(plate_of_segmentation(params.segmentations[0], store), store)
    prefix = f"assemble_plate/{plate.info.name}"
    mlflow_run = tracking.Run()
    digest = plate.folder.name.partition("@")[2]
    mlflow_run.set_tags(
        {
            "plate": plate.info.name,
            "plate_digest": digest,
            "model": str(params.model),
            **({"model_version": str(params.model.version)} if isinstance(params.model, ModelName) else {}),
        }
    )
    for name in ("wells", "heat_map", "overview"):
        if name in result.outputs:
            mlflow_run.log_artifact(store / result.outputs[name], prefix)
    numbers = {**result.counts, **result.metrics}
    mlflow_run.log_points(tracking.Point(f"{prefix}/{name}", value) for name, value in numbers.items())


def _open_part(path: str, workspace: Workspace) -> Part:
    result = result_of(path, workspace.store, "segment")
    return Part(path, workspace.input(path), result.params, result.metrics.get("zoom"))


def _refuse_different_settings(parts: list[Part]) -> None:
    first = parts[0]
    for part in parts[1:]:
        differing = sorted(name for name in first.settings if part.settings.get(name) != first.settings[name])
        if differing:
            raise InputError(
                f"{part.path} and {first.path} differ in {', '.join(differing)}; "
                "give parts of one plate, segmented with one model and one set of settings."
            )
        if first.zoom and part.zoom and max(first.zoom / part.zoom, part.zoom / first.zoom) > MOST_APART:
            raise InputError(
                f"{part.path} and {first.path} were magnified differently, {part.zoom:.2f} and {first.zoom:.2f} times, "
                "since other nuclei were found when their size was measured; segment the plate again with its nuclear "
                "diameter given."
            )


def _labels_by_fov(parts: list[Part], plate: Plate) -> dict[str, Path]:
    """Give the label image of every field, in the order of the plate; InputError unless there is one of each."""
    names = [fov.name for fov in plate.fovs]
    paths: dict[str, Path] = {}
    problems = []
    for part in parts:
        of_part = part.params.get("fovs")
        for name in names if of_part is None else of_part:
            if name in paths:
                problems.append(f"{name} is there more than once, again in {part.path}; leave that part out")
            paths[name] = part.folder / "labels" / f"{name}.tif"
    problems += [f"{name} is in none of the segmentations; segment it" for name in names if name not in paths]
    problems += [f"{path} does not exist; segment its part again" for path in paths.values() if not path.exists()]
    raise_if_any(problems, plate.folder)
    return {name: paths[name] for name in names}


def _fovs_by_well(plate: Plate, left_out: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Count the fields of each well in the order of their names; wells of which all were left out have 0."""
    wells = sorted(
        [(fov.name, fov.well, 1) for fov in plate.fovs]
        + [(row["fov"], row["well"], 0) for row in left_out if row["well"]]
    )
    counts: dict[str, int] = {}
    for _, well, count in wells:
        counts[well] = counts.get(well, 0) + count
    return counts


def _log_left_out(left_out: Sequence[Mapping[str, Any]]) -> None:
    if left_out:
        names = first_of([row["fov"] for row in left_out], LEFT_OUT_SHOWN)
        log.warning("%d faulty fields were left out when the plate was imported: %s", len(left_out), names)


def _left_out_in_title(left_out: int) -> str:
    return f" · {left_out:,} faulty field{'s' if left_out > 1 else ''} left out" if left_out else ""


def _sites_by_well(plate: Plate) -> dict[str, list[int]]:
    """Give the sites of each well; InputError for fields that have no place of their own in an OME-Zarr plate."""
    sites: dict[str, list[int]] = {}
    problems = []
    for fov in plate.fovs:
        if fov.site is None or not is_well(fov.well):
            problems.append(f"{fov.name}: its name gives no well by letter and number; leave ome_zarr off")
        elif fov.site in sites.setdefault(fov.well, []):
            problems.append(
                f"{fov.name}: is not the only field of well {fov.well}, site {fov.site}; leave ome_zarr off"
            )
        else:
            sites[fov.well].append(fov.site)
    raise_if_any(problems, plate.folder)
    return sites


def _link_labels(labels: dict[str, Path], pixel_size_um: float, model: str, folder: Path) -> None:
    """Give label images a second name; those of before they stated the size of their pixels are written anew."""
    folder.mkdir()
    for path in labels.values():
        if pixel_size_of_image(read_bytes(path), path).um is not None:
            link_or_copy(path, folder / path.name)
        else:
            write_label_image(folder / path.name, tifffile.imread(path), pixel_size_um, model)


def _nuclei_table(parts: list[Part], plate: Plate, model: str) -> pd.DataFrame:
    tables = [read_nuclei(part.folder / "nuclei.csv") for part in parts]
    nuclei = pd.concat(tables, ignore_index=True).sort_values(["fov", "label"], ignore_index=True)
    area_um2 = (nuclei["area_px"] * plate.info.pixel_size_um**2).round(3)
    nuclei.insert(list(nuclei.columns).index("area_px"), "area_um2", area_um2)
    return nuclei.assign(model=model)


def _draw_overview(
    plate: Plate, labels: dict[str, Path], nuclei: pd.DataFrame, left_out: int, model: str, path: Path
) -> None:
    typical_area_px = float(nuclei["area_px"].median()) if len(nuclei) else _TYPICAL_AREA_PX
    side_px = max(_MIN_OVERVIEW_PX, round(OVERVIEW_IN_DIAMETERS * 2 * np.sqrt(typical_area_px / np.pi)))
    doubtful = nuclei[is_doubtful(nuclei) == 1]
    tiles = []
    for fov in _some_of(plate.fovs):
        of_fov = doubtful.loc[doubtful["fov"] == fov.name, "label"].tolist()
        label_image = read_label_image(labels[fov.name])
        picture = figures.overview_picture(read_image(fov.image_path), label_image, side_px, of_fov)
        tiles.append(figures.OverviewTile(_short_name(fov), picture))
    title = f"{plate.info.name} · middle of {len(tiles)} of {len(plate.fovs)} fields"
    title += _left_out_in_title(left_out)
    figure = figures.overview_figure(tiles, plate.info.pixel_size_um, title, model, _doubt_in_words(nuclei))
    _save(figure, path, plate, model)


def _some_of(fovs: Sequence[Fov]) -> list[Fov]:
    """Choose some fields for pictures, evenly spread."""
    chosen = np.unique(np.linspace(0, len(fovs) - 1, OVERVIEW_FIELDS).round().astype(int))
    return [fovs[number] for number in chosen]


def _doubt_in_words(nuclei: pd.DataFrame) -> str:
    """Say how many nuclei of a plate are doubtful; nothing where they have no confidence."""
    doubtful = is_doubtful(nuclei)
    if not doubtful.notna().any():
        return ""
    return f"confidence below {DOUBTFUL_BELOW}: {int(doubtful.sum()):,} of {len(nuclei):,} nuclei of the plate"


def _short_name(fov: Fov) -> str:
    return f"{fov.well} · site {fov.site}" if fov.well else fov.name


def _draw_heat_map(plate: Plate, wells: pd.DataFrame, model: str, path: Path) -> None:
    places = [parse_well(well) for well in wells["well"]]
    grid = smallest_grid(places)
    per_field, area = np.full((2, *grid), np.nan)
    rows, columns = np.transpose(places)
    per_field[rows, columns] = (wells["nuclei"] / wells["fovs"]).to_numpy(float, na_value=np.nan)
    area[rows, columns] = wells["area_median_um2"]
    maps = [
        figures.HeatMap("Nuclei per field", "nuclei", per_field, from_zero=True),
        figures.HeatMap("Median area of the nuclei", "µm²", area, from_zero=False),
    ]
    title = f"{plate.info.name} · {len(plate.fovs):,} fields, {wells['nuclei'].sum():,} nuclei"
    title += _left_out_in_title(int(wells["left_out"].sum()))
    _save(figures.plate_heat_maps(maps, grid.row_names, grid.column_names, title, model), path, plate, model)


def _save(figure: Figure, path: Path, plate: Plate, model: str) -> None:
    figure.savefig(path, metadata={"Title": plate.info.name, "Description": f"Segmented with {model}"})


def _write_ome_zarr(
    plate: Plate, labels: dict[str, Path], nuclei: pd.DataFrame, sites: dict[str, list[int]], model: str, path: Path
) -> None:
    writer = HcsWriter(path, plate.info.name, sites, plate.info.pixel_size_um, model, _channel(plate))
    by_fov = dict(iter(nuclei.groupby("fov")))

    def write(fov: Fov) -> None:
        assert fov.site is not None
        writer.write_field(fov.well, fov.site, read_image(fov.image_path), read_label_image(labels[fov.name]))
        writer.write_nuclei(fov.well, fov.site, by_fov.get(fov.name, nuclei.head(0)))

    with ThreadPoolExecutor(_THREADS) as threads:
        for done, _ in enumerate(threads.map(write, plate.fovs), start=1):
            if done == len(plate.fovs) or done % max(1, len(plate.fovs) // 10) == 0:
                log.info("OME-Zarr: %d of %d fields", done, len(plate.fovs))


def _channel(plate: Plate) -> Channel:
    """Give the name of the channel, and the range in which the nuclei of some fields lie, dead cells aside."""
    ranges = [robust_range(read_image(fov.image_path)) for fov in _some_of(plate.fovs)]
    low, high = min(seen.low for seen in ranges), max(seen.high for seen in ranges)
    channel = plate.fovs[0].channel
    name = channel if isinstance(channel, str) else CHANNEL_NAME
    # An image of one intensity has no range, and viewers refuse an empty one.
    return Channel(name, round(low), max(round(high), round(low) + 1))


TASK = Task(
    name="assemble_plate",
    version=4,
    params_type=Params,
    run=run,
    log=log_result,
    resources=Resources(PROCESSING, cpu=2, memory_gib=8),
)

if __name__ == "__main__":
    sys.exit(TASK.main())
