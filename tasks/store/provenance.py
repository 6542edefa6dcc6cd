"""Where a result comes from: from scores to segmentations, from a model to its networks, their ROIs and plates.

A stored result holds the params that it was made with, and these name other results. All questions that follow these
names are answered here, also for results of earlier versions of the pipeline. Paths are relative to the store.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd
import pydantic

from tasks.contract import Result, describe, in_store, inputs_of, read_result
from tasks.methods.method import Method
from tasks.methods.registry import method_named, method_of_networks
from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside
from tasks.nuclei.intensity import recorded_scaling
from tasks.nuclei.plates.files import Fov, Plate, open_plate
from tasks.nuclei.plates.origins import proposer, read_origins
from tasks.nuclei.segmentation import SegmentationSettings
from tasks.store.imported_plates import report_of


@dataclass(frozen=True)
class Model:
    """What a plate is segmented with."""

    method: Method
    networks: list[str]
    """Outputs of the method's training task."""
    settings: SegmentationSettings


class Generation(NamedTuple):
    """Networks that were trained together, and the plates that they were trained on."""

    networks: list[str]
    plates: list[str]


def result_of(path: str, store: Path, *made_by: str) -> Result:
    """Read the result that a path lies in, made by one of these tasks if any are given.

    Raises InputError for one that the store lacks, or that another task made.
    """
    folder = inside(store, str(Path(*Path(path).parts[:2])))
    if not (folder / "result.json").exists():
        raise InputError(f"{path} is not in the store {store}; run the task that makes it first.")
    result = read_result(folder)
    if made_by and result.task not in made_by:
        raise InputError(f"{path} is an output of {result.task}; give one of {' or '.join(made_by)}.")
    return result


def model_at(path: str, store: Path) -> Model:
    """Give the model that `register_model` stored."""
    return model_of(result_of(path, store, "register_model").params, store)


def model_of(params: dict[str, Any], store: Path) -> Model:
    """Give the model in the params of `segment` or `register_model`."""
    networks = list(params["networks"])
    if "method" in params:
        method = method_named(params["method"])
        return Model(method, networks, _settings(method, params["settings"]))
    # The settings of all methods stood among the params once, in other bounds.
    for network in networks:
        result_of(network, store)
    method = method_of_networks([in_store(store, network) for network in networks])
    return Model(method, networks, method.settings.model_construct(**params))


def _settings(method: Method, given: dict[str, Any]) -> SegmentationSettings:
    try:
        return method.settings(**given)
    except pydantic.ValidationError as error:
        problems = "; ".join(describe(problem, method.settings) for problem in error.errors())
        raise InputError(f"The settings are of another version of {method.name}: {problems}.") from None


def networks_of_model(path: str, store: Path) -> list[str]:
    """Give the networks of a registered model, also of one whose method isn't installed."""
    return list(result_of(path, store, "register_model").params["networks"])


def holds_model(path: str, store: Path) -> bool:
    """Whether the store has all that a registered model segments with."""
    try:
        folders = [inside(store, network) for network in networks_of_model(path, store)]
    except InputError:
        return False
    return all((folder / "network.json").exists() for folder in folders)


def trainings_of_networks(networks: Iterable[str], store: Path) -> list[dict[str, Any]]:
    """Give the params that networks were trained with, in today's words."""
    return [_in_todays_words(_training(network, store)) for network in networks]


def _training(network: str, store: Path) -> dict[str, Any]:
    """Give the params that a network was trained with."""
    result = result_of(network, store)
    if not result.task.startswith("train_"):
        raise InputError(f"{network} is an output of {result.task}; give one of a training.")
    return result.params


def _in_todays_words(training: dict[str, Any]) -> dict[str, Any]:
    params = dict(training)
    if params.get("initialisation") == "published":
        params["initialisation"] = "pretrained"
    if "program" in params:
        params["tool"] = params.pop("program")
        # Its commands stood among the params.
        params = {name: value for name, value in params.items() if name not in ("segment", "train")}
    return params


def came_with_the_pipeline(networks: Iterable[str], store: Path) -> bool:
    """Whether networks are as they came with the pipeline, trained on plates that aren't in this store."""
    return all(_training(network, store)["rois"] is None for network in networks)


def rois_of_networks(networks: Collection[str], store: Path) -> str:
    """Give the ROI file that networks were trained on; InputError if it isn't the same for all, or if there is none."""
    if not networks:
        raise InputError("A method without networks has no ROIs of its own; give rois, or keep the settings.")
    paths = sorted({str(_training(network, store)["rois"]) for network in networks})
    if len(paths) > 1:
        raise InputError(f"The networks were trained on different ROIs: {', '.join(paths)}; train all on one.")
    if came_with_the_pipeline(networks, store):
        raise InputError("The networks came with the pipeline and have no ROIs here; keep the settings that they have.")
    return paths[0]


def augmentation_of_rois(rois: str, store: Path) -> dict[str, Any]:
    """Give the params of `augment` that made a ROI file, its plates among them, in today's words."""
    params = result_of(rois, store, "augment").params
    # Before plates were magnified by the size of their nuclei, all were by the zoom.
    today = {"scaling": recorded_scaling(params.get("scaling")), "nucleus_px": params.get("nucleus_px")}
    return params | today


