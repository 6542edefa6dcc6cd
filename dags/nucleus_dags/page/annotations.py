"""What was sent to be annotated, what came back of it, and what waits or was refused: from store and inbox."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nucleus_dags.manifest import AnnotationTool, manifest
from nucleus_dags.page.damaged import left_out_if_damaged, reading
from nucleus_dags.page.remembered import remembered
from nucleus_dags.page.store_results import StoredResult, find_result, result_in, results_of, rows_of
from nucleus_dags.plates.inbox import REJECTED, entries, outcome_of_labels
from nucleus_dags.plates.names import shown
from nucleus_dags.plates.no_plate import is_a_plates_file
from nucleus_dags.plates.returned import request_in
from nucleus_dags.plates.skipped import skipped_names

KINDS = {
    "kept": "as it was proposed, to the pixel",
    "changed": "another outline",
    "split": "one into several",
    "merged": "several into one",
    "deleted": "no nucleus",
    "added": "drawn anew",
    "reclassified": "with its outline, but from sure to unsure or back",
}
"""What became of proposed nuclei, as `receive_annotation` counts it."""
CHOSEN = ("tool", "role", "target", "replicate", "label_set", "nuclei_per_patch")
"""Fields of the form of `send_to_annotation` that the task has under the same names."""
PICTURE = re.compile(r"\d{4,}")


@dataclass(frozen=True)
class Answer:
    """Corrected labels that were taken in."""

    result: StoredResult

    @property
    def counts(self) -> dict[str, int]:
        """How many nuclei of each kind there are."""
        return {kind: self.result.content["counts"].get(kind, 0) for kind in KINDS}

    @property
    def remarks(self) -> list[str]:
        """Sentences without a capital and a full stop."""
        return list(self.result.content["values"]["remarks"])


@dataclass(frozen=True)
class Annotated:
    """What was done for a plate, in all rounds."""

    answers: int
    counts: Mapping[str, int]
    """How many nuclei of each kind there are."""
    timed: int
    """For how many answers time is known, measured or estimated; those of long ago don't say."""
    hours: float
    hours_by_hand: float
    """That drawing the nuclei of these takes, by the paper's pace."""
    is_measured: bool
    """Whether tools recorded all of the hours."""


@dataclass(frozen=True)
class NotTaken:
    """Corrected labels in the inbox that no plate was made of, yet or at all."""

    name: str
    at: datetime
    reason: str
    """Why they were refused; empty while they wait for `ingest_plates`."""


@dataclass(frozen=True)
class Patch:
    """A patch of the queue."""

    rank: int
    name: str
    """As people name it to skip it."""
    fov: str
    well: str
    nuclei: int
    score: float
    is_random: bool
    why: str
    is_skipped: bool


@dataclass(frozen=True)
class Sent:
    """Fields of a plate that were sent to a tool."""

    result: StoredResult
    answers: tuple[Answer, ...] = ()
    """The newest first: it counts for what came back in it."""
    not_taken: tuple[NotTaken, ...] = ()

    @property
    def key(self) -> str:
        return self.result.key

    @property
    def plate(self) -> str:
        return Path(self.result.params["plate"]).name.rpartition("@")[0]

    @property
    def known_tool(self) -> AnnotationTool | None:
        """The tool; None for one that there was once."""
        return manifest()["annotation_tools"].get(self.result.params["tool"])

    @property
    def tool(self) -> str:
        return self.known_tool["title"] if self.known_tool else str(self.result.params["tool"])

    @property
    def counts(self) -> Mapping[str, int]:
        """Fields, patches and proposed nuclei."""
        counts: Mapping[str, int] = self.result.content["counts"]
        return counts

    @property
    def form(self) -> dict[str, str | float]:
        """What was chosen in the form of `send_to_annotation`, but for the amounts, so that a next round is like it."""
        params = self.result.params
        first, *_ = (*params.get("segmentations", ()), None)
        segmented = result_in(self.result.store, first) if first else None
        chosen: dict[str, Any] = {
            "plate": self.plate,
            "proposals": params.get("asked"),
            **{name: params.get(name) for name in CHOSEN},
            "nuclear_diameter_px": segmented.params.get("nuclear_diameter_px") if segmented else None,
        }
        return {name: value for name, value in chosen.items() if value is not None}

    @property
    def queue(self) -> StoredResult | None:
        """The choice of its patches; None where all of the fields were sent."""
        patches = self.result.params.get("patches")
        return result_in(self.result.store, patches) if patches else None


def all_sent(store: Path, inbox: Path) -> dict[str, list[Sent]]:
    """Give all that was sent, by plate, the newest first."""
    answers = _answers(store)
    not_taken = _not_taken(store, inbox)
    found: dict[str, list[Sent]] = {}
    for result in reversed(results_of(store, "send_to_annotation")):
        with left_out_if_damaged(result.folder):
            sent = Sent(result, tuple(answers.get(result.key, ())), tuple(not_taken.get(result.key, ())))
            found.setdefault(sent.plate, []).append(sent)
    return dict(sorted(found.items()))


