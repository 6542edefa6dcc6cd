"""What the training loop costs on top of the bare training step."""

import time
from pathlib import Path

import numpy as np
import pytest

from tasks.methods.fpn2_ws.decoders import UNET_FILTERS
from tasks.methods.fpn2_ws.network import Architecture, MapNetwork
from tasks.methods.fpn2_ws.train import MapTraining
from tasks.methods.shared.roi_batches import RoiBatches
from tasks.methods.shared.training import Stage, Training, TrainingSettings
from tasks.nuclei.targets import TARGETS
from tests.rois import make_roi_file

STEPS, BATCH_SIZE, ROUNDS = 12, 8, 3
MOST_TIMES_THE_BARE_STEP = 1.05


@pytest.fixture
def training(tmp_path: Path) -> Training:
    """The laptop preset's network on 256 px ROIs in a file."""
    file = make_roi_file(tmp_path / "rois.h5", training=STEPS * BATCH_SIZE, validation=1, roi_px=256)
    network = MapNetwork(Architecture("mobilenetv2", TARGETS, "unet", UNET_FILTERS, "bfloat16", scaling="percentile"))
    settings = TrainingSettings(1, (Stage(1.0),), BATCH_SIZE, 1e-3, "adam", "constant", 0)
    return Training(
        MapTraining(network, "binary_crossentropy"),
        RoiBatches(file, lambda reader, rows: reader.batch(rows, TARGETS)),
        settings,
        tmp_path / "c",
    )


def test_a_step_from_the_file_takes_hardly_longer_than_on_data_in_memory(benchmark, training):
    rows = np.arange(STEPS * BATCH_SIZE)
    step = training._step_function(is_frozen=False)
    in_memory = [batch for batch, _ in training._batches(rows)]
    step(in_memory[0])  # traces the graph

    def seconds(batches) -> float:
        started = time.perf_counter()
        for batch in batches:
            step(batch)
        return time.perf_counter() - started

    def one_round() -> tuple[float, float]:
        return seconds(in_memory), seconds(batch for batch, _ in training._batches(rows))

    measured = [benchmark.pedantic(one_round, rounds=1)] + [one_round() for _ in range(ROUNDS - 1)]
    bare, piped = (min(times) for times in zip(*measured, strict=True))
    benchmark.extra_info["ratio"] = piped / bare
    benchmark.extra_info["rois_per_second"] = len(rows) / piped
    assert piped / bare <= MOST_TIMES_THE_BARE_STEP
