"""What `ingest_plates` does with what it found in the inbox: what becomes of each entry, and what its note says."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from nucleus_dags.in_store import in_store
from nucleus_dags.planning.remarks import remarks_on
from nucleus_dags.planning.types import Params, PlateToImport
from nucleus_dags.plates import inbox
from nucleus_dags.plates.inbox import Arrival, NoPlate, Returned
from nucleus_dags.plates.names import shown
from nucleus_dags.plates.no_plate import in_sentences, listed, plates_deeper, read_content
from nucleus_dags.plates.stored import StoredPlate, read_plate, superseding_plate


class FoundArrival(TypedDict):
    """A plate that has arrived, or corrected labels."""

    folder: str
    """What lies in the inbox."""
    fingerprint: str
    request: str | None
    """Key of the result of `send_to_annotation` that labels are an answer to; None of a plate."""


class FoundPlate(FoundArrival):
    """A plate to import."""

    plate_folder: str
    """What lies in the inbox, or what `receive_annotation` made of labels and sent images."""
    remarks: list[str]
    """Markdown on what was corrected."""


class FoundAnswer(FoundArrival):
    """Corrected labels that no plate was made of."""

    refused: str | None
    """Why; None where that isn't known."""


class FoundNoPlate(TypedDict):
    """An entry of the inbox that isn't a plate."""

    name: str
    """As it is shown."""
    reason: str
    record: str
    """File that says that it was told of, relative to the store."""


class NewPlate(FoundArrival):
    """A plate that was imported, or that labels were made into."""

    plate: str
    fovs: int
    nuclei: int


class NewPlates(TypedDict):
    """What became of the arrivals."""

    annotated: list[NewPlate]
    doubtful: list[NewPlate]
    """Training plates that no training uses before somebody confirms or corrects their labels."""
    to_screen: list[NewPlate]
    unchecked: list[str]
    shown: list[str]


class Outcome(NamedTuple):
    """What became of an arrival."""

    kind: str
    """A key of NewPlates, or another word for what needs nothing more."""
    name: str
    lines: list[str]
    plate: NewPlate | None = None
    stored: StoredPlate | None = None


def arrivals_in(found: Iterable[Arrival | Returned | NoPlate]) -> list[FoundArrival]:
    """Give plates and corrected labels, in the order in which they lie in the inbox."""
    return [_found(entry) for entry in found if not isinstance(entry, NoPlate)]


def _found(entry: Arrival | Returned) -> FoundArrival:
    request = entry.request if isinstance(entry, Returned) else None
    return {"folder": str(entry.folder), "fingerprint": entry.fingerprint, "request": request}


def answers_among(arrivals: Iterable[FoundArrival]) -> list[Params]:
    """Give the params of `receive_annotation` for the corrected labels."""
    return [{"folder": found["folder"], "request": found["request"]} for found in arrivals if found["request"]]


def plates_to_import(
    store: Path, arrivals: Iterable[FoundArrival], received: Iterable[Any]
) -> tuple[list[FoundPlate], list[FoundAnswer]]:
    """Give the plates that arrived or were made of labels, and the labels of which none could be made.

    `received` are the results of `receive_annotation`; None for labels that it failed at.
    """
    results = iter(received)
    plates: list[FoundPlate] = []
    without: list[FoundAnswer] = []
    for found in arrivals:
        if found["request"] is None:
            plates.append({**found, "plate_folder": found["folder"], "remarks": []})
            continue
        result = next(results)
        if result is None or "refused" in result:
            without.append({**found, "refused": (result or {}).get("refused")})
        else:
            folder = str(in_store(store, result["outputs"]["plate"]))
            plates.append({**found, "plate_folder": folder, "remarks": result["values"]["remarks"]})
    return plates, without


def no_plates_in(found: Iterable[Arrival | Returned | NoPlate], store: Path) -> list[FoundNoPlate]:
    """Give what isn't a plate, in words that can be stored and shown whatever its name is."""
    return [
        {
            "name": shown(entry.name),
            "reason": entry.reason,
            "record": entry.record(store).relative_to(store).as_posix(),
        }
        for entry in found
        if isinstance(entry, NoPlate)
    ]


def folder_of(found: FoundPlate) -> PlateToImport:
    """Give the params of `ingest`."""
    return {"folder": found["plate_folder"]}


def entry_of(found: FoundArrival) -> Arrival | Returned:
    """Give the entry of the inbox."""
    folder, fingerprint, request = Path(found["folder"]), found["fingerprint"], found["request"]
    return Returned(folder, fingerprint, request) if request else Arrival(folder, fingerprint)


def sort_out(
    store: Path,
    plates: Sequence[FoundPlate],
    results: Sequence[Any],
    no_plates: Sequence[FoundNoPlate],
    without_plate: Sequence[FoundAnswer] = (),
) -> NewPlates:
    """Set faulty arrivals aside; give the new plates, those with labels and screening plates, and what is shown.

    `results` are those of `ingest`; None for a plate that it failed at.
    """
    known = inbox.announced_plates(store) if plates else set()
    outcomes = [_outcome(store, found, result, known) for found, result in zip(plates, results, strict=True)]
    outcomes += [_outcome_without_plate(store, found) for found in without_plate]
    told = in_sentences((entry["name"], entry["reason"]) for entry in no_plates)
    lines = [*(f"- {sentence}" for sentence in told), *(line for outcome in outcomes for line in outcome.lines)]

    def of_kind(kind: str) -> list[NewPlate]:
        return [outcome.plate for outcome in outcomes if outcome.kind == kind and outcome.plate]

    return {
        "annotated": of_kind("annotated"),
        "doubtful": of_kind("doubtful"),
        "to_screen": of_kind("to_screen"),
        "unchecked": [outcome.name for outcome in outcomes if outcome.kind == "unchecked"],
        "shown": [_in_short(outcomes, no_plates), "", *lines],
    }


