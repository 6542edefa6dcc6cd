"""What `inspect_plate` found in the files of an upload: which values a form begins with, and what would be refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from nucleus_dags.files import read_if_whole
from nucleus_dags.page.damaged import left_out_if_damaged
from nucleus_dags.page.store_results import StoredResult, find_result, json_at

TASK = "inspect_plate"
"""Of the same name as its DAG."""


@dataclass(frozen=True)
class Inspection:
    """One look at the files of an upload, with some values of plate.json."""

    result: StoredResult
    run_id: str
    """Of the DAG run that asked."""
    given: Mapping[str, Any]
    """What the form said, by keys of plate.json."""
    found: Mapping[str, Any]
    """inspection.json"""

    @property
    def is_refused(self) -> bool:
        return bool(self.found["refused"] or self.found["wrong_values"])

    @property
    def needs_a_look(self) -> bool:
        """Whether it may be imported, and a person should know of something before."""
        return bool(self.found["doubts"] or self.found["left_out"] or self.found["copies"])

    def preview(self, file: str) -> Path | None:
        """Give a picture by its name; None for a name that isn't one of them."""
        folder = self.result.output("previews")
        return folder / file if folder and file in [one["file"] for one in self.found["previews"]] else None


def inspection(folder: Path, store: Path, run_id: str) -> Inspection | None:
    """Give what a DAG run found in the folder of an upload; None if it hasn't ended, failed, or was about another."""
    if PurePath(run_id).name != run_id:
        return None
    receipts = (store / "dag_runs" / TASK / run_id / TASK).glob("*.json")
    return next((found for receipt in receipts if (found := _found_by(receipt, folder, store))), None)


def latest_inspection(folder: Path, store: Path) -> Inspection | None:
    """Give what was found in the folder of an upload by the last DAG run that looked at it."""
    receipts = sorted(store.glob(f"dag_runs/{TASK}/*/{TASK}/*.json"), key=_time, reverse=True)
    return next((found for receipt in receipts if (found := _found_by(receipt, folder, store))), None)


def _time(path: Path) -> float:
    """Give the time of a receipt; 0 of one that was taken away meanwhile, since its task runs again."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0


def _found_by(receipt: Path, folder: Path, store: Path) -> Inspection | None:
    content = read_if_whole(receipt)
    if content is None or content["params"]["folder"] != str(folder):
        return None
    result = find_result(store, TASK, content["key"])
    found = result.output("inspection") if result else None
    if result is None or found is None:
        return None
    with left_out_if_damaged(found):
        return Inspection(result, receipt.parts[-3], content["params"]["values"], json_at(found))
    return None
