"""What may come of a plate: it is accepted, perhaps with words about it, or it is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.contract import execute
from tasks.nuclei.errors import InputError
from tasks.steps.ingest import TASK, Params
from tests.situations.plain import NUCLEI, plain_plate

SAYING = ("warnings", "doubts", "confirmed_doubts", "left_out", "not_used", "copies")
"""Parts of report.json that say what a person should know of a plate."""

Change = Callable[[Path], object]


@dataclass(frozen=True)
class Accepted:
    """The plate is in the store, with so many fields and nuclei; what its report says has these words, or nothing."""

    said: str | None = None
    fovs: int = 2
    nuclei: int | None = 2 * NUCLEI
    """None where it doesn't matter."""


@dataclass(frozen=True)
class Refused:
    """The error has these words, in one line."""

    words: str


Outcome = Accepted | Refused
Row = tuple[str, Change, Outcome]


def table(rows: list[Row]) -> pytest.MarkDecorator:
    """Make a test of each row, under its words."""
    return pytest.mark.parametrize(("change", "outcome"), [pytest.param(*row[1:], id=row[0]) for row in rows])


def check(change: Change, outcome: Outcome, folder: Path) -> None:
    """Make the plate and import it."""
    plate, store = plain_plate(folder / "plate"), folder / "store"
    change(plate)
    params = Params(folder=str(plate))
    if isinstance(outcome, Refused):
        with pytest.raises(InputError) as caught:
            execute(TASK, params, store)
        assert re.search(outcome.words, str(caught.value)), str(caught.value)
        assert "\n" not in str(caught.value)
        assert not list(store.glob("ingest/[!.]*"))
        return
    result = execute(TASK, params, store)
    report = json.loads((store / result.outputs["plate"] / "report.json").read_text())
    said = {part: report[part] for part in SAYING if report[part]}
    words = json.dumps(said, ensure_ascii=False)
    assert result.counts["fovs"] == outcome.fovs, words
    assert outcome.nuclei in (None, result.counts["nuclei"]), words
    assert re.search(outcome.said, words) if outcome.said else not said, words
