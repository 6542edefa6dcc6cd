"""Plates in a store, with no more of each than the DAGs read."""

import json
from pathlib import Path
from typing import Any


def add_plate(
    store: Path, name: str, role: str, digest: str = "0" * 12, day: int = 1, cell_line: str = "U2OS", **report: Any
) -> str:
    """Put a plate into a store; gives its path there. `report` are further keys of report.json."""
    path = f"ingest/{name}@{digest}"
    (store / path).mkdir(parents=True)
    (store / path / "plate.json").write_text(json.dumps({"name": name, "role": role, "cell_line": cell_line}))
    (store / path / "report.json").write_text(json.dumps({"frozen_at": f"2026-11-{day:02}T00:00:00", **report}))
    return path
