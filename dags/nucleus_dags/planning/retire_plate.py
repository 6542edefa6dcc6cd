"""What `retire_plate` does: from the filled form to what is written down, and what follows from it in words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from nucleus_dags.errors import FormError
from nucleus_dags.plates.names import is_key
from nucleus_dags.plates.retired import RetirementChange, write_change
from nucleus_dags.plates.stored import StoredPlate, newest_plates, newest_version

RETIRE, BRING_BACK = "retire", "bring back"


def change(store: Path, form: Mapping[str, Any], person: str, now: datetime, run: str) -> list[str]:
    """Retire a plate or bring it back; gives the lines of the note. Raises FormError."""
    plate = _plate_of(store, form["plate"].strip())
    wanted = RetirementChange(form["change"] == RETIRE, now.isoformat(), person, form["reason"], run)
    done = write_change(store, plate.name, wanted)
    follows = (_on_testing if plate.role == "test" else _on_training)(store, plate, done.is_retired)
    kept = "Its images, its labels and all results with it stay."
    return [f"{plate.name} was {done.in_words}", "", *follows, "", kept]


def _plate_of(store: Path, name: str) -> StoredPlate:
    plate = newest_version(store, name) if is_key(f"{name}@{'0' * 12}") else None
    if plate is None:
        raise FormError(f"Plate: there is no plate {name} in the store; the page Nuclei lists them under Plates.")
    if plate.role == "screen":
        raise FormError(f"Plate: {name} is a screening plate: no model is trained or judged on it in any case.")
    return plate


def _on_training(store: Path, plate: StoredPlate, is_retired: bool) -> list[str]:
    if not is_retired:
        return ["It is trained on again, from the next training on."]
    return [
        "No model is trained on it from now on. Models that were trained on it stay as they are, and a retraining "
        "begins from the champion: to be rid of what was learnt from this plate, train a new model with "
        "`train_models`, and promote it."
    ]


def _on_testing(store: Path, plate: StoredPlate, is_retired: bool) -> list[str]:
    """Say what the gate judges on from now on."""
    left = newest_plates(store, "test")
    if not left:
        return [
            "⚠️ **The gate has no test plate left**: `retrain_champion` fails until one is imported or brought back."
        ]
    names = ", ".join(one.name for one in left)
    lines = [
        f"⚠️ **This changes what the gate judges on**: from now on {names}. A challenger that passes there might not "
        "have passed before, or the other way round, and F1 of all test plates isn't comparable with that of before."
    ]
    if plate.cell_line not in {one.cell_line for one in left}:
        lines.append(f"No test plate of {plate.cell_line} is left: a model that gets worse there isn't stopped.")
    return lines


def not_used(retired: Mapping[str, RetirementChange]) -> list[str]:
    """Give a sentence for each plate that isn't used because it is retired."""
    return [f"{name} isn't used; it was {change.in_words}" for name, change in retired.items()]
