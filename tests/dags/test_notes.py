"""What a DAG run's note says."""

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from nucleus_dags import notes
from nucleus_dags.notes import FAILURE, NOTE_CHARACTERS, f1_table, failure_lines, fitting_note, in_short, show_lines


def test_a_short_note_is_whole() -> None:
    assert fitting_note(["outcome", "", "details"]) == "outcome\n\ndetails"


def test_a_note_that_airflow_would_refuse_is_cut_between_lines_and_says_where_the_rest_is() -> None:
    lines = [f"line {number:04}" for number in range(200)]
    *kept, _, last = fitting_note(lines).split("\n")
    assert kept == lines[: len(kept)]
    assert last == "More is in the log of this task."
    assert NOTE_CHARACTERS - 10 <= len(fitting_note(lines)) <= NOTE_CHARACTERS


def test_of_a_first_line_that_is_too_long_its_beginning_is_kept() -> None:
    note = fitting_note(["n" * 2000, "", "details"])
    assert note.startswith("n" * 900)
    assert note.endswith("n\n\nMore is in the log of this task.")
    assert len(note) == NOTE_CHARACTERS


def fail_in(monkeypatch: pytest.MonkeyPatch, **reasons: list[Any]) -> None:
    """Let the tasks of a DAG run have failed for these reasons, part by part."""

    def pull(task_ids: list[str], key: str) -> list[Any]:
        (task_id,) = task_ids
        return reasons[task_id]

    context = {"dag": SimpleNamespace(task_ids=list(reasons)), "ti": SimpleNamespace(xcom_pull=pull)}
    monkeypatch.setattr(notes, "get_current_context", lambda: context)


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


def test_what_a_person_can_correct_is_shown_in_the_note_and_fails_without_a_retry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(notes, "_set_note", shown.append)
    with pytest.raises(AirflowFailException, match="No train plate"):
        notes.fail_with("No train plate: the inbox has no plate.")
    assert shown == ["No train plate: the inbox has no plate."]


def test_the_first_line_of_scores_points_to_remarks_on_the_plates(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(notes, "_set_note", shown.append)
    scores = {"fpn2_ws": {"f1_at_0.7/all": 0.9, "f1_at_0.9/all": 0.5}}
    notes.show_summary("run", scores, succeeded=True, remarks=["- **t**: 1 doubt about its labels"])
    notes.show_summary("run", scores, succeeded=True)
    doubtful, plain = (note.splitlines() for note in shown)
    assert doubtful[0] == f"{plain[0]}; look at the remarks below"
    assert doubtful[-1] == "- **t**: 1 doubt about its labels"


@pytest.mark.parametrize(
    ("lines", "note"),
    [
        (["outcome", "", "page", ""], "outcome\n\npage"),
        (["outcome", "", "page", "", "", "table"], "outcome\n\npage\n\ntable"),
        (["outcome", "", "", ""], "outcome"),
        (["outcome", "", "page"], "outcome\n\npage"),
    ],
)
def test_a_part_of_a_note_that_has_nothing_to_say_leaves_no_gap(
    monkeypatch: pytest.MonkeyPatch, lines: list[str], note: str
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(notes, "_set_note", shown.append)
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


def test_the_first_line_names_the_methods_if_there_are_several() -> None:
    one, other = ({"f1_at_0.7/all": f1, "f1_at_0.9/all": f1 / 2} for f1 in (0.9, 0.8))
    assert in_short({"fpn2_ws": one}) == "F1 at 0.7: 0.900, F1 at 0.9: 0.450"
    assert in_short({"fpn2_ws": one, "mask_rcnn": other}) == (
        "fpn2_ws: F1 at 0.7: 0.900, F1 at 0.9: 0.450; mask_rcnn: F1 at 0.7: 0.800, F1 at 0.9: 0.400"
    )
