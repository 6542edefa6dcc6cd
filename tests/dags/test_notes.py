"""What a DAG run's note says."""

from types import SimpleNamespace
from typing import Any

import pytest

from nucleus_dags import notes
from nucleus_dags.notes import FAILURE, f1_table, failure_lines, in_short, show_lines
from nucleus_dags.run_note import WITHOUT_A_WORD, NotedFailure


def fail_in(monkeypatch: pytest.MonkeyPatch, **reasons: list[Any]) -> None:
    """Let the tasks of a DAG run have failed for these reasons, part by part."""

    def pull(task_ids: list[str], key: str) -> list[Any]:
        (task_id,) = task_ids
        return reasons[task_id]

    ti = SimpleNamespace(xcom_pull=pull, dag_id="train_models", run_id="manual__1")
    context = {"dag": SimpleNamespace(task_ids=list(reasons)), "ti": ti}
    monkeypatch.setattr(notes, "get_current_context", lambda: context)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the notes that are set, one after the other."""
    notes_set: list[str] = []
    context = {"dag_run": SimpleNamespace(dag_id="train_models", run_id="manual__1")}
    monkeypatch.setattr(notes, "get_current_context", lambda: context)
    monkeypatch.setattr(notes, "set_note", lambda dag_id, dag_run_id, note: notes_set.append(note))
    return notes_set


def test_the_note_of_a_failed_run_begins_with_the_reason_of_the_task_that_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reason = "The plate a has doubtful labels: labels/1.tif; confirm them."
    fail_in(monkeypatch, open_run=[None], augment=[reason], train=[None])
    assert failure_lines() == [f"augment failed: {reason}", "", FAILURE]


def test_parts_that_failed_for_one_reason_are_told_of_once_and_of_many_reasons_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fail_in(monkeypatch, ingest=["full", "full"], segment=["a", "b", "c", "d"])
    assert failure_lines()[:-2] == ["ingest failed: full", "segment failed: a", "segment failed: b"]


def test_a_task_that_failed_without_a_word_leaves_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_in(monkeypatch, open_run=[None])
    assert failure_lines() == [FAILURE]


def test_a_task_whose_process_was_killed_is_named_though_it_left_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_in(monkeypatch, augment=["no room"], train=[None])
    monkeypatch.setattr(notes, "failed_tasks", lambda dag_id, dag_run_id: ["augment", "train"])
    assert failure_lines()[:2] == ["augment failed: no room", f"train failed: {WITHOUT_A_WORD}"]


def test_what_a_person_can_correct_is_shown_in_the_note_and_fails_without_a_retry(shown: list[str]) -> None:
    with pytest.raises(NotedFailure, match="No train plate"):
        notes.fail_with("No train plate: the inbox has no plate.")
    assert shown == ["No train plate: the inbox has no plate."]


def test_the_first_line_of_scores_points_to_remarks_on_the_plates(shown: list[str]) -> None:
    scores = {"fpn2_ws": {"f1_at_0.7/all": 0.9, "f1_at_0.9/all": 0.5}}
    notes.show_summary("run", scores, succeeded=True, remarks=["- **t**: 1 doubt about its labels"])
    notes.show_summary("run", scores, succeeded=True)
    doubtful, plain = (note.splitlines() for note in shown)
    assert doubtful[0] == f"{plain[0]}; look at the remarks below"
    assert doubtful[-1] == "- **t**: 1 doubt about its labels"


def test_the_note_says_which_model_has_become_the_first_champion(shown: list[str]) -> None:
    scores = {"fpn2_ws": {"f1_at_0.7/all": 0.9, "f1_at_0.9/all": 0.5}}
    notes.show_summary("run", scores, succeeded=True, champion=notes.champion_in_words(1))
    assert shown[0].splitlines()[2].startswith("Version 1 is the first model, so it is the champion now: ")


@pytest.mark.parametrize(
    ("lines", "note"),
    [
        (["outcome", "", "page", ""], "outcome\n\npage"),
        (["outcome", "", "page", "", "", "table"], "outcome\n\npage\n\ntable"),
        (["outcome", "", "", ""], "outcome"),
        (["outcome", "", "page"], "outcome\n\npage"),
    ],
)
def test_a_part_of_a_note_that_has_nothing_to_say_leaves_no_gap(shown: list[str], lines: list[str], note: str) -> None:
    show_lines(lines)
    assert shown == [note]


def test_the_table_has_a_row_for_each_cell_line() -> None:
    metrics = {
        "f1_at_0.7/U2OS": 0.9,
        "f1_at_0.9/U2OS": 0.25,
        "f1_at_0.7/all": 1.0,
        "f1_at_0.9/all": 0.5,
        "f1_at_0.5/all": 1,
    }
    assert f1_table({"fpn2_ws": metrics}) == [
        "| method  | cell line | F1 at 0.7 | F1 at 0.9 |",
        "|---------|-----------|-----------|-----------|",
        "| fpn2_ws | U2OS      | 0.900     | 0.250     |",
        "| fpn2_ws | all       | 1.000     | 0.500     |",
    ]


def test_a_model_that_misses_too_many_nuclei_says_so_where_its_f1_stands() -> None:
    metrics = {"f1_at_0.7/all": 0.4, "f1_at_0.9/all": 0.2, "fn_rate/all": 0.62}
    blind = {"f1_at_0.7/all": 0.0, "f1_at_0.9/all": 0.0, "fn_rate/all": 1.0}
    good = {"f1_at_0.7/all": 0.9, "f1_at_0.9/all": 0.5, "fn_rate/all": 1 / 3}
    assert in_short({"a": metrics}) == "🔴 misses 62 % of the nuclei: F1 at 0.7: 0.400, F1 at 0.9: 0.200"
    assert in_short({"a": blind, "b": good}) == (
        "a: 🔴 finds no nucleus: F1 at 0.7: 0.000, F1 at 0.9: 0.000; b: F1 at 0.7: 0.900, F1 at 0.9: 0.500"
    )
    *_, first, second = f1_table({"a": blind, "b": good})
    assert first.endswith("| 0.000     | 🔴 finds no nucleus |")
    assert second.split("|")[-2].strip() == ""


def test_the_first_line_names_the_methods_if_there_are_several() -> None:
    one, other = ({"f1_at_0.7/all": f1, "f1_at_0.9/all": f1 / 2} for f1 in (0.9, 0.8))
    assert in_short({"fpn2_ws": one}) == "F1 at 0.7: 0.900, F1 at 0.9: 0.450"
    assert in_short({"fpn2_ws": one, "mask_rcnn": other}) == (
        "fpn2_ws: F1 at 0.7: 0.900, F1 at 0.9: 0.450; mask_rcnn: F1 at 0.7: 0.800, F1 at 0.9: 0.400"
    )
