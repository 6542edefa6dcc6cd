"""What segmenting costs on top of the bare networks, on fields of 2158 x 2558 px.

It is measured in CPU seconds: the networks use all cores, so that all other work adds to the time that a plate takes,
and other programs on the machine don't.
"""

import time
from pathlib import Path

import numpy as np
import pytest

from tasks.contract import Workspace
from tasks.methods.fpn2_ws.decoders import UNET_FILTERS
from tasks.methods.fpn2_ws.method import Settings
from tasks.methods.fpn2_ws.network import Architecture, MapNetwork
from tasks.methods.fpn2_ws.nuclei import predict_maps
from tasks.methods.fpn2_ws.segmenter import Fpn2Ws
from tasks.nuclei.plates.files import open_plate
from tasks.nuclei.plates.image_files import read_image
from tasks.nuclei.synthesis import KINDS, synthesize_fov
from tasks.nuclei.targets import TARGETS, blurred_border, distance_map
from tasks.steps.segment import Params, _collect, _segment_fields
from tests.plates import make_plate

FIELDS = 6
MOST_TIMES_THE_BARE_NETWORK = 1.15


class PerfectlyTrained(Fpn2Ws):
    """Does all the work of the network, and then answers as a perfect one: noise would make no nuclei to flood."""

    def __init__(self, label_image: np.ndarray) -> None:
        super().__init__(
            [MapNetwork(Architecture("mobilenetv2", TARGETS, "unet", UNET_FILTERS, "bfloat16", scaling="percentile"))],
            Settings(),
        )
        self._maps = distance_map(label_image), blurred_border(label_image)

    def look_at(self, image):
        super().look_at(image)
        return self._maps


def seen_by_the_network(model: PerfectlyTrained, image: np.ndarray) -> list[np.ndarray]:
    """The batches that the network gets for a field; to see them is to have traced its graph."""
    seen: list[np.ndarray] = []

    def noted(images: np.ndarray) -> np.ndarray:
        seen.append(images)
        return model.predict_batch(images)

    predict_maps(image, noted, model.settings, "percentile")
    return seen


@pytest.fixture(scope="module")
def field():
    return synthesize_fov(KINDS["U2OS"], (2158, 2558), np.random.default_rng(0))


def test_segmenting_a_plate_takes_hardly_longer_than_its_networks(benchmark, field, tmp_path: Path):
    names = [f"f{number}" for number in range(FIELDS)]
    folder = make_plate(
        tmp_path / "plate", dict.fromkeys(names, field.image), dict.fromkeys(names, field.label_image), role="test"
    )
    plate, model = open_plate(folder), PerfectlyTrained(field.label_image)
    params = Params(method="fpn2_ws", networks=["none"], plate="plate")
    tiles = seen_by_the_network(model, read_image(plate.fovs[0].image_path))

    def bare() -> float:
        started = time.process_time()
        for tile in tiles * FIELDS:
            model.predict_batch(tile)
        return time.process_time() - started

    def whole(attempt: str) -> float:
        workspace = Workspace(tmp_path, "key", tmp_path / attempt / "output", tmp_path / attempt / "checkpoint")
        workspace.checkpoint_dir.mkdir(parents=True)
        started = time.process_time()
        workspace.output_dir.mkdir()
        problems, _ = _segment_fields(list(plate.fovs), plate, model, params, workspace)
        assert not problems
        _collect(plate, workspace)
        return time.process_time() - started

    bare_seconds = min(bare() for _ in range(2))
    whole_seconds = min(benchmark.pedantic(whole, ("first",), rounds=1), whole("second"))
    benchmark.extra_info["ratio"] = whole_seconds / bare_seconds
    benchmark.extra_info["cpu_seconds_per_field"] = whole_seconds / FIELDS
    assert whole_seconds / bare_seconds <= MOST_TIMES_THE_BARE_NETWORK
