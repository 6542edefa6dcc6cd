"""Which precision a training takes on which GPUs."""

import pytest
import tensorflow as tf

from tasks.methods.shared.devices import fastest_precision, gpu_names, precision_for, training_strategy


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
