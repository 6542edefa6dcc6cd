"""What a DAG run's note says."""

from nucleus_dags.notes import NOTE_CHARACTERS, f1_table, fitting_note, in_short


def test_a_short_note_is_whole() -> None:
    assert fitting_note(["outcome", "", "details"]) == "outcome\n\ndetails"


def test_a_note_that_airflow_would_refuse_is_cut_between_lines_and_says_where_the_rest_is() -> None:
    lines = [f"line {number:04}" for number in range(200)]
    *kept, _, last = fitting_note(lines).split("\n")
    assert kept == lines[: len(kept)]
    assert last == "More is in the log of this task."
    assert NOTE_CHARACTERS - 10 <= len(fitting_note(lines)) <= NOTE_CHARACTERS


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
