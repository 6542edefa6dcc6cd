"""What a person sees of a DAG run that was started for the tables of a matrix."""

from typing import Any

import pytest

from nucleus_dags.airflow_api import AirflowApi
from nucleus_dags.local import paper_tables


class Answers(AirflowApi):
    """Gives one answer after the other for a DAG run."""

    def __init__(self, *answers: tuple[str, str | None]) -> None:
        self.answers = iter(answers)

    def dag_run(self, dag_id: str, dag_run_id: str) -> dict[str, Any]:
        state, note = next(self.answers)
        return {"state": state, "note": note}


def test_a_run_that_waits_for_another_one_says_so_and_then_each_note_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(paper_tables, "ASKED_EVERY_S", 0)
    waiting: list[tuple[str, str | None]] = [("queued", None), ("queued", None), ("running", None)]
    api = Answers(*waiting, ("running", "the plan"), ("running", "the plan"), ("success", "the end"))
    assert paper_tables.follow(api, "second")
    said = [line for line in capsys.readouterr().out.splitlines() if line]
    assert said == [paper_tables.WAITS, "the plan", "the end"]
    assert not paper_tables.follow(Answers(("failed", None)), "third")
