"""The plate and the store that tests of steps begin with, unless they make their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.power import Disk
from tests.steps.ingesting import two_fields


@pytest.fixture(autouse=True)
def power_may_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In every test of a step, whatever gets a name that counts is on the disk before."""
    disk = Disk(tmp_path, monkeypatch)
    yield
    disk.close()
    assert disk.lost == []


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    return two_fields(tmp_path / "plate")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"
