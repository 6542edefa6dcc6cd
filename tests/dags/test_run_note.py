"""The note of a DAG run, with what failed on top."""

from types import SimpleNamespace
from typing import Any

import pytest

from nucleus_dags import run_note
from nucleus_dags.airflow_api import AirflowApiError
from nucleus_dags.run_note import FAILURE_KEY, NOTE_CHARACTERS, WITHOUT_A_WORD, NotedFailure, fitting_note, note_failure
from nucleus_dags.run_page import without_link


class Airflow:
    """Airflow's API with one DAG run."""

    def __init__(self) -> None:
        self.note = ""

    def dag_run(self, dag_id: str, dag_run_id: str) -> dict[str, Any]:
        assert (dag_id, dag_run_id) == ("promote_model", "manual__1")
        return {"note": self.note or None}

    def set_note(self, dag_id: str, dag_run_id: str, note: str) -> None:
        self.note = note


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    airflow = Airflow()
    monkeypatch.setattr(run_note, "_api", lambda: airflow)
    return airflow


def failed(task_id: str, error: BaseException | None, xcoms: dict[str, Any] | None = None) -> dict[str, Any]:
    """Give the context that Airflow calls back with when a task failed."""

    def push(key: str, value: Any) -> None:
        if xcoms is None:
            raise RuntimeError("The process of this task has ended.")
        xcoms[key] = value

    ti = SimpleNamespace(task_id=task_id, dag_id="promote_model", run_id="manual__1", xcom_push=push)
    return {"ti": ti, "exception": error}


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


def test_a_run_whose_task_failed_has_its_name_and_its_error_in_the_note(airflow: Airflow) -> None:
    xcoms: dict[str, Any] = {}
    note_failure(failed("promote_model", RuntimeError("12:00:01 promote_model: version: there is no version 7"), xcoms))
    assert airflow.note == "promote_model failed: version: there is no version 7"
    assert xcoms == {FAILURE_KEY: "version: there is no version 7"}


def test_what_the_note_said_before_stays_below_the_failure_and_what_failed_first_stays_on_top(airflow: Airflow) -> None:
    airflow.note = "Look at these plates:\n\n- **a**: 1 doubt"
    note_failure(failed("augment", ValueError("no room"), {}))
    note_failure(failed("decide", KeyError("rois"), {}))
    note_failure(failed("augment", ValueError("no room"), {}))
    first, second, gap, *rest = airflow.note.splitlines()
    assert (first, second, gap) == ("augment failed: no room", "decide failed: 'rois'", "")
    assert rest == ["Look at these plates:", "", "- **a**: 1 doubt"]


def test_a_task_whose_process_was_killed_is_in_the_note_without_an_error(airflow: Airflow) -> None:
    note_failure(failed("train", None))
    assert airflow.note == f"train failed: {WITHOUT_A_WORD}"


def test_a_failure_that_the_note_tells_of_already_is_not_told_of_again(airflow: Airflow) -> None:
    airflow.note = "Version: choose a whole number."
    note_failure(failed("check_form", NotedFailure("Version: choose a whole number."), {}))
    assert airflow.note == "Version: choose a whole number."


def test_a_failure_is_no_other_one_where_airflow_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        def dag_run(self, *_: str) -> None:
            raise AirflowApiError("no answer")

        set_note = task_instances = dag_run

    monkeypatch.setattr(run_note, "_api", Silent)
    note_failure(failed("train", ValueError("no room"), {}))
    assert run_note.failed_tasks("train_models", "manual__1") == []


def test_a_note_ends_with_the_way_to_the_page_of_its_run_once(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://127.0.0.1:8080/")
    address = "http://127.0.0.1:8080/plugin/nuclei/nuclei/runs/promote_model/manual__1"
    run_note.set_note("promote_model", "manual__1", "Version 2 is champion.")
    assert airflow.note == f"Version 2 is champion.\n\n[This run on the page Nuclei]({address})"
    note_failure(failed("promote_model", RuntimeError("no space left")))
    assert airflow.note.startswith("promote_model failed: no space left\n\nVersion 2 is champion.")
    assert airflow.note.count(address) == 1
    assert without_link(airflow.note).endswith("Version 2 is champion.")


def test_a_note_without_room_for_the_way_to_its_page_stays_as_it_is(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://127.0.0.1:8080")
    run_note.set_note("promote_model", "manual__1", "n" * (NOTE_CHARACTERS - 20))
    assert airflow.note == "n" * (NOTE_CHARACTERS - 20)
