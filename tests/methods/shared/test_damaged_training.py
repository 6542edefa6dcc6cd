"""A training whose files are damaged resumes after the cycle before, or begins anew, and ends as ever."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.methods.shared.test_training import Trained, assert_equal, train
from tests.test_damaged_files import cut, empty


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stopped")
    train(folder, 1, stop_after=2)
    return folder


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(tmp_path_factory.mktemp("never_stopped"), 1)


@pytest.mark.parametrize(
    ("names", "damage", "cycle"),
    [
        (["ckpt-2.index"], empty, 1),
        (["ckpt-2.data-00000-of-00001"], cut, 1),
        (["ckpt-2.data-00000-of-00001"], Path.unlink, 1),
        (["checkpoint"], empty, 2),
        (["history.json"], cut, None),
        (["best.h5"], cut, None),
        (["ckpt-1.index", "ckpt-2.index"], empty, None),
    ],
)
def test_a_training_resumes_after_the_last_cycle_that_is_whole(
    stopped: Path,
    never_stopped: Trained,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    names: list[str],
    damage: Callable[[Path], None],
    cycle: int | None,
) -> None:
    caplog.set_level(logging.INFO)
    folder = tmp_path / "training"
    shutil.copytree(stopped, folder)
    for name in names:
        damage(folder / name)
    resumed = train(folder, 1)
    assert "an earlier try left it damaged" in caplog.text
    assert ("resuming" in caplog.text) == (cycle is not None)
    assert cycle is None or f"resuming after cycle {cycle} " in caplog.text
    assert [done.loss for done in resumed.history] == [done.loss for done in never_stopped.history]
    assert_equal(resumed, never_stopped)
