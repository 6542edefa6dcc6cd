"""What targets, proposals and heads of Mask R-CNN cost in a training step, on top of its pyramid."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tasks.methods.mask_rcnn.network import Architecture, MaskRcnn
from tasks.methods.mask_rcnn.train import numbered_with_boxes
from tasks.nuclei.synthesis import KINDS, synthesize_fov

BATCH_SIZE, PROPOSALS, STEPS, ROUNDS = 4, 48, 3, 3
MOST_TIMES_THE_PYRAMID = 2.0


def test_a_step_takes_hardly_longer_than_that_of_the_pyramid(benchmark: Any) -> None:
    """The laptop preset's network. With 512 rows of boxes, most of them empty, it took more than twice as long."""
    network = MaskRcnn(Architecture(50, 64, 64, 256, 64, "bfloat16", scaling="percentile"))
    fields = [synthesize_fov(KINDS["MCF10A"], (256, 256), np.random.default_rng(seed)) for seed in range(BATCH_SIZE)]
    images = np.stack([field.image for field in fields]).astype(np.uint8)
    label_images, boxes = map(np.stack, zip(*(numbered_with_boxes(field.label_image) for field in fields), strict=True))
    batch = tuple(map(tf.constant, (images, label_images, boxes)))

    def pyramid_alone() -> Any:
        return tf.add_n([tf.reduce_mean(tf.cast(part, tf.float32)) for part in network._body(batch[0], True)[1:]])

    def whole() -> Any:
        return tf.add_n(list(network.losses(batch, True, PROPOSALS).values()))

    steps = [_step(network.model.trainable_variables, loss) for loss in (pyramid_alone, whole)]

    def one_round() -> list[float]:
        return [_seconds(step) for step in steps]

    one_round()  # traces the graphs
    measured = [benchmark.pedantic(one_round, rounds=1)] + [one_round() for _ in range(ROUNDS - 1)]
    pyramid, all_of_it = (min(times) for times in zip(*measured, strict=True))
    benchmark.extra_info["ratio"] = all_of_it / pyramid
    assert all_of_it / pyramid <= MOST_TIMES_THE_PYRAMID


def _step(variables: list[Any], loss: Callable[[], Any]) -> Any:
    @tf.function
    def gradients() -> Any:
        with tf.GradientTape() as tape:
            total = loss()
        return [gradient for gradient in tape.gradient(total, variables) if gradient is not None]

    return gradients


def _seconds(step: Any) -> float:
    started = time.perf_counter()
    for _ in range(STEPS):
        step()
    return time.perf_counter() - started
