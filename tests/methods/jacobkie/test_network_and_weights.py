"""The network, its loss, and weights that were trained elsewhere."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from numpy.testing import assert_allclose, assert_array_equal

from tasks.methods.jacobkie.network import OUTPUT_LAYERS, Architecture, Jacobkie, falls, load_jacobkie
from tasks.methods.jacobkie.positions import position_maps
from tasks.methods.shared.pretrained_weights import load_pretrained
from tasks.nuclei.errors import InputError

SMALL = Architecture(depth=50, filters=16, magnification=2, zooms=(1.0,), scaling="robust")


@pytest.fixture(scope="module")
def network() -> Jacobkie:
    keras.utils.set_random_seed(0)
    return Jacobkie(SMALL)


@pytest.fixture(scope="module")
def built() -> Jacobkie:
    return Jacobkie(SMALL)


@pytest.fixture
def zeros(built: Jacobkie) -> Jacobkie:
    """A network whose weights are all 0 before a test loads others. Building one takes seconds."""
    built.model.set_weights([np.zeros_like(weights) for weights in built.model.get_weights()])
    return built


def two_nuclei() -> np.ndarray:
    label_image = np.zeros((64, 64), np.uint16)
    label_image[10:30, 10:30], label_image[10:30, 30:50] = 1, 2
    return label_image


def batch(label_image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    images = np.where(label_image > 0, 200, 20).astype(np.uint8)[np.newaxis]
    positions = np.where(label_image[..., np.newaxis] > 0, position_maps(label_image), np.nan)
    return images, positions[np.newaxis].astype(np.float32)


def write_weights(path: Path, network: Jacobkie) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    written = {}
    with h5py.File(path, "w") as file:
        for layer in network.model.layers:
            for weight in layer.weights:
                name = f"{layer.name}/{weight.name.rpartition('/')[2]}"
                written[name] = rng.normal(size=weight.shape).astype(np.float32)
                file[f"{layer.name}/{name}"] = written[name]
    return written


def test_the_network_of_the_paper_has_the_layers_of_its_description() -> None:
    network = Jacobkie(Architecture(scaling="robust"))
    names = {layer.name for layer in network.model.layers if layer.weights}
    assert set(OUTPUT_LAYERS) <= names
    assert {"conv1", "bn_conv1", "res4w_branch2c", "res5c_branch2a", "fpn_c5p5", "fpn_p2"} <= names
    assert not {"fpn_p3", "fpn_p4", "fpn_p5"} & names
    # Two branches of 3 x 3 convolutions, and 13 outputs, on 256 channels.
    on_p2 = 2 * (9 * 256 * 256 + 256) + 13 * (256 + 1)
    assert sum(network.model.get_layer(name).count_params() for name in OUTPUT_LAYERS) == on_p2


@pytest.mark.parametrize("magnification", [1, 2, 4])
def test_maps_have_the_size_of_the_image_at_any_magnification(magnification: Any) -> None:
    network = Jacobkie(Architecture(50, 8, magnification, zooms=(1.0,), scaling="robust"))
    maps = network.predict(np.zeros((2, 32, 64), np.uint8))
    assert maps.shape == (2, 32, 64, 9)
    assert maps.dtype == np.float32
    assert 0 <= maps[..., 0].min() <= maps[..., 0].max() <= 1
    assert np.abs(maps[..., 1:]).max() <= 1


def test_positions_fall_at_the_border_of_two_nuclei_and_nowhere_else_inside() -> None:
    positions = position_maps(two_nuclei())[np.newaxis, ..., :4]
    found = falls(tf.constant(positions)).numpy()[0]
    assert_allclose(found[20, 28:32], [0, 2, 2, 0], atol=1e-6)
    assert_allclose(found[20, 8:12], [0, 1, 1, 0], atol=1e-6)
    assert not found[12:28, 12:28].any()


def test_the_loss_is_0_only_for_perfect_maps_and_reaches_all_weights(network: Jacobkie) -> None:
    with tf.GradientTape() as tape:
        loss = network.loss(batch(two_nuclei()), training=True)
    assert np.isfinite(loss)
    assert loss > 0
    gradients = tape.gradient(loss, network.model.trainable_variables)
    assert all(np.isfinite(gradient.numpy()).all() for gradient in gradients)
    assert all(gradient.numpy().any() for gradient in gradients if gradient.shape.rank == 4)

    class Perfect(Jacobkie):
        def _maps(self, images: Any, training: bool) -> Any:
            label_image = two_nuclei()
            positions = position_maps(label_image)
            parts = [(label_image > 0)[..., np.newaxis], positions, positions[..., :4]]
            return tf.constant(np.concatenate(parts, axis=-1, dtype=np.float32)[np.newaxis])

    assert Perfect(SMALL).loss(batch(two_nuclei()), training=False) < 1e-5


def test_an_image_without_nuclei_is_learnt_from(network: Jacobkie) -> None:
    loss = network.loss(batch(np.zeros((64, 64), np.uint16)), training=False)
    assert np.isfinite(loss)
    assert loss > 0


def test_pixels_that_do_not_count_change_nothing_in_the_loss(network: Jacobkie) -> None:
    images, positions = batch(two_nuclei())
    annotated = np.zeros((1, 64, 64), bool)
    annotated[:, :, :27] = True
    without_second = positions.copy()
    without_second[:, :, 30:] = np.nan
    losses = [float(network.loss((images, truth, annotated), training=False)) for truth in (positions, without_second)]
    assert losses[0] == losses[1] > 0
    everything = np.ones_like(annotated)
    assert network.loss((images, positions, everything), False) == network.loss((images, positions), False)
    assert network.loss((images, positions, ~everything), training=False) == 0


def test_a_saved_network_predicts_the_same(network: Jacobkie, tmp_path: Path) -> None:
    network.save(tmp_path)
    loaded = load_jacobkie(tmp_path)
    assert loaded.architecture == SMALL
    images = np.random.default_rng(0).integers(0, 255, (1, 64, 64)).astype(np.uint8)
    assert_array_equal(loaded.predict(images), network.predict(images))


def test_every_weight_of_a_pretrained_file_is_loaded(zeros: Jacobkie, tmp_path: Path) -> None:
    written = write_weights(tmp_path / "pretrained.h5", zeros)
    load_pretrained([zeros.model], tmp_path / "pretrained.h5")
    for layer in zeros.model.layers:
        for weight in layer.weights:
            name = f"{layer.name}/{weight.name.rpartition('/')[2]}"
            assert_array_equal(weight.numpy(), written.pop(name), err_msg=name)
    assert not written


def test_of_mask_rcnns_file_the_extractor_is_loaded(zeros: Jacobkie, tmp_path: Path) -> None:
    outputs_before = zeros.model.get_layer("output_mask").get_weights()
    written = write_weights(tmp_path / "coco.h5", zeros)
    with h5py.File(tmp_path / "coco.h5", "a") as file:
        for name in OUTPUT_LAYERS:
            del file[name]
        file["mrcnn_mask/mrcnn_mask/kernel:0"] = np.zeros(3, np.float32)
    load_pretrained([zeros.model], tmp_path / "coco.h5", own=OUTPUT_LAYERS, part_of_more=True)
    assert_array_equal(zeros.model.get_layer("fpn_p2").get_weights()[0], written["fpn_p2/kernel:0"])
    assert_array_equal(zeros.model.get_layer("output_mask").get_weights()[0], outputs_before[0])


def test_a_pretrained_file_of_another_depth_is_refused(zeros: Jacobkie, tmp_path: Path) -> None:
    write_weights(tmp_path / "weights.h5", zeros)
    with pytest.raises(InputError, match=r"isn't of this network: it lacks bn4g_branch2a/beta, .* and \d+ more"):
        load_pretrained([Jacobkie(Architecture(101, 16, scaling="robust")).model], tmp_path / "weights.h5")
