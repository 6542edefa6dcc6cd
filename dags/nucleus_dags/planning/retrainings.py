"""What was decided by retrainings: a file for each under `retrainings/` of the store.

It keeps the same from being done every week, and counts how often test plates were used to decide: of models that
are chosen on the same plates again and again, some get through because they fit just these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nucleus_dags.files import read_if_whole, write_whole


def record(
    store: Path, digest: str, dag_run_id: str, outcome: str, test_plates: Sequence[str] = (), candidates: int = 1
) -> None:
    """Remember what came of a plan; `test_plates` are paths in the store."""
    used = {"test_plates": list(test_plates), "candidates": candidates}
    write_whole(_path(store, digest), {"dag_run_id": dag_run_id, "outcome": outcome, **used})


def recorded(store: Path, digest: str) -> Mapping[str, Any] | None:
    """Give what came of the same plan before."""
    return read_if_whole(_path(store, digest))


def uses_in_words(store: Path, test_plates: Sequence[str]) -> str:
    """Say how often these test plates, in any version, were used to decide on candidates."""
    names = {_name(plate) for plate in test_plates}
    decisions, candidates, used = 0, 0, set()
    for before in _records(store):
        # What older records don't say is counted as if it were these plates.
        of_record = {_name(plate) for plate in before.get("test_plates", test_plates)} & names
        used |= of_record
        if of_record:
            decisions += 1
            candidates += before.get("candidates", 1)
    if not decisions:
        return "Nothing was decided on these test plates before."
    return (
        f"{_counted(decisions, 'decision')} on {_counted(candidates, 'candidate')} used {len(used)} of the "
        f"{_counted(len(names), 'test plate')} before this one. Each makes it likelier that a champion fits these "
        "plates by chance and is worse on others: add test plates on which nothing was decided, from time to time."
    )


def _records(store: Path) -> Iterator[Mapping[str, Any]]:
    for path in sorted((store / "retrainings").glob("*.json")):
        if (before := read_if_whole(path)) is not None:
            yield before


def _path(store: Path, digest: str) -> Path:
    return store / "retrainings" / f"{digest}.json"


def _name(plate: str) -> str:
    return Path(plate).name.rpartition("@")[0]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
