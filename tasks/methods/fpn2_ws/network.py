"""The networks of FPN2-WS: an encoder and a decoder of segmentation-models, with one output per target."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
import tensorflow as tf
import tf_keras as keras
from keras_applications import imagenet_utils
from numpy.typing import NDArray

from tasks.methods.fpn2_ws.decoders import Decoder, recorded_filters
from tasks.methods.shared.devices import Precision, layers_in
from tasks.methods.shared.kept_network import KeptNetwork, architecture_fields, follow_batches_closely
from tasks.nuclei.errors import InputError
from tasks.nuclei.intensity import GreyLevels
from tasks.nuclei.targets import Target
from tasks.nuclei.view import View

with redirect_stdout(StringIO()):  # It prints which Keras it uses.
    import segmentation_models

# The names of an encoder that is built by itself wouldn't tell: Keras numbers many through, over all that it builds.
DECODER_LAYERS = (
    *("fpn_stage", "segm_stage", "upsampling_stage", "aggregation", "final_stage", "final_upsampling", "head_conv"),
    *("center_block", "decoder_stage", "final_conv"),
    "output",
)
"""How the names of layers begin that aren't the encoder's: those of the FPN, those of the U-Net, and the last."""
HEADS: dict[Decoder, str] = {"fpn": "head_conv", "unet": "final_conv"}
"""Names of the layers whose outputs, through a sigmoid, are the maps."""


@dataclass(frozen=True)
class Architecture(View):
    """What it takes to build a network again before its weights are loaded."""

    encoder: str
    targets: tuple[Target, ...]
    """One output channel each."""
    decoder: Decoder = "fpn"
    decoder_filters: tuple[int, ...] = (256,)
    """One number for the FPN, five for the U-Net; see `decoders`."""
    precision: Precision = "float32"
    method: Literal["fpn2_ws"] = "fpn2_ws"


class MapNetwork(KeptNetwork):
    """A network from grey images to its targets. Sides of the images must be multiples of 32 px."""

    def __init__(self, architecture: Architecture, encoder_weights: Path | None = None) -> None:
        self.architecture = architecture
        with layers_in(architecture.precision):
            self.model = _build(architecture, encoder_weights)
        follow_batches_closely(self.model)
        self._preprocess = segmentation_models.get_preprocessing(architecture.encoder)
        any_images = tf.TensorSpec((None, None, None, 1), tf.float32)
        self._predict = tf.function(lambda images: self(images, training=False), input_signature=[any_images])

    def __call__(self, images: Any, training: bool) -> Any:
        """Map images (b, y, x, 1), 0 to 255, to targets (b, y, x, t) float32 in [0, 1]; tensors."""
        # The package keeps the mean that it subtracts for all later calls: of another graph, or of another encoder.
        imagenet_utils._IMAGENET_MEAN = None
        rgb = tf.repeat(tf.cast(images, tf.float32), 3, axis=-1)
        return self.model(self._preprocess(rgb), training=training)

    def predict(self, images: GreyLevels) -> NDArray[np.float32]:
        """Map images (b, y, x) to targets (b, y, x, t) float32 in [0, 1]."""
        maps: NDArray[np.float32] = self._predict(images[..., np.newaxis].astype(np.float32)).numpy()
        return maps

    def encoder_layers(self) -> list[Any]:
        """Layers of the encoder, for freezing them."""
        return [layer for layer in self.model.layers if not layer.name.startswith(DECODER_LAYERS)]


def load_map_network(folder: Path) -> MapNetwork:
    """Load a network that `MapNetwork.save` wrote."""
    fields = architecture_fields(folder)
    sequences = {"targets": tuple(fields["targets"]), "decoder_filters": recorded_filters(fields["decoder_filters"])}
    network = MapNetwork(Architecture(**{**fields, **sequences}))
    network.load_weights(folder / "weights.h5")
    return network


def imagenet_weights(encoder: str, weights_dir: Path | None) -> Path:
    """Find the ImageNet weights of an encoder in `weights_dir`, or have the package download them."""
    with _weights_looked_up_in(weights_dir) as found:
        build_encoder(encoder, "imagenet")
    return found[0]


def build_encoder(encoder: str, weights: str | None) -> Any:
    """Build an encoder of the package by itself, as a Keras model."""
    parts = {name: getattr(tf.keras, name) for name in ("backend", "layers", "models", "utils")}
    return segmentation_models.Backbones.get_backbone(
        encoder, input_shape=(None, None, 3), include_top=False, weights=weights, **parts
    )


@contextmanager
def _weights_looked_up_in(weights_dir: Path | None) -> Iterator[list[Path]]:
    """Let the package's downloads be answered from a folder; yields the files it asked for.

    The package knows the files' names and addresses but has no setting for where they lie.
    """
    download = tf.keras.utils.get_file
    found: list[Path] = []

    def get_file(fname: str, origin: str, **options: Any) -> str:
        if weights_dir is not None and (weights_dir / fname).exists():
            found.append(weights_dir / fname)
            return str(weights_dir / fname)
        try:
            path = str(download(fname, origin, **options))
        except Exception as error:
            folder = f"the folder {weights_dir}" if weights_dir else "a folder named by NUCLEUS_WEIGHTS"
            raise InputError(
                f"ImageNet weights {fname} aren't there and {origin} can't be downloaded ({error}); "
                f'put the file into {folder}, or choose initialisation "random".'
            ) from None
        found.append(Path(path))
        return path

    with patch.object(tf.keras.utils, "get_file", get_file):
        yield found


def _build(architecture: Architecture, encoder_weights: Path | None) -> Any:
    base = _decoder(architecture)(
        architecture.encoder,
        input_shape=(None, None, 3),
        classes=len(architecture.targets),
        # The package's default, softmax, is constant 1 for one output. The sigmoid is added below.
        activation="linear",
        encoder_weights=None if encoder_weights is None else str(encoder_weights),
    )
    head = base.get_layer(HEADS[architecture.decoder])
    # Under bfloat16 the output and the loss stay in float32.
    output = keras.layers.Activation("sigmoid", dtype="float32", name="output")(head.output)
    return keras.Model(base.input, output)


def _decoder(architecture: Architecture) -> Callable[..., Any]:
    """Give what builds an encoder with the decoder on it."""
    if architecture.decoder == "unet":
        return partial(segmentation_models.Unet, decoder_filters=architecture.decoder_filters)
    (filters,) = architecture.decoder_filters
    return partial(segmentation_models.FPN, pyramid_block_filters=filters)
