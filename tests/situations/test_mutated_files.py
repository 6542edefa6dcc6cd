"""Files that are nearly right neither crash nor hang the program, nor take its memory: they are read or refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.repository import REPOSITORY
from tests.situations.read_mutated import KINDS


@pytest.mark.slow
@pytest.mark.parametrize("amount", [25, pytest.param(230, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", KINDS)
def test_mutated_files_are_read_or_refused_and_nothing_else_is_touched(
    kind: str, amount: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    beside = tmp_path / "beside"
    beside.mkdir()
    (beside / "f1.tif").write_bytes(b"of somebody else")
    work = tmp_path / "work"
    work.mkdir()
    command = [
        sys.executable,
        "-X",
        "faulthandler",
        "-m",
        "tests.situations.read_mutated",
        kind,
        str(amount),
        str(work),
    ]
    # The heaps of threads take address space, which is what is bounded, and hardly any memory.
    env = os.environ | {"MALLOC_ARENA_MAX": "2"}
    done = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    outcomes = json.loads(done.stdout)
    assert outcomes["refused"] + outcomes.get("accepted", 0) == amount
    assert outcomes["refused"] > 0
    accepted = amount - outcomes["refused"]
    record_property(f"mutated files, {kind}", f"{outcomes['refused']} refused, {accepted} accepted")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beside", "work"]
    assert {path.name: path.read_bytes() for path in beside.iterdir()} == {"f1.tif": b"of somebody else"}
