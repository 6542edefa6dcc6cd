"""How fast training ROIs and their targets are made."""

import numpy as np
import pytest

from tasks.contract import execute
from tasks.cores import cores
from tasks.nuclei.synthesis import KINDS, synthesize_fov
from tasks.nuclei.targets import blurred_border, distance_map
from tasks.steps.augment import TASK, Params
from tests.plates import make_plate

ROIS = 4000
FEWEST_ROIS_PER_SECOND_AND_CORE = 40


def test_rois_a_second_on_all_cores(benchmark, tmp_path):
    fov = synthesize_fov(KINDS["MCF10A"], (1078, 1278), np.random.default_rng(0))
    make_plate(tmp_path / "plate", {"a": fov.image}, {"a": fov.label_image})
    params = Params(plates=["plate"], rois=ROIS, augmentation="Full")
    benchmark.pedantic(execute, (TASK, params, tmp_path), rounds=1)
    rois_per_second = ROIS / benchmark.stats.stats.min
    benchmark.extra_info["rois_per_second"] = rois_per_second
    assert rois_per_second > FEWEST_ROIS_PER_SECOND_AND_CORE * cores()


@pytest.mark.parametrize("kind", ["MCF10A", "HCT116"])
def test_targets_of_a_roi(benchmark, kind):
    label_image = synthesize_fov(KINDS[kind], (256, 256), np.random.default_rng(0)).label_image

    def both_targets():
        return distance_map(label_image), blurred_border(label_image)

    benchmark(both_targets)
    assert benchmark.stats.stats.min < 0.02
