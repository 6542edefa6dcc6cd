"""How long it takes to see that nothing of the paper's experiments is to do: the plan, and what the store says."""

import time
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from nucleus_dags.planning import run_experiments
from tests.paper_matrix import EXPERIMENTS, find, plan, store_paper_matrix
from tests.tracked import track_in

MOST_SECONDS = 60


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    track_in(tmp_path, monkeypatch)
    for name in ("MLFLOW_RUN_ID", "NUCLEUS_WEIGHTS", "NUCLEUS_EXPERIMENTS"):
        monkeypatch.delenv(name, raising=False)
    store_paper_matrix(tmp_path)
    return tmp_path


def test_that_nothing_is_to_do_is_seen_within_a_minute(benchmark: BenchmarkFixture, store: Path) -> None:
    took = []

    def ask() -> dict[str, Any]:
        started = time.perf_counter()
        found = find(store, plan(store))
        took.append(time.perf_counter() - started)
        return found

    found = benchmark.pedantic(ask, rounds=3)
    assert len(found["experiments"]) == EXPERIMENTS
    assert run_experiments.to_do(found) == []
    assert max(took) < MOST_SECONDS
