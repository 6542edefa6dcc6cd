"""What a training does with the GPUs of its machine: on how many it runs, and at which precision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import tensorflow as tf
import tf_keras as keras

Precision = Literal["float32", "bfloat16"]
"""Precision of the layers of a network."""

FIRST_WITH_BFLOAT16 = (8, 0)
"""Compute capability of NVIDIA's Ampere."""


def gpu_names() -> list[str]:
    """Names of the GPUs that TensorFlow sees, such as "NVIDIA A100-SXM4-80GB"; empty without a GPU."""
    return [details.get("device_name", "unknown") for details in _details_of_gpus()]


def make_repeatable() -> None:
    """Make trainings with the same seed equal to the bit, on a machine without a GPU.

    Grappler, TensorFlow's optimiser of graphs, is turned off: to save memory it adds gradients up one by one in the
    order in which they happen to be ready, and sums in bfloat16 then differ. It hardly makes a step faster. On a GPU,
    TensorFlow has no deterministic gradient of nearest-neighbour upsampling. Must be called before segmentation_models
    is imported.
    """
    if not tf.config.list_physical_devices("GPU"):
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
        tf.config.experimental.enable_op_determinism()


def training_strategy() -> Any:
    """Give the strategy that trains on all GPUs; with one or none, TensorFlow's default.

    Network, optimiser and training loop must be made in its `scope()`.
    """
    if len(tf.config.list_physical_devices("GPU")) < 2:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy()


def fastest_precision() -> Precision:
    """Give bfloat16 if all GPUs compute in it, else float32; float32 without a GPU."""
    return precision_for([details.get("compute_capability", (0, 0)) for details in _details_of_gpus()])


@contextmanager
def layers_in(precision: Precision) -> Iterator[None]:
    """Let the layers that are built meanwhile compute in a precision; Keras keeps it for the whole process."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy({"float32": "float32", "bfloat16": "mixed_bfloat16"}[precision])
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def precision_for(compute_capabilities: Sequence[tuple[int, int]]) -> Precision:
    """Choose the precision for GPUs of these compute capabilities (major, minor).

    Older GPUs have float16, whose narrow range needs the loss scaled; they train in float32.
    """
    if compute_capabilities and min(compute_capabilities) >= FIRST_WITH_BFLOAT16:
        return "bfloat16"
    return "float32"


def _details_of_gpus() -> list[dict[str, Any]]:
    return [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
