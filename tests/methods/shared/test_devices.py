"""Which precision a training takes on which GPUs."""

import pytest
import tensorflow as tf
import tf_keras as keras

from tasks.methods.shared.devices import fastest_precision, gpu_names, layers_in, precision_for, training_strategy


@pytest.mark.parametrize(
    ("compute_capabilities", "precision"),
    [
        ([(8, 0)], "bfloat16"),
        ([(10, 0), (9, 0)], "bfloat16"),
        ([(7, 5)], "float32"),
        ([(9, 0), (7, 0)], "float32"),
        ([], "float32"),
    ],
)
def test_bfloat16_is_taken_where_all_gpus_have_it(compute_capabilities, precision):
    assert precision_for(compute_capabilities) == precision


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="this machine has a GPU")
def test_without_a_gpu_a_training_runs_on_the_default_strategy_in_float32():
    assert gpu_names() == []
    assert fastest_precision() == "float32"
    assert training_strategy() is tf.distribute.get_strategy()


def test_layers_are_built_in_a_precision_that_those_built_later_do_not_take_over():
    with layers_in("bfloat16"):
        half = keras.layers.Dense(1)
    assert (half.compute_dtype, half.variable_dtype) == ("bfloat16", "float32")
    with pytest.raises(ZeroDivisionError), layers_in("bfloat16"):
        raise ZeroDivisionError
    assert keras.layers.Dense(1).compute_dtype == "float32"
