"""What a DAG run's note says."""

from nucleus_dags.summary import NOTE_CHARACTERS, fitting_note


def test_a_short_note_is_whole() -> None:
    assert fitting_note(["outcome", "", "details"]) == "outcome\n\ndetails"


def test_a_note_that_airflow_would_refuse_is_cut_between_lines_and_says_where_the_rest_is() -> None:
    lines = [f"line {number:04}" for number in range(200)]
    *kept, _, last = fitting_note(lines).split("\n")
    assert kept == lines[: len(kept)]
    assert last == "More is in the log of this task."
    assert NOTE_CHARACTERS - 10 <= len(fitting_note(lines)) <= NOTE_CHARACTERS
