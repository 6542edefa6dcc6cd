"""Plates that the task `synthesize` makes."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from nucleus_dags.local import demo
from tests.repository import REPOSITORY


def make_synthetic_plate(folder: Path, **params: Any) -> Path:
    """Make a plate of the folder's name in it, of small MCF10A fields if `params` don't say more; gives the folder."""
    params = {"name": folder.name, "cell_line": "MCF10A", "fovs": 2, "height_px": 320, "width_px": 320} | params
    with tempfile.TemporaryDirectory() as made:
        receipt = Path(made) / "receipt.json"
        arguments = ["--params", json.dumps(params), "--store", made, "--result", str(receipt)]
        subprocess.run([sys.executable, "-m", "tasks.steps.synthesize", *arguments], cwd=REPOSITORY, check=True)
        demo.copy_plate(Path(made) / json.loads(receipt.read_text())["outputs"]["plate"], folder)
    return folder
