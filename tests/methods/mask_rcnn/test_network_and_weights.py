"""The network as a whole, and weights that were trained elsewhere."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tf_keras as keras
from numpy.testing import assert_array_equal

from tasks.methods.mask_rcnn.heads import OUTPUTS
from tasks.methods.mask_rcnn.network import Architecture, MaskRcnn, load_mask_rcnn
from tasks.methods.shared.pretrained_weights import load_pretrained
from tasks.nuclei.errors import InputError

SMALL = Architecture(depth=50, pyramid_filters=16, rpn_filters=16, head_units=16, mask_filters=16, scaling="robust")

# Weights of Matterport's network for the 81 classes of COCO, as its summary prints them, and of its outputs by class.
COCO_WEIGHTS, COCO_CLASSES = 64_158_584, 81
WEIGHTS_OF_A_CLASS = (1024 + 1) + 4 * (1024 + 1) + (256 + 1)


@pytest.fixture(scope="module")
def network() -> MaskRcnn:
    keras.utils.set_random_seed(0)
    return MaskRcnn(SMALL)


@pytest.fixture(scope="module")
def built() -> MaskRcnn:
    return MaskRcnn(SMALL)


@pytest.fixture
def zeros(built: MaskRcnn) -> MaskRcnn:
    """A network whose weights are all 0 before a test loads others. Building one takes seconds."""
    built.model.set_weights([np.zeros_like(weights) for weights in built.model.get_weights()])
    return built


def images(amount: int) -> Any:
    return np.random.default_rng(0).integers(0, 255, (amount, 256, 256)).astype(np.uint8)


def write_matterport(path: Path, network: MaskRcnn, classes: int = 2) -> dict[str, Any]:
    """Write random weights as Matterport's program does: a group a layer, one for all layers of the proposals."""
    rng = np.random.default_rng(1)
    written = {}
    with h5py.File(path, "w") as file:
        for part in network.parts:
            for layer in part.layers:
                group = "rpn_model" if layer.name.startswith("rpn_") else layer.name
                for weight in layer.weights:
                    shape = list(weight.shape)
                    if layer.name in OUTPUTS:
                        shape[-1] = shape[-1] // 2 * classes
                    name = f"{layer.name}/{weight.name.rpartition('/')[2]}"
                    written[name] = rng.normal(size=shape).astype(np.float32)
                    file[f"{group}/{name}"] = written[name]
    return written


def test_the_papers_network_has_as_many_weights_as_matterports_for_two_classes() -> None:
    expected = COCO_WEIGHTS - (COCO_CLASSES - 2) * WEIGHTS_OF_A_CLASS
    assert MaskRcnn(Architecture(scaling="robust")).model.count_params() == expected


def test_all_losses_are_finite_and_reach_all_weights(network: MaskRcnn) -> None:
    import tensorflow as tf

    label_images = np.zeros((2, 256, 256), np.uint16)
    label_images[0, 20:50, 30:60] = 1
    nuclei = np.zeros((2, 5, 4), np.float32)
    nuclei[0, 0] = [20, 30, 50, 60]

    @tf.function
    def gradients(images: Any, label_images: Any, nuclei: Any) -> Any:
        with tf.GradientTape() as tape:
            losses = network.losses((images, label_images, nuclei), training=True, proposals=12)
            total = tf.add_n(list(losses.values()))
        return losses, tape.gradient(total, network.model.trainable_variables)

    losses, found = gradients(images(2), label_images, nuclei)
    assert set(losses) == {"rpn_class", "rpn_box", "class", "box", "mask"}
    assert all(np.isfinite(loss) for loss in losses.values())
    assert all(np.isfinite(gradient.numpy()).all() for gradient in found)
    assert all(gradient.numpy().any() for gradient in found if gradient.shape.rank == 4)


def test_an_image_without_nuclei_is_learnt_from(network: MaskRcnn) -> None:
    batch = (images(1), np.zeros((1, 256, 256), np.uint16), np.zeros((1, 5, 4), np.float32))
    losses = network.losses(batch, training=False, proposals=12)
    assert losses["class"] > 0
    assert losses["box"] == losses["mask"] == 0


def test_of_an_image_of_which_nothing_is_annotated_nothing_is_learnt(network: MaskRcnn) -> None:
    batch = (images(1), np.zeros((1, 256, 256), np.uint16), np.zeros((1, 5, 4), np.float32))
    losses = network.losses((*batch, np.ones((1, 256, 256), bool)), training=False, proposals=12)
    # Boxes that reach far beyond the image are background whatever is in it.
    of_anchors_beyond, of_proposals = float(losses["rpn_class"]), float(losses["class"])
    assert np.isfinite(of_anchors_beyond)
    assert of_proposals == losses["box"] == losses["mask"] == 0
    everything = network.losses((*batch, np.zeros((1, 256, 256), bool)), training=False, proposals=12)
    assert everything == network.losses(batch, training=False, proposals=12)