def fovs_of_rois(rois: str, store: Path) -> dict[tuple[str, str], Fov]:
    """Give the fields that a ROI file was cut from, by the names of plate and field."""
    plates = [plate_at(path, store) for path in augmentation_of_rois(rois, store)["plates"]]
    return {(plate.info.name, fov.name): fov for plate in plates for fov in plate.fovs}


def plates_of_networks(networks: Iterable[str], store: Path) -> list[str]:
    """Give the plates that networks were trained on; none of networks that came with the pipeline."""
    rois = {_training(network, store)["rois"] for network in networks} - {None}
    return sorted({plate for path in rois for plate in augmentation_of_rois(path, store)["plates"]})


def pixel_sizes_trained_on(networks: Iterable[str], store: Path) -> list[float]:
    """Give the pixel sizes in µm, from small to large, of the plates that networks and those before them learnt from.

    Empty where that isn't known: of networks or plates that the store lacks, and of weights kept as they came.
    """
    sizes = set()
    with suppress(InputError):
        for generation in generations(networks, store):
            if any(_training(network, store).get("cycles") == 0 for network in generation.networks):
                return []
            sizes |= {plate_at(path, store).info.pixel_size_um for path in generation.plates}
        return sorted(sizes)
    return []


def generations(networks: Iterable[str], store: Path) -> Iterator[Generation]:
    """Give networks with their plates, then those that these began from, back to the first."""
    networks = list(networks)
    while networks:
        yield Generation(networks, plates_of_networks(networks, store))
        begun_from = [_training(network, store).get("initialisation") for network in networks]
        networks = [path for path in begun_from if path and (inside(store, path) / "result.json").exists()]


def own_proposals(method: str, networks: Sequence[str], plate: Path, store: Path) -> int:
    """Count the labels of an imported plate that were proposed by these networks, or by those that they began from.

    F1 on them says less, whether a person accepted them as they were or corrected them.
    """
    return int(proposed_itself(method, networks, read_origins(plate), store).sum())


def proposed_itself(method: str, networks: Sequence[str], origins: pd.DataFrame, store: Path) -> pd.Series:
    """Say of each row of a table of origins whether these networks, or those that they began from, proposed the label.

    The table may be that of a plate or of a further label set.
    """
    own = {proposer(method, networks)}
    if len(origins):
        with suppress(InputError):  # The store may lack earlier generations.
            own |= {proposer(method, generation.networks) for generation in generations(networks, store)}
    return origins["proposed_by"].isin(own)


def own_proposals_of_plates(segmentations: Iterable[str], store: Path) -> dict[str, int]:
    """Give by the names of segmented plates how many of their labels the model proposed itself."""
    # Segmentations of before these were counted don't have them.
    return {
        Path(plate_of_segmentation(path, store)).name.rpartition("@")[0]: result_of(path, store).counts.get(
            "own_proposals", 0
        )
        for path in segmentations
    }


def segmentations_of_scores(scores: str, store: Path) -> list[str]:
    """Give the segmentations that were scored."""
    return list(result_of(scores, store, "score").params["segmentations"])


def plate_of_segmentation(segmentation: str, store: Path, *made_by: Literal["segment", "assemble_plate"]) -> str:
    """Give the plate that was segmented."""
    return str(params_of_segmentation(segmentation, store, *made_by)["plate"])


def params_of_segmentation(
    segmentation: str, store: Path, *made_by: Literal["segment", "assemble_plate"]
) -> dict[str, Any]:
    """Give the params of `segment`, of the first of parts that were put together."""
    result = result_of(segmentation, store, *(made_by or ("segment", "assemble_plate")))
    if result.task == "assemble_plate":
        return params_of_segmentation(result.params["segmentations"][0], store)
    return result.params


def plate_at(path: str, store: Path) -> Plate:
    """Open an imported plate."""
    return open_plate(in_store(store, path))


def history_of(paths: Iterable[str], store: Path) -> list[Result]:
    """Give these results and all that they were made from, each once, the latest first."""
    found: dict[str, Result] = {}
    waiting = list(paths)
    while waiting:
        folder = Path(*Path(waiting.pop(0)).parts[:2]).as_posix()
        if folder not in found and (inside(store, folder) / "result.json").exists():
            found[folder] = read_result(inside(store, folder))
            waiting += inputs_of(found[folder])
    return list(found.values())


def nuclei_trained_on(networks: Iterable[str], store: Path) -> dict[str, int]:
    """Count the nuclei, by cell line, that people annotated on plates that networks and those before them learnt from.

    Of versions of a plate, the one with the most nuclei counts. Synthetic plates don't, nor what the base model saw.
    """
    most: dict[tuple[str, str], int] = {}
    for path in {path for generation in generations(networks, store) for path in generation.plates}:
        info = plate_at(path, store).info
        if info.annotation != "synthetic":
            nuclei = sum(row.get("nuclei", 0) for row in report_of(in_store(store, path))["fovs"])
            plate = (info.cell_line, info.name)
            most[plate] = max(nuclei, most.get(plate, 0))
    by_cell_line: dict[str, int] = {}
    for (cell_line, _), nuclei in most.items():
        by_cell_line[cell_line] = by_cell_line.get(cell_line, 0) + nuclei
    return by_cell_line
