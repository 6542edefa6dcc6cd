"""A network on disk: a folder with `network.json`, which says how to build it, and `weights.h5`."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tf_keras as keras

from tasks.nuclei.errors import InputError
from tasks.nuclei.intensity import recorded_scaling

# The usual 0.99 and 0.999 lag behind in short trainings: with a good training loss, a network in inference mode then
# finds not one nucleus.
BATCH_NORM_MOMENTUM = 0.9


def follow_batches_closely(model: Any) -> None:
    """Let the moving averages of a Keras model's batch normalisation be those of the last few batches."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = BATCH_NORM_MOMENTUM


class KeptNetwork:
    """What a network needs to be kept: how it is built, and the Keras model that holds its weights."""

    architecture: Any
    """A dataclass."""
    model: Any
    output_layers: Collection[str] = ()
    """Names of layers that pretrained weights of another task may lack."""

    @property
    def parts(self) -> Sequence[Any]:
        """The Keras models that the network is made of."""
        return (self.model,)

    def save(self, folder: Path) -> None:
        """Write `network.json` and `weights.h5`."""
        (folder / "network.json").write_text(json.dumps(asdict(self.architecture), indent=1))
        self.model.save_weights(folder / "weights.h5")

    def load_weights(self, path: Path) -> None:
        """Load weights of the same architecture."""
        try:
            self.model.load_weights(path)
        except (OSError, ValueError) as error:
            raise InputError(f"{path} doesn't fit {self.architecture}: {str(error).splitlines()[0]}") from None


def architecture_fields(folder: Path) -> dict[str, Any]:
    """Give the fields of the architecture that `KeptNetwork.save` wrote."""
    fields: dict[str, Any] = json.loads((folder / "network.json").read_text())
    return fields | {"scaling": recorded_scaling(fields.get("scaling"))}


def the_one_network(network_dirs: Sequence[Path], method: str) -> Path:
    """Give the only one of some networks. Raises InputError for several."""
    if len(network_dirs) != 1:
        raise InputError(f"{method} is one network; {len(network_dirs)} were given.")
    return network_dirs[0]
