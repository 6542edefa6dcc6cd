"""The plate and the store that tests of steps begin with, unless they make their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.steps.ingesting import two_fields


@pytest.fixture(autouse=True)
def in_every_test_of_a_step(power_may_go: None, others_are_left_alone: None) -> None:
    pass


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    return two_fields(tmp_path / "plate")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"
