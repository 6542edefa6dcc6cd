"""The mean of weights over steps."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from tasks.methods.shared.averaged_weights import AveragedWeights


def test_the_mean_follows_early_steps_closely_and_later_ones_by_its_momentum():
    weight = keras.layers.Dense(1, use_bias=False, input_shape=(1,))
    model, steps = keras.Sequential([weight]), tf.Variable(0, dtype=tf.int64)
    weight.set_weights([np.full((1, 1), 1.0)])
    averaged = AveragedWeights(model, 0.5, steps)
    expected = 1.0
    for step, value, momentum in ((1, 5.0, 2 / 11), (2, 7.0, 3 / 12), (100, 3.0, 0.5)):
        steps.assign(step)
        weight.set_weights([np.full((1, 1), value)])
        averaged.update()
        expected = momentum * expected + (1 - momentum) * value
        with averaged.in_force():
            assert weight.get_weights()[0].item() == pytest.approx(expected)
        assert weight.get_weights()[0].item() == value
