"""What the scaling by percentiles of a field of 2160 x 2560 px costs, against that from minimum to maximum."""

from __future__ import annotations

import time

import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture

from tasks.nuclei.intensity import Scaling, grey_levels
from tasks.nuclei.synthesis import KINDS, synthesize_fov

ROUNDS = 10
MOST_TIMES_MINMAX = 12


def test_the_scaling_by_percentiles_takes_at_most_twelve_times_as_long_as_that_by_minmax(
    benchmark: BenchmarkFixture,
) -> None:
    image = synthesize_fov(KINDS["U2OS"], (2160, 2560), np.random.default_rng(0)).image

    def seconds(scaling: Scaling) -> float:
        started = time.perf_counter()
        grey_levels(image, scaling)
        return time.perf_counter() - started

    benchmark.pedantic(grey_levels, (image, "percentile"), rounds=1, warmup_rounds=1)
    # In turns, and the fastest rounds, because other work on the machine only ever adds time.
    rounds = [(seconds("percentile"), seconds("minmax")) for _ in range(ROUNDS)]
    percentile, minmax = (min(of_scaling) for of_scaling in zip(*rounds, strict=True))
    benchmark.extra_info["times_minmax"] = percentile / minmax
    assert percentile <= MOST_TIMES_MINMAX * minmax