def record_told(store: Path, no_plates: Iterable[FoundNoPlate], doubtful: Iterable[NewPlate]) -> None:
    """Remember what needs nothing more than to be told of, once a person could read it."""
    for entry in no_plates:
        inbox.write_record(store / entry["record"], no_plate=entry["name"], reason=entry["reason"])
    for found in doubtful:
        inbox.record(entry_of(found), store, plate=found["plate"])


def _outcome(store: Path, found: FoundPlate, result: Any, known: Container[str]) -> Outcome:
    arrival = entry_of(found)
    name = arrival.name
    if result is None:
        return _unchecked(arrival, "ingest")
    refused = result.get("refused") or superseding_plate(store, result["outputs"]["plate"])
    if refused:
        return _refused(store, arrival, refused)
    stored = read_plate(store, result["outputs"]["plate"])
    lines = [f"- **{name}** is in the store, as {stored.path}{_without(stored)}."]
    lines += [*(f"  - {remark}" for remark in found["remarks"]), *remarks_on([stored]), *_of_plates_in(arrival)]
    if stored.path in known:
        inbox.record(arrival, store, plate=stored.path)
        return Outcome("known", name, lines, stored=stored)
    counts = result["counts"]
    new: NewPlate = {
        **_found(arrival),
        "plate": stored.path,
        "fovs": counts["fovs"],
        "nuclei": counts["nuclei"],
    }
    return Outcome(_kind_of(stored), name, lines, new, stored)


def _outcome_without_plate(store: Path, found: FoundAnswer) -> Outcome:
    arrival = entry_of(found)
    if found["refused"] is None:
        return _unchecked(arrival, "receive_annotation")
    return _refused(store, arrival, found["refused"])


def _unchecked(arrival: Arrival | Returned, task: str) -> Outcome:
    line = f"- **{arrival.name}** couldn't be checked; the log of `{task}` says why. It is tried again within the hour."
    return Outcome("unchecked", arrival.name, [line])


def _refused(store: Path, arrival: Arrival | Returned, reason: str) -> Outcome:
    name = arrival.name
    if not inbox.is_as_found(arrival):
        return Outcome("changed", name, [f"- **{name}** has changed meanwhile; it is checked again when it is quiet."])
    return Outcome("set aside", name, [_set_aside(store, arrival, reason)])


def _without(stored: StoredPlate) -> str:
    files = ", ".join(f"{number} {what}" for what, number in stored.not_used.items())
    return f", without {files}" if files else ""


def _kind_of(stored: StoredPlate) -> str:
    if stored.role == "screen":
        return "to_screen"
    return "doubtful" if stored.role == "train" and not stored.trains else "annotated"


def _set_aside(store: Path, arrival: Arrival | Returned, refused: str) -> str:
    try:
        report = inbox.set_aside(arrival, store, refused)
    except OSError as error:
        inbox.record(arrival, store, refused=refused)
        where = f"The inbox can't be written ({error.strerror}), so it stays there and has no report."
        return f"- **{arrival.name}** was refused: {refused} {where}"
    return f"- **{arrival.name}** was set aside: {refused} See {report.parent.name}/{report.name}."


def _of_plates_in(arrival: Arrival | Returned) -> list[str]:
    """Say that a plate's folder holds other plates; they aren't imported."""
    if not isinstance(arrival, Arrival):
        return []
    try:
        deeper = plates_deeper(read_content(arrival.folder))
    except OSError:  # The plate is in the store already, whatever became of its folder.
        return []
    if not deeper:
        return []
    return [f"- **{arrival.name}** holds other plates, {listed(deeper)}; to import them, move them into the inbox."]


def _in_short(outcomes: Sequence[Outcome], no_plates: Sequence[FoundNoPlate]) -> str:
    """Give the first line, the only one that the page of a run shows: how many plates, and what needs a person."""
    new = sum(outcome.plate is not None for outcome in outcomes)
    plates = "1 new plate" if new == 1 else f"{new} new plates"
    parts = [f"{plates} of {len(outcomes)} that arrived" if outcomes else "No plate has arrived"]
    stored = [outcome for outcome in outcomes if outcome.stored]
    for text, names in (
        ("not plates", [entry["name"] for entry in no_plates]),
        ("set aside", [outcome.name for outcome in outcomes if outcome.kind == "set aside"]),
        ("couldn't be checked", [outcome.name for outcome in outcomes if outcome.kind == "unchecked"]),
        ("doubtful labels or images", [outcome.name for outcome in stored if outcome.stored and outcome.stored.doubts]),
        ("fields left out", [outcome.name for outcome in stored if outcome.stored and outcome.stored.left_out]),
    ):
        parts += [f"{text}: {listed(names)}"] if names else []
    return "; ".join(parts)
