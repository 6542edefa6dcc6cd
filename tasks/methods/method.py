"""What a method of segmentation is: all that the rest of the pipeline knows of one.

A method is a folder here, or a package of a laboratory's own, with a `Method` in its module `method`; `registry` finds
them. That module must be imported quickly: it loads no network library, since forms are built from it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tasks.methods.segmenter import Segmenter
from tasks.nuclei.segmentation import SegmentationSettings

PresetName = Literal["laptop", "paper"]
PRESETS: dict[PresetName, str] = {"laptop": "minutes on a CPU", "paper": "hours on a GPU"}
"""Names and titles of the presets that every method has."""

RANDOM = "random"


class AsItIs(NamedTuple):
    """A model that comes with the pipeline."""

    training: dict[str, Any]
    """Params of the training that only puts its network into the store."""
    settings: dict[str, Any]
    """What it segments with."""


@dataclass(frozen=True)
class InitialWeights:
    """A kind of weights that a training may begin from."""

    name: str
    """The word for it in the param `initialisation`."""
    title: str
    """What it is and what it needs, for the form."""
    file: str | None = None
    """Name of the file or folder in the folder NUCLEUS_WEIGHTS; none for weights that need no file there."""
    find: Callable[[Any], Path] | None = None
    """Gives the file by the params of a training, where it depends on them; InputError where it isn't there."""
    origin: str = ""
    """Where the file comes from."""
    is_whole: bool = False
    """Whether it holds the whole network, outputs included: then a preset says nothing about it."""
    is_part_of_more: bool = False
    """Whether the file is of a larger network, whose other layers aren't used."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Params of the training that these weights need."""
    network: Mapping[str, Any] = field(default_factory=dict)
    """Params of the training that say which network they are of, as JSON; no other one fits."""
    folder: Path | None = None
    """Folder of the pipeline with a model that can be used as it is: `network.json`, `weights.h5` and, with what it
    segments, `settings.json`. Its weights need no file elsewhere."""

    @property
    def all_params(self) -> dict[str, Any]:
        """Give the params that a training begins with that isn't told more."""
        return {**self.params, **self.network}

    @property
    def as_it_is(self) -> AsItIs | None:
        """Give how the model in `folder` is used without a training; None without such a one."""
        if self.folder is None:
            return None
        training = {"rois": None, "preset": "laptop", "initialisation": self.name, "cycles": 0}
        return AsItIs(training, json.loads((self.folder / "settings.json").read_text()))


@dataclass(frozen=True)
class Networks:
    """Which networks a model has."""

    name: str
    title: str
    trainings: tuple[Mapping[str, Any], ...]
    """One for each network: the params of its training that set it apart."""


@dataclass(frozen=True)
class Preset:
    """Values of what isn't given."""

    params: Mapping[str, Any] = field(default_factory=dict)
    """Params of the training. Those that aren't here have the defaults of the task."""
    networks: str = "one"


@dataclass(frozen=True)
class Candidates:
    """A param of the training of which a form takes several values, each for a candidate of its own."""

    param: str
    known: tuple[str, ...]
    """Values that there are for everybody."""
    folder_variable: str
    """Variable of the environment with the folder of what a laboratory adds."""
    file: str
    """YAML file in this folder, whose keys are further values."""


def nothing_else(network_dirs: Sequence[Path]) -> list[str]:
    return []


def nothing_more(network_dirs: Sequence[Path]) -> str:
    return ""


ONE_NETWORK = (Networks("one", "one network", ({},)),)


@dataclass(frozen=True)
class Method:
    """A way from annotated plates to label images: networks, their training, and what makes nuclei of their output."""

    name: str
    """Letters, digits and underscores. The name of its training task is `train_<name>`."""
    title: str
    """A few words on it, for the form."""
    training: str
    """Module with the `TASK` that trains one of its networks; empty for a method without networks, which has nothing
    but its settings."""
    settings: type[SegmentationSettings]
    """Settings of its segmentation. They are part of the key of what it segments, and of no other method's."""
    load: Callable[[Sequence[Path], Any], Segmenter]
    """Load trained networks, each from its folder, with settings of the type above."""
    initial_weights: tuple[InitialWeights, ...]
    search: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Settings that `calibrate` chooses, with the values to try, one setting after the other."""
    segmentation_version: int = 1
    """Raise it when the same networks and settings find other nuclei than before."""
    networks: tuple[Networks, ...] = ONE_NETWORK
    """The choices that there are."""
    presets: Mapping[PresetName, Preset] = field(default_factory=lambda: {name: Preset() for name in PRESETS})
    candidates: Candidates | None = None
    depends_on: Callable[[Sequence[Path]], list[str]] = nothing_else
    """What a segmentation by trained networks depends on besides them and its settings; it is part of its key."""
    libraries: tuple[str, ...] = ()
    """Names of installed packages that MLflow installs for a registered model, besides those of the pipeline."""
    needs: Callable[[Sequence[Path]], str] = nothing_more
    """What a machine needs to use a registered model of these networks, besides the libraries that MLflow installs."""
    earlier_tasks: tuple[str, ...] = ()
    """Other names that its training task had; the store may hold networks under these."""
    is_default: bool = False
    """Whether it is the one that a form begins with; one method is."""
    is_baseline: bool = False
    """Whether every report shows it beside the models; one method without networks is."""

    @property
    def task(self) -> str:
        """Name of the task that trains it."""
        return f"train_{self.name}"

    @property
    def has_networks(self) -> bool:
        return bool(self.training)

    def weights_named(self, name: str) -> InitialWeights | None:
        """Give the kind of initial weights of this name; None for an earlier network of the store."""
        return next((weights for weights in self.initial_weights if weights.name == name), None)