def annotated(store: Path, plate: str) -> Annotated | None:
    """Sum up the answers that became part of a plate; None if there is none.

    Of each request, the newest answer holds what came back earlier.
    """
    answers = _answers(store)
    requests = [result.key for result in results_of(store, "send_to_annotation") if result.params["target"] == plate]
    newest = [answers[key][0] for key in requests if key in answers]
    if not newest:
        return None
    efforts = [effort for answer in newest if (effort := answer.result.content["values"].get("effort"))]
    return Annotated(
        answers=len(newest),
        counts={kind: sum(answer.counts[kind] for answer in newest) for kind in KINDS},
        timed=len(efforts),
        hours=sum(effort["hours"] for effort in efforts),
        hours_by_hand=sum(effort["hours_by_hand"] for effort in efforts),
        is_measured=all(effort["is_measured"] for effort in efforts),
    )


def find_sent(store: Path, inbox: Path, key: str) -> Sent | None:
    """Give what was sent by the key of the request, as an address names it."""
    result = find_result(store, "send_to_annotation", key)
    if result is None:
        return None
    return Sent(result, tuple(_answers(store).get(key, ())), tuple(_not_taken(store, inbox).get(key, ())))


def patches_of(sent: Sent) -> list[Patch]:
    """Give the queue, in the order in which it is to be annotated; empty where no patches were chosen."""
    queue = sent.queue
    table = queue.output("patches") if queue else None
    if table is None:
        return []
    skipped = skipped_names(sent.result.store, sent.plate)
    with reading(table):
        return [_patch(row, skipped) for row in rows_of(table)]


def picture_of(store: Path, key: str, rank: str) -> Path | None:
    """Give the picture of a patch of a queue by key and rank, as an address names them."""
    queue = find_result(store, "choose_patches", key)
    folder = queue.output("pictures") if queue else None
    path = folder / f"{rank}.jpg" if folder and PICTURE.fullmatch(rank) else None
    return path if path and path.is_file() else None


def advice(store: Path) -> StoredResult | None:
    """Give the last learning curves: whether to go on annotating, by cell line."""
    found = results_of(store, "learning_curves")
    return found[-1] if found else None


def _answers(store: Path) -> dict[str, list[Answer]]:
    """Give what came back by the key of the request, the newest first."""
    found: dict[str, list[Answer]] = {}
    for result in reversed(results_of(store, "receive_annotation")):
        with left_out_if_damaged(result.folder):
            found.setdefault(result.params["request"], []).append(Answer(result))
    return found


def _not_taken(store: Path, inbox: Path) -> dict[str, list[NotTaken]]:
    found: dict[str, list[NotTaken]] = {}
    for request, entry in [*_waiting(store, inbox), *_refused(inbox)]:
        found.setdefault(request, []).append(entry)
    return found


def _waiting(store: Path, inbox: Path) -> Iterator[tuple[str, NotTaken]]:
    """Give what lies in the inbox and wasn't handled, or couldn't be moved away when it was refused."""
    for entry in entries(inbox) if inbox.is_dir() else ():
        with suppress(OSError):  # A link that leads nowhere, or what only others may read, is no answer.
            if not (entry.is_dir() and is_a_plates_file(entry)) and (request := _request_in(entry)):
                outcome = outcome_of_labels(entry, store) or {}
                if "plate" not in outcome:
                    yield request, NotTaken(shown(entry.name), _changed(entry), outcome.get("refused", ""))


def _refused(inbox: Path) -> Iterator[tuple[str, NotTaken]]:
    """Give what was set aside, with the reason, which lies beside it."""
    for report in (inbox / REJECTED).glob("*.txt"):
        entry = report.with_suffix("")
        with suppress(OSError):  # As above.
            if not (entry.is_dir() and is_a_plates_file(entry)) and (request := _request_in(entry)):
                reason = report.read_text(errors="replace").split("\n\n")[0]
                yield request, NotTaken(shown(entry.name), _changed(entry), reason)


def _changed(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _request_in(entry: Path) -> str | None:
    # A folder looks the same while the files below it come.
    return request_in(entry) if entry.is_dir() else _request_in_file(entry)


@remembered
def _request_in_file(entry: Path) -> str | None:
    return request_in(entry)


def _patch(row: Mapping[str, str], skipped: list[str]) -> Patch:
    name = f"{row['fov']}_y{row['y0']}-{row['y1']}_x{row['x0']}-{row['x1']}"
    return Patch(
        rank=int(row["rank"]),
        name=name,
        fov=row["fov"],
        well=row.get("well", ""),
        nuclei=int(float(row["nuclei"])),
        score=float(row["score"] or "nan"),
        is_random=row["is_random"] == "True",
        why=row["why"],
        is_skipped=name in skipped or row["fov"] in skipped,
    )
