"""The gate that comes with the pipeline, and what people change it to."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nucleus_dags.errors import FormError
from nucleus_dags.planning import gate
from nucleus_dags.planning.gate import Change, DamagedChange, change_gate, changes, gate_in_force
from tasks.nuclei.judgement import Gate

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
EVERY_VALUE: dict[str, Any] = {
    "most_loss": 0.1,
    "least_mean_gain": 0.01,
    "most_error_rate": 0.2,
    "most_rate_rise": 0.1,
    "approval": "by_person",
}


def change(store: Path, run: str = "manual__1", **wanted: Any) -> Change:
    return change_gate(store, wanted, "A stricter screen.", "anna", NOON, run)


def damage(store: Path, text: str, number: int = 1) -> None:
    path = store / "gates" / f"{number:06}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def test_without_a_change_the_gate_is_the_one_that_comes_with_the_pipeline(tmp_path: Path) -> None:
    found = gate_in_force(tmp_path)
    assert Gate(**found.rules) == Gate()
    assert (found.approval, found.change, found.in_words) == ("automatic", None, "Judged by the default gate.")
    assert changes(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("approval: perhaps", "most_loss, least_mean_gain, most_error_rate, most_rate_rise isn't given"),
        (json.dumps(EVERY_VALUE | {"approval": "perhaps"}), "approval is 'perhaps'; it may be automatic or by_person"),
        (json.dumps(EVERY_VALUE | {"most_loss": 2}), "most_loss is 2; it may be 0 to 1"),
        (json.dumps(EVERY_VALUE | {"most_los": 0.1}), "most_los isn't known; there are most_loss,"),
        ("most_loss", "it holds no values by name"),
    ],
)
def test_a_gate_yaml_that_is_no_gate_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, why: str
) -> None:
    monkeypatch.setattr(gate, "GATE", tmp_path / "gate.yaml")
    gate.GATE.write_text(content)
    with pytest.raises(FormError, match=f"gate.yaml: {why}"):
        gate_in_force(tmp_path)


def test_a_change_counts_from_then_on_and_leaves_the_other_values_as_they_were(tmp_path: Path) -> None:
    made = change(tmp_path, most_loss=0.02, approval=None)
    assert made.before is not None
    assert made.after == made.before | {"most_loss": 0.02}
    assert gate_in_force(tmp_path).values == made.after
    assert gate.value_changes(made) == ["Largest loss of a cell line: 0.05 -> 0.02"]


def test_all_changes_stay_and_the_newest_is_the_first(tmp_path: Path) -> None:
    for number in range(11):
        change(tmp_path, f"manual__{number}", most_loss=number / 100)
    history = changes(tmp_path)
    assert [made.after["most_loss"] for made in history if isinstance(made, Change)] == [
        number / 100 for number in reversed(range(11))
    ]
    assert gate_in_force(tmp_path).values["most_loss"] == 0.1


def test_a_run_that_asks_again_changes_nothing_twice(tmp_path: Path) -> None:
    first = change(tmp_path, most_loss=0.02)
    assert change(tmp_path, most_loss=0.02) == first
    assert len(changes(tmp_path)) == 1


def test_a_change_that_changes_nothing_and_one_that_is_not_allowed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormError, match="all values are as they were"):
        change(tmp_path, most_loss=0.05)
    with pytest.raises(FormError, match=r"most_error_rate is 1\.5; it may be 0 to 1"):
        change(tmp_path, most_error_rate=1.5)
    assert changes(tmp_path) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"after": {}}',
        json.dumps({"changed_at": "yesterday", "changed_by": "", "reason": "", "dag_run_id": "", "before": None})[:-1]
        + f', "after": {json.dumps(EVERY_VALUE)}}}',
        json.dumps(
            {"changed_at": NOON.isoformat(), "changed_by": "", "reason": "", "dag_run_id": "", "before": None}
            | {"after": EVERY_VALUE | {"most_loss": float("nan")}}
        ),
    ],
    ids=["empty", "half", "list", "lacks", "no time", "no number"],
)
def test_a_damaged_last_change_stops_what_goes_by_the_gate_until_every_value_is_given(
    tmp_path: Path, text: str
) -> None:
    damage(tmp_path, text)
    with pytest.raises(FormError, match=r"The last change of the gate can't be read, so nothing is judged\. gates/"):
        gate_in_force(tmp_path)
    with pytest.raises(FormError, match="damaged, so that no value is known; fill in every one"):
        change(tmp_path, most_loss=0.02)
    made = change(tmp_path, **EVERY_VALUE)
    assert made.before is None
    assert gate_in_force(tmp_path).values == EVERY_VALUE


def test_a_damaged_earlier_change_is_told_of_in_the_history(tmp_path: Path) -> None:
    change(tmp_path, most_loss=0.02)
    change(tmp_path, "manual__2", most_loss=0.03)
    damage(tmp_path, "{")
    newest, damaged = changes(tmp_path)
    assert isinstance(newest, Change)
    assert isinstance(damaged, DamagedChange)
    assert damaged.file == "gates/000001.json"
    assert gate_in_force(tmp_path).values["most_loss"] == 0.03
