"""Programs of others as a method: a command that reads a folder of images and writes a folder of label images.

A command is a list of arguments. In them, words in braces stand for folders: `{images}` with `000001.tif` and so on,
`{output}` for label images of the same names (TIFF or PNG), `{model}` with what the program learnt.
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from tasks.methods.segmenter import Segmenter
from tasks.nuclei.errors import InputError
from tasks.nuclei.plates import read_label_image
from tasks.nuclei.segmentation import SegmentationSettings, within_size_limits

REPOSITORY = Path(__file__).parents[3]
"""Where commands are started: those that come with the pipeline name files of it."""
LINES_SHOWN, PROBLEMS_SHOWN = 5, 10
MODEL = "model"
NOT_FOR_PROGRAMS = ("AIRFLOW", "MLFLOW", "PYTHON", "SM_FRAMEWORK", "TF_", "TF2_")
"""Beginnings of variables that are for this program alone: settings of its libraries, and ways into its servers."""

log = logging.getLogger("nucleus")


@dataclass(frozen=True)
class Program:
    """What it takes to run the program again; kept as `network.json`, beside the folder `model`."""

    program: str
    """Its name."""
    segment: tuple[str, ...]
    """The command."""
    method: Literal["external"] = "external"

    def save(self, folder: Path) -> None:
        (folder / "network.json").write_text(json.dumps(asdict(self), indent=1))


class ExternalSegmenter(Segmenter):
    """A program and its folder `model`."""

    searched = ()

    def __init__(self, program: Program, model: Path, settings: SegmentationSettings) -> None:
        super().__init__(settings)
        self._program, self._model = program, model

    def look_at(self, image: NDArray[np.integer]) -> NDArray[np.int32]:
        return next(self.look_at_all([image]))

    def look_at_all(self, images: Iterable[NDArray[np.integer]]) -> Iterator[NDArray[np.int32]]:
        """Run the program once on all images; gives its label images, once all of them are seen to be whole."""
        with tempfile.TemporaryDirectory() as work:
            folders = {"images": Path(work) / "images", "output": Path(work) / "output", "model": self._model}
            folders["images"].mkdir()
            folders["output"].mkdir()
            shapes = {}
            for number, image in enumerate(images, start=1):
                name = f"{number:06}"
                tifffile.imwrite(folders["images"] / f"{name}.tif", image)
                shapes[name] = image.shape
            if not shapes:
                return
            run_command(self._program.segment, folders, self._program.program)
            paths = _checked_output(folders["output"], shapes, self._program.program)
            for path in paths:
                yield _numbered(read_label_image(path))

    @staticmethod
    def nuclei_in(seen: NDArray[np.int32], settings: SegmentationSettings) -> NDArray[np.int32]:
        return within_size_limits(seen, settings)


def load_external_segmenter(network_dirs: Sequence[Path], settings: SegmentationSettings) -> ExternalSegmenter:
    """Load the one program."""
    if len(network_dirs) != 1:
        raise InputError(f"A program is used alone; {len(network_dirs)} were given.")
    (folder,) = network_dirs
    fields = json.loads((folder / "network.json").read_text())
    return ExternalSegmenter(Program(**{**fields, "segment": tuple(fields["segment"])}), folder / MODEL, settings)


def run_command(command: Sequence[str], words: Mapping[str, object], program: str) -> None:
    """Run a command with its words in braces replaced, its lines in the log. Raises InputError if it fails."""
    arguments = [_replaced(argument, words, program) for argument in command]
    log.info("%s: %s", program, " ".join(arguments))
    last: deque[str] = deque(maxlen=LINES_SHOWN)
    env = {name: value for name, value in os.environ.items() if not name.startswith(NOT_FOR_PROGRAMS)}
    try:
        with subprocess.Popen(
            arguments,
            cwd=REPOSITORY,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                log.info("%s: %s", program, line.rstrip())
                last.append(line.strip())
    except OSError as error:
        raise InputError(
            f"{program} can't be started: {arguments[0]}: {error.strerror}; install it, or mend its command."
        ) from None
    if process.returncode != 0:
        raise InputError(f"{program} ended with status {process.returncode}; it said last: {' / '.join(last)}")


def _numbered(label_image: NDArray[np.integer]) -> NDArray[np.int32]:
    """Give a label image with labels 1..n in place of any others, however large."""
    labels, numbered = np.unique(label_image, return_inverse=True)
    first = 0 if labels[0] == 0 else 1
    return (numbered.reshape(label_image.shape) + first).astype(np.int32)


def _replaced(argument: str, words: Mapping[str, object], program: str) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1] not in words:
            known = ", ".join(f"{{{word}}}" for word in words)
            raise InputError(f"The command of {program} has {found[0]}; there are {known}.")
        return str(words[found[1]])

    return re.sub(r"\{(\w+)\}", value, argument)


def _checked_output(folder: Path, shapes: Mapping[str, tuple[int, ...]], program: str) -> list[Path]:
    """Give the label images in the order of the images. Raises InputError if any is missing or wrong."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".tif", ".tiff", ".png"))
    written = {path.stem: path for path in paths}
    if twice := [path.name for path in paths if written[path.stem] != path]:
        raise InputError(
            f"{program} wrote both {twice[0]} and {written[Path(twice[0]).stem].name}; "
            "it must write one label image for every image, and nothing else."
        )
    if missing := [name for name in shapes if name not in written]:
        raise InputError(
            f"{program} wrote {len(written)} label images of {len(shapes)}; the first that is missing is "
            f"{missing[0]}.tif. It must write one of the same name for every image."
        )
    problems = []
    for name, shape in shapes.items():
        try:
            found = read_label_image(written[name])
        except InputError as error:
            problems.append(str(error))
            continue
        if found.shape != shape:
            problems.append(f"{written[name].name} is {found.shape}, its image {shape}")
    if problems:
        more = f" and {len(problems) - PROBLEMS_SHOWN} more" if len(problems) > PROBLEMS_SHOWN else ""
        raise InputError(f"{program} wrote wrong label images: {'; '.join(problems[:PROBLEMS_SHOWN])}{more}.")
    return [written[name] for name in shapes]