def test_detections_are_the_best_first_in_the_image_and_not_more_than_asked_for(network: MaskRcnn) -> None:
    for found in network.detect(images(2), min_score=0.0, most=7):
        assert found.boxes.shape[1:] == (4,)
        assert found.masks.shape[1:] == (28, 28)
        assert 0 < len(found.boxes) == len(found.scores) == len(found.masks) <= 7
        assert (np.diff(found.scores) <= 0).all()
        assert found.boxes.min() >= 0
        assert found.boxes.max() <= 256


def test_a_saved_network_detects_the_same(network: MaskRcnn, tmp_path: Path) -> None:
    network.save(tmp_path)
    loaded = load_mask_rcnn(tmp_path)
    assert loaded.architecture == SMALL
    for one, other in zip(network.detect(images(1), 0.0, 5), loaded.detect(images(1), 0.0, 5), strict=True):
        assert_array_equal(one.boxes, other.boxes)
        assert_array_equal(one.masks, other.masks)


def test_every_weight_of_a_file_in_matterports_naming_is_loaded(zeros: MaskRcnn, tmp_path: Path) -> None:
    written = write_matterport(tmp_path / "weights.h5", zeros)
    load_pretrained(zeros.parts, tmp_path / "weights.h5")
    loaded = {
        f"{layer.name}/{weight.name.rpartition('/')[2]}": weight.numpy()
        for part in zeros.parts
        for layer in part.layers
        for weight in layer.weights
    }
    assert set(loaded) == set(written)
    for name, values in written.items():
        assert_array_equal(loaded[name], values, err_msg=name)


def test_of_a_file_for_other_classes_all_but_the_outputs_is_loaded(zeros: MaskRcnn, tmp_path: Path) -> None:
    before = {layer.name: layer.get_weights() for part in zeros.parts for layer in part.layers if layer.weights}
    written = write_matterport(tmp_path / "coco.h5", zeros, classes=81)
    load_pretrained(zeros.parts, tmp_path / "coco.h5", own=OUTPUTS)
    for part in zeros.parts:
        for layer in part.layers:
            for weight, old in zip(layer.weights, before.get(layer.name, []), strict=True):
                stored = written[f"{layer.name}/{weight.name.rpartition('/')[2]}"]
                assert_array_equal(weight.numpy(), old if layer.name in OUTPUTS else stored, err_msg=weight.name)


def test_a_file_of_another_network_is_refused_with_the_names_that_do_not_match(zeros: MaskRcnn, tmp_path: Path) -> None:
    write_matterport(tmp_path / "weights.h5", zeros)
    with h5py.File(tmp_path / "weights.h5", "a") as file:
        del file["conv1/conv1/kernel:0"], file["fpn_p2/fpn_p2/bias:0"]
        file["fpn_p2/fpn_p2/bias:0"] = np.zeros(3, np.float32)
        file["other/other/kernel:0"] = np.zeros(3, np.float32)
    with pytest.raises(
        InputError, match=r"lacks conv1/kernel; it has another shape of fpn_p2/bias; it has besides other/kernel\."
    ):
        load_pretrained(zeros.parts, tmp_path / "weights.h5")


def test_a_file_with_values_that_are_not_numbers_is_refused(zeros: MaskRcnn, tmp_path: Path) -> None:
    write_matterport(tmp_path / "weights.h5", zeros)
    with h5py.File(tmp_path / "weights.h5", "a") as file:
        file["conv1/conv1/bias:0"][3] = np.nan
    with pytest.raises(InputError, match=r"has values that aren't numbers in conv1/bias\."):
        load_pretrained(zeros.parts, tmp_path / "weights.h5")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_that_was_copied_in_part_is_refused(share: float, zeros: MaskRcnn, tmp_path: Path) -> None:
    write_matterport(tmp_path / "weights.h5", zeros)
    content = (tmp_path / "weights.h5").read_bytes()
    (tmp_path / "weights.h5").write_bytes(content[: int(share * len(content))].ljust(len(content), b"\0"))
    with pytest.raises(InputError, match=r"weights\.h5"):
        load_pretrained(zeros.parts, tmp_path / "weights.h5")


def test_a_damaged_file_and_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "damaged.h5").write_bytes(b"no weights")
    with pytest.raises(InputError, match="can't be read as a file of weights"):
        load_pretrained([], tmp_path / "damaged.h5")
    with pytest.raises(InputError, match="does not exist"):
        load_pretrained([], tmp_path / "none.h5")
