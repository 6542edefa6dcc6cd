"""The mean of a network's weights over the steps of a training (Polyak and Juditsky 1992), exponentially weighted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf


class AveragedWeights:
    """The mean of all weights of a Keras model, batch normalisation's moving averages among them.

    A step changes the mean by 1 - min(momentum, (1 + n) / (10 + n)) of the difference, where n counts the steps: early
    ones by more, so that the initial weights are soon forgotten. With a momentum of 0 there is no mean, and nothing
    happens. Like the model, it must be made in the scope of the strategy of the training.
    """

    def __init__(self, model: Any, momentum: float, steps: Any) -> None:
        self._strategy = tf.distribute.get_strategy()
        self._weights = model.weights if momentum else []
        self._mean = tf.train.ExponentialMovingAverage(momentum, num_updates=steps)
        self.update()  # It makes the variables, with the weights as they are.
        self.averages = [self._mean.average(weight) for weight in self._weights]
        """Variables, in the order of the model's weights."""

    def update(self) -> None:
        """Take in the weights after a step."""
        with self._strategy.scope():
            self._mean.apply(self._weights)

    def unite_replicas(self) -> None:
        """Give all replicas the same mean: those of batch normalisation's averages differ, as these do."""
        for average in self.averages:
            parts = self._strategy.experimental_local_results(average)
            average.assign(tf.add_n(parts) / len(parts))

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Within, the model has the mean as its weights; afterwards, those of the last step again."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for weight, average in zip(self._weights, self.averages, strict=True):
            mean = tf.identity(average)
            average.assign(tf.identity(weight))
            weight.assign(mean)
