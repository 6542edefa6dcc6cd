"""Networks that together make a segmenter."""

from typing import Any

import numpy as np
import pytest

from tasks.methods.fpn2_ws.method import METHOD, Settings
from tasks.methods.fpn2_ws.network import Architecture
from tasks.methods.fpn2_ws.segmenter import Fpn2Ws
from tasks.nuclei.errors import InputError

LEVELS = {"distance_map": 0.1, "blurred_border": 0.2, "foreground": 0.3}


class Constant:
    """A network whose maps are constant."""

    def __init__(self, *targets: Any) -> None:
        self.architecture = Architecture("mobilenetv2", targets, scaling="minmax")

    def predict(self, images: np.ndarray) -> np.ndarray:
        return np.stack([np.full(images.shape, LEVELS[target], np.float32) for target in self.architecture.targets], -1)


def segmenter(*networks: tuple[str, ...]) -> Fpn2Ws:
    return Fpn2Ws([Constant(*targets) for targets in networks], Settings())  # type: ignore[misc]


@pytest.mark.parametrize(
    "networks",
    [
        [("distance_map", "blurred_border", "foreground")],
        [("foreground", "blurred_border"), ("distance_map",)],
        [("blurred_border", "distance_map")],
        [("blurred_border",), ("distance_map",)],
    ],
)
def test_every_map_is_told_from_the_others_whatever_the_order_of_the_networks(networks):
    maps = segmenter(*networks).look_at(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64))
    assert (maps.distance_map.mean(), maps.blurred_border.mean()) == pytest.approx((0.1, 0.2))
    predicted = [target for targets in networks for target in targets]
    assert (maps.foreground is not None) == ("foreground" in predicted)
    if maps.foreground is not None:
        assert maps.foreground.mean() == pytest.approx(0.3)


@pytest.mark.parametrize(
    "networks",
    [
        [("distance_map",)],
        [("distance_map", "foreground")],
        [("distance_map", "blurred_border"), ("distance_map",)],
        [("distance_map", "blurred_border", "foreground"), ("foreground",)],
    ],
)
def test_networks_that_lack_a_map_or_have_one_twice_are_refused(networks):
    with pytest.raises(InputError, match=r"each of .* is needed once"):
        segmenter(*networks)


def test_the_threshold_that_the_networks_have_no_use_for_is_named():
    assert segmenter(("distance_map", "blurred_border", "foreground")).unused_settings == ("foreground_threshold",)
    assert segmenter(("distance_map", "blurred_border")).unused_settings == ("mask_threshold",)
    assert {"foreground_threshold", "mask_threshold"} <= set(METHOD.search)
