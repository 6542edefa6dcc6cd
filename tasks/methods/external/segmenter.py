"""Third-party tools on whole plates: their label images, checked."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from tasks.methods.external.catalogue import Tool
from tasks.methods.external.command import run_command
from tasks.methods.segmenter import Segmenter
from tasks.nuclei.errors import InputError, first_of
from tasks.nuclei.label_check import LabelMeasures, check_labels, measure_labels
from tasks.nuclei.plates.field_check import size_in_words
from tasks.nuclei.plates.image_files import read_image, read_label_image
from tasks.nuclei.segmentation import Nuclei, SegmentationSettings, within_limits

MODEL = "model"
"""Folder with what the tool learnt."""
WRONG_SHARE = 0.25
"""Share of the fields with labels up to which clear mistakes are doubts about single fields."""

_NUMBERS = f"{1:06}.tif is of the first image that it got, and so on."


@dataclass(frozen=True)
class Written:
    """What a tool wrote for a field."""

    label_image: NDArray[np.int32]
    doubts: tuple[str, ...] = ()
    """Sentences with the tool's name on what looks wrong."""


class ExternalSegmenter(Segmenter):
    """A third-party tool and its folder `model`."""

    def __init__(self, tool: Tool, model: Path, settings: SegmentationSettings) -> None:
        super().__init__(settings)
        self._tool, self._model = tool, model

    def look_at(self, image: NDArray[np.integer]) -> Written:
        return next(self.look_at_all([image]))

    def look_at_all(self, images: Iterable[NDArray[np.integer]]) -> Iterator[Written]:
        """Run the tool once on all images; gives its label images, once all of them are seen to be whole."""
        with tempfile.TemporaryDirectory() as work:
            folders = {"images": Path(work) / "images", "output": Path(work) / "output", "model": self._model}
            folders["images"].mkdir()
            folders["output"].mkdir()
            shapes: dict[str, tuple[int, int]] = {}
            for number, image in enumerate(images, start=1):
                name = f"{number:06}"
                tifffile.imwrite(folders["images"] / f"{name}.tif", image)
                shapes[name] = (image.shape[0], image.shape[1])
            if not shapes:
                return
            run_command(self._tool.segment, folders, self._tool.name, writes=[folders["output"]])
            doubts = _checked_output(folders["images"], folders["output"], shapes, self._tool.name)
            for path, of_field in doubts.items():
                yield Written(read_label_image(path), tuple(f"{self._tool.name}: {doubt}" for doubt in of_field))

    @staticmethod
    def nuclei_in(seen: Written, settings: SegmentationSettings) -> Nuclei:
        return within_limits(seen.label_image, None, settings)

    @staticmethod
    def doubts_about(seen: Written) -> Sequence[str]:
        return seen.doubts


def _checked_output(
    images: Path, folder: Path, shapes: Mapping[str, tuple[int, int]], tool: str
) -> dict[Path, list[str]]:
    """Give the label images in the order of the images, each with what looks wrong in it.

    Raises InputError if any is missing or wrong.
    """
    written = _written(folder, shapes, tool)
    problems = []
    measures: dict[str, LabelMeasures] = {}
    for name, shape in shapes.items():
        file = written[name].name
        try:
            found = read_label_image(written[name])
        except InputError as error:
            problems.append(f"{file}: {_without_place(error, written[name])}")
            continue
        if found.shape != shape:
            problems.append(f"{file}: is {size_in_words(*found.shape)} px, and its image {size_in_words(*shape)} px")
        elif not problems:
            measures[file] = measure_labels(read_image(images / f"{name}.tif"), found)
    if problems:
        raise InputError(f"{tool} wrote wrong label images: {first_of(problems, separator='; ')}. {_NUMBERS}")
    doubts = _judge(measures, tool)
    return {written[name]: doubts[written[name].name] for name in shapes}


def _without_place(error: InputError, path: Path) -> str:
    """Leave out of a sentence on a file where it lies and how to copy it: it is in a folder that is soon gone."""
    return str(error).removeprefix(f"{path}: ").partition("; copy it again")[0].rstrip(".")


def _written(folder: Path, names: Collection[str], tool: str) -> dict[str, Path]:
    """Give the files that the tool wrote by their names without extension; InputError unless all are there once."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".tif", ".tiff", ".png"))
    written = {path.stem: path for path in paths}
    if twice := [path.name for path in paths if written[path.stem] != path]:
        raise InputError(
            f"{tool} wrote both {twice[0]} and {written[Path(twice[0]).stem].name}; "
            "it must write one label image for every image, and nothing else."
        )
    if missing := [name for name in names if name not in written]:
        others = sorted(path.name for path in folder.iterdir() if path.stem not in names)
        instead = f", and there is {others[0]}, which is the name of no image" if others else ""
        raise InputError(
            f"{tool} wrote {len(written.keys() & set(names))} label images of {len(names)}; the first that is missing "
            f"is {missing[0]}.tif{instead}. It must write one of the same name for every image."
        )
    return written


def _judge(measures: Mapping[str, LabelMeasures], tool: str) -> dict[str, list[str]]:
    """Give what is doubtful, or wrong in single fields, by file; InputError for what is no labels, or of other images.

    Output of a wrong form is wrong in all fields; one wrong field is a failure of the tool on this field.
    """
    verdicts = check_labels(measures)
    wrong = [f"{name}: {problem}" for name, verdict in verdicts.items() for problem in verdict.problems]
    labelled = sum(one.labels > 0 for one in measures.values())
    if len(wrong) > WRONG_SHARE * labelled:
        raise InputError(
            f"{tool} wrote what are no labels of its images. {first_of(wrong, separator='; ')}. {_NUMBERS}"
        )
    return {name: verdict.problems + verdict.doubts for name, verdict in verdicts.items()}
