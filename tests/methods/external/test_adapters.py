"""Adapters for third-party tools, as far as they go without the tools."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository import REPOSITORY

ADAPTERS = REPOSITORY / "tasks/methods/external/adapters"


@pytest.mark.parametrize(
    ("adapter", "files", "message"),
    [
        ("run_cellpose.py", ["cyto3"], "has no file weights"),
        ("run_stardist.py", ["config.json"], "has no weights_best.h5 and no thresholds.json"),
        ("run_stardist.py", ["config.json", "weights_best.h5"], "has no thresholds.json"),
    ],
)
def test_a_model_without_its_files_is_refused(adapter: str, files: list[str], message: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).touch()
    folders = [word for name in ("images", "output", "model") for word in (f"--{name}", str(tmp_path))]
    command = [sys.executable, str(ADAPTERS / adapter), "segment", *folders]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 1
    assert message in ended.stderr
