"""The gate in force: what gate.yaml says, or what a person has changed it to.

Every change is a file under `gates/` of the store, numbered, which is never written again; the newest counts. Where
that one can't be read nothing is judged: by another gate than the one asked for, a wrong model could become champion.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import jsonschema
import yaml

from nucleus_dags.errors import FormError
from nucleus_dags.files import write_whole
from nucleus_dags.manifest import Schema, task_entry

GATE = Path(__file__).parents[1] / "gate.yaml"
APPROVAL = "approval"
APPROVALS = ("automatic", "by_person")

Values = dict[str, Any]
"""The params `gate` of the task `judge`, and `approval`: how a challenger that passes becomes champion."""


@dataclass(frozen=True)
class Change:
    """What a file of `gates/` says."""

    changed_at: str
    """UTC, ISO 8601."""
    changed_by: str
    reason: str
    dag_run_id: str
    """The run of `change_gate`."""
    before: Values | None
    """None where the change before was damaged."""
    after: Values


@dataclass(frozen=True)
class DamagedChange:
    """A file of `gates/` that isn't what `change_gate` wrote."""

    file: str
    why: str


@dataclass(frozen=True)
class Gate:
    """The gate that challengers are judged by."""

    values: Values
    change: Change | None
    """The last one; None of the gate that comes with the pipeline."""

    @property
    def rules(self) -> Values:
        """Give the params `gate` of the task `judge`."""
        return {name: value for name, value in self.values.items() if name != APPROVAL}

    @property
    def approval(self) -> str:
        approval: str = self.values[APPROVAL]
        return approval

    @property
    def in_words(self) -> str:
        """Say which gate it is."""
        if self.change is None:
            return "Judged by the default gate."
        when = datetime.fromisoformat(self.change.changed_at).strftime("%Y-%m-%d %H:%M UTC")
        return f"Judged by the gate as {self.change.changed_by} changed it on {when}: {self.change.reason}"


def rule_schemas() -> dict[str, Schema]:
    """Give the schemas of the rules, by name, each with title, description, default and bounds."""
    schemas: dict[str, Schema] = task_entry("judge")["params"]["$defs"]["Gate"]["properties"]
    return schemas


def default_values() -> Values:
    """Give the content of gate.yaml. Raises FormError if it is no gate."""
    content = yaml.safe_load(GATE.read_text())
    if problem := _problem(content):
        raise FormError(f"{GATE.name}: {problem}.")
    values: Values = content
    return values


def gate_in_force(store: Path) -> Gate:
    """Give the gate that counts. Raises FormError if its last change is damaged."""
    newest = _newest(store)
    if newest is None:
        return Gate(default_values(), None)
    change = _read(newest)
    if isinstance(change, DamagedChange):
        raise FormError(
            f"The last change of the gate can't be read, so nothing is judged. {change.file} in the store is damaged, "
            f"or was changed by hand: {change.why}. Restore it from a backup, or change the gate again with every "
            "value filled in."
        )
    return Gate(change.after, change)


def changes(store: Path) -> list[Change | DamagedChange]:
    """Give all changes, the newest first."""
    return [_read(path) for path in reversed(_files(store))]


def change_gate(store: Path, wanted: Mapping[str, Any], reason: str, person: str, now: datetime, run: str) -> Change:
    """Change the gate; gives what was written down.

    Args:
        store: Folder of all results.
        wanted: The values by name; what is None stays as it is.
        reason: Why.
        person: Who changes it.
        now: In UTC.
        run: The DAG run; asked again by the same one, nothing is changed twice.

    Raises FormError for values that aren't allowed, or if all are as they were.
    """
    newest = _newest(store)
    last = _read(newest) if newest else None
    if isinstance(last, Change) and last.dag_run_id == run:
        return last
    before = None if isinstance(last, DamagedChange) else last.after if last else default_values()
    after = (before or {}) | {name: value for name, value in wanted.items() if value is not None}
    if problem := _problem(after):
        known = "" if before else " The last change is damaged, so that no value is known; fill in every one."
        raise FormError(f"The gate isn't changed: {problem}.{known}")
    if after == before:
        raise FormError("The gate isn't changed: all values are as they were.")
    change = Change(now.isoformat(), person, reason, run, before, after)
    number = int(newest.stem) + 1 if newest else 1
    write_whole(store / "gates" / f"{number:06}.json", asdict(change))
    return change


def value_changes(change: Change) -> list[str]:
    """Give every value that a change has changed, as it was and as it is."""
    before = change.before or {}
    return [
        f"{value_title(name)}: {before.get(name, 'unknown')} -> {value}"
        for name, value in change.after.items()
        if before.get(name) != value
    ]


def value_title(name: str) -> str:
    """Give the title of a rule, or of how a challenger is approved."""
    return "Approval" if name == APPROVAL else str(rule_schemas()[name]["title"])


def _problem(values: Any) -> str:
    """Say what is wrong with the values of a gate; empty if nothing is."""
    schemas = {**rule_schemas(), APPROVAL: {"enum": list(APPROVALS)}}
    if not isinstance(values, dict):
        return "it holds no values by name"
    if unknown := set(values) - set(schemas):
        return f"{', '.join(sorted(unknown))} isn't known; there are {', '.join(schemas)}"
    if missing := [name for name in schemas if name not in values]:
        return f"{', '.join(missing)} isn't given"
    for name, schema in schemas.items():
        value = values[name]
        if not jsonschema.Draft202012Validator(schema).is_valid(value) or value != value:
            allowed = " or ".join(APPROVALS) if name == APPROVAL else f"{schema['minimum']} to {schema['maximum']}"
            return f"{name} is {value!r}; it may be {allowed}"
    return ""


def _files(store: Path) -> list[Path]:
    return sorted((store / "gates").glob("*.json"))


def _newest(store: Path) -> Path | None:
    return next(reversed(_files(store)), None)


def _read(path: Path) -> Change | DamagedChange:
    try:
        content = json.loads(path.read_text(), parse_constant=_refuse_constant)
        change = Change(**content)
        datetime.fromisoformat(change.changed_at)
        problem = _problem(change.after)
    except (OSError, ValueError, TypeError) as error:
        problem = " ".join(str(error).split())
    return DamagedChange(f"gates/{path.name}", problem) if problem else change


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no value of a gate")
