"""Networks from images to maps."""

import json

import h5py
import numpy as np
import pytest
import tensorflow as tf

from tasks.methods.fpn2_ws.decoders import UNET_FILTERS
from tasks.methods.fpn2_ws.network import Architecture, MapNetwork, build_encoder, imagenet_weights, load_map_network
from tasks.methods.fpn2_ws.train import TASK, Params
from tasks.nuclei.errors import InputError
from tasks.nuclei.targets import TARGETS

SMALL = Architecture("mobilenetv2", TARGETS, decoder_filters=(8,), scaling="robust")


@pytest.fixture(scope="module")
def network() -> MapNetwork:
    return MapNetwork(SMALL)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (2, 64, 96), np.uint8)


def test_maps_have_the_size_of_the_images_one_channel_a_target_and_lie_between_0_and_1(network, images):
    maps = network.predict(images)
    assert maps.shape == (2, 64, 96, 2)
    assert maps.dtype == np.float32
    assert 0 <= maps.min() < maps.max() <= 1


@pytest.mark.parametrize(
    ("encoder", "decoder", "filters", "weights"),
    [
        ("mobilenetv2", "fpn", (8,), 2_257_984),
        ("inceptionresnetv2", "fpn", (8,), 54_336_736),
        ("mobilenetv2", "unet", UNET_FILTERS, 2_257_984),
        # Only on such an encoder does a U-Net have further layers below its first stage.
        ("vgg16", "unet", UNET_FILTERS, 14_714_688),
    ],
)
def test_the_encoder_has_the_number_of_weights_that_keras_documents(encoder, decoder, filters, weights):
    network = MapNetwork(Architecture(encoder, ("distance_map",), decoder, filters, scaling="robust"))
    assert sum(layer.count_params() for layer in network.encoder_layers()) == weights


def test_a_saved_network_loads_again_and_predicts_the_same(network, images, tmp_path):
    network.save(tmp_path)
    np.testing.assert_array_equal(load_map_network(tmp_path).predict(images), network.predict(images))


def test_a_u_net_has_the_filters_that_were_asked_for_and_loads_again(images, tmp_path):
    network = MapNetwork(Architecture("mobilenetv2", TARGETS, "unet", (40, 32, 24, 16, 8), scaling="robust"))
    widths = [network.model.get_layer(f"decoder_stage{stage}b_conv").filters for stage in range(5)]
    assert widths == [40, 32, 24, 16, 8]
    network.save(tmp_path)
    maps = load_map_network(tmp_path).predict(images)
    assert maps.shape == (2, 64, 96, 2)
    np.testing.assert_array_equal(maps, network.predict(images))


def test_a_network_from_before_there_was_a_choice_of_decoders_loads_as_the_fpn_that_it_is(network, images, tmp_path):
    network.save(tmp_path)
    fields = json.loads((tmp_path / "network.json").read_text())
    del fields["decoder"]
    (tmp_path / "network.json").write_text(json.dumps(fields | {"decoder_filters": 8}))
    loaded = load_map_network(tmp_path)
    assert loaded.architecture == SMALL
    np.testing.assert_array_equal(loaded.predict(images), network.predict(images))


def test_bfloat16_predicts_nearly_the_same_in_float32(network, images, tmp_path):
    network.save(tmp_path)
    half = MapNetwork(Architecture("mobilenetv2", TARGETS, "fpn", (8,), "bfloat16", scaling="robust"))
    half.load_weights(tmp_path / "weights.h5")
    maps = half.predict(images)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, network.predict(images), atol=0.05)


def test_weights_of_another_architecture_are_refused(network, tmp_path):
    network.save(tmp_path)
    with pytest.raises(InputError, match=r"weights\.h5 doesn't fit.*resnet18"):
        MapNetwork(Architecture("resnet18", TARGETS, "fpn", (8,), scaling="robust")).load_weights(
            tmp_path / "weights.h5"
        )


def test_the_encoder_is_told_from_the_decoder(network):
    encoder = {layer.name for layer in network.encoder_layers()}
    decoder = {layer.name for layer in network.model.layers} - encoder
    assert "Conv1" in encoder
    assert "out_relu" in encoder
    assert decoder
    assert all(
        name.startswith(("fpn", "segm", "upsampling", "aggregation", "final", "head", "output", "linear"))
        for name in decoder
    )


@pytest.mark.parametrize("encoder", ["efficientnetb0", "densenet121", "vgg16"])
def test_an_encoder_that_subtracts_a_mean_can_be_trained_and_used(encoder):
    network = MapNetwork(Architecture(encoder, TARGETS, "fpn", (8,), scaling="robust"))
    images = np.random.default_rng(0).integers(0, 255, (1, 64, 64)).astype(np.uint8)
    tf.function(lambda batch: network(batch, training=True))(images[..., np.newaxis])
    assert np.isfinite(network.predict(images)).all()


def test_encoders_that_subtract_different_means_do_not_disturb_each_other():
    images = np.random.default_rng(0).integers(0, 255, (1, 64, 64, 1)).astype(np.uint8)
    network = MapNetwork(Architecture("vgg16", TARGETS, "fpn", (8,), scaling="robust"))
    alone = network(images, training=False).numpy()
    MapNetwork(Architecture("densenet121", TARGETS, "fpn", (8,), scaling="robust"))(images, training=False)
    np.testing.assert_array_equal(network(images, training=False), alone)


def test_imagenet_weights_are_taken_from_the_folder(network, tmp_path):
    encoder = build_encoder("resnet18", None)
    file = tmp_path / "resnet18_imagenet_1000_no_top.h5"
    encoder.save_weights(file)
    path = imagenet_weights("resnet18", tmp_path)
    assert path == file
    loaded = MapNetwork(Architecture("resnet18", TARGETS, "fpn", (8,), scaling="robust"), path)
    for expected, got in zip(
        encoder.get_layer("conv0").get_weights(), loaded.model.get_layer("conv0").get_weights(), strict=True
    ):
        np.testing.assert_array_equal(expected, got)


def test_a_training_is_another_one_with_other_weights_of_the_encoder(tmp_path, monkeypatch):
    monkeypatch.setenv("NUCLEUS_WEIGHTS", str(tmp_path))
    file = tmp_path / "resnet18_imagenet_1000_no_top.h5"
    build_encoder("resnet18", None).save_weights(file)
    params = Params(rois="rois.h5", target="both", encoder="resnet18")
    before = TASK.output_key(params, tmp_path)
    with h5py.File(file, "a") as weights:
        weights.attrs["note"] = "other content"
    assert TASK.output_key(params, tmp_path) != before


def test_missing_imagenet_weights_name_the_file_the_address_and_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    # urllib keeps the proxies of its first call for all later ones, also those of other tests.
    monkeypatch.setattr("urllib.request._opener", None)
    with pytest.raises(InputError, match=r"resnet18_imagenet_1000_no_top\.h5.*https://github\.com.*") as error:
        imagenet_weights("resnet18", tmp_path)
    assert str(tmp_path) in str(error.value)
    assert '"random"' in str(error.value)
