"""Runs in Airflow's database that were started by its API, and of which a scheduler did as much as a test says."""

from __future__ import annotations

import json
import sqlite3
import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.dags.page.site import Site


class RecordedRun:
    """A run that goes on since a while."""

    def __init__(self, site: Site, dag_id: str, begun_s_ago: float = 600, **conf: Any) -> None:
        self._site, self.dag_id = site, dag_id
        self.run_id = site.api.trigger(dag_id, conf)
        self._begun = datetime.now(UTC) - timedelta(seconds=begun_s_ago)
        self._set_run(state="running", start_date=_text(self._begun))

    @property
    def path(self) -> str:
        """Of its page."""
        return f"/runs/{self.dag_id}/{self.run_id}"

    def task(self, task_id: str, state: str, seconds: float = 60, name: str = "", map_index: int = -1) -> None:
        """Let a task be in a state; one that has ended took so many seconds, one that runs began so long ago."""
        ended = state in ("success", "failed", "skipped")
        started = self._begun if ended else datetime.now(UTC) - timedelta(seconds=seconds)
        values = {
            "state": state,
            "start_date": _text(started),
            "end_date": _text(started + timedelta(seconds=seconds)) if ended else None,
            "try_number": 1,
            "rendered_map_index": name or None,
            "map_index": map_index,
        }
        changes = ", ".join(f"{column} = ?" for column in values)
        where = "dag_id = ? and run_id = ? and task_id = ? and map_index in (-1, ?)"
        self._write(
            f"update task_instance set {changes} where {where}",
            *values.values(),
            *(self.dag_id, self.run_id, task_id, map_index),
        )

    def add_parts(self, task_id: str, count: int, state: str) -> None:
        """Let a mapped task have further parts, copies of its only one."""
        columns = [row[1] for row in self._write("pragma table_info(task_instance)")]
        changed = {"id": "?", "map_index": "?", "state": "?"}
        taken = ", ".join(changed.get(column, column) for column in columns)
        for number in range(count):
            given = {"id": uuid.uuid4().hex, "map_index": 1000 + number, "state": state}
            self._write(
                f"insert into task_instance ({', '.join(columns)}) select {taken} from task_instance where "
                "dag_id = ? and run_id = ? and task_id = ? limit 1",
                *(given[column] for column in columns if column in given),
                *(self.dag_id, self.run_id, task_id),
            )

    def end(self, state: str, seconds: float = 300) -> None:
        """End the run; of one that ended well, all tasks that were not set are done."""
        ended = _text(self._begun + timedelta(seconds=seconds))
        self._set_run(state=state, end_date=ended)
        rest = "success" if state == "success" else "upstream_failed"
        where = "dag_id = ? and run_id = ? and state is null"
        self._write(f"update task_instance set state = ? where {where}", rest, self.dag_id, self.run_id)

    def wait(self) -> None:
        """Let the run wait as if it had just been asked for."""
        self._set_run(state="queued", start_date=None)

    def note(self, text: str) -> None:
        self._site.api.set_note(self.dag_id, self.run_id, text)

    def ask(self, task_id: str, subject: str) -> None:
        """Let a task wait for an approval."""
        self.task(task_id, "awaiting_input")
        (ti_id,) = self._write(
            "select id from task_instance where dag_id = ? and run_id = ? and task_id = ?",
            *(self.dag_id, self.run_id, task_id),
        )[0]
        self._write(
            "insert into hitl_detail (ti_id, options, subject, params, params_input, created_at) "
            "values (?, ?, ?, ?, ?, ?)",
            *(ti_id, '["Approve", "Reject"]', subject, "{}", "{}", _text(datetime.now(UTC))),
        )

    def leave_reason(self, task_id: str, reason: str, map_index: int = -1) -> None:
        """Leave the XCom of a task that failed."""
        (number,) = self._write("select id from dag_run where dag_id = ? and run_id = ?", self.dag_id, self.run_id)[0]
        self._write(
            "insert into xcom (dag_run_id, task_id, map_index, key, dag_id, run_id, value, timestamp) "
            "values (?, ?, ?, 'failure', ?, ?, ?, ?)",
            *(number, task_id, map_index, self.dag_id, self.run_id, json.dumps(reason), _text(datetime.now(UTC))),
        )

    def log(self, task_id: str, lines: list[str], map_index: int = -1) -> None:
        """Write the log of a task's first try, as Airflow's workers do."""
        part = f"map_index={map_index}/" if map_index >= 0 else ""
        path = f"dag_id={self.dag_id}/run_id={self.run_id}/task_id={task_id}/{part}attempt=1.log"
        file = self._site.home.folder / "airflow" / "logs" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        written = [{"timestamp": datetime.now(UTC).isoformat(), "level": "info", "event": line} for line in lines]
        file.write_text("".join(f"{json.dumps(line)}\n" for line in written))

    def receipt(self, task_id: str, map_index: int = -1, task: str = "", seconds: float = 0, **content: Any) -> None:
        """Write the receipt that a task leaves."""
        path = self._site.home.store / "dag_runs" / self.dag_id / self.run_id / task_id / f"{map_index}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        known = {"task": task or task_id, "key": "0" * 16, "params": {}, "outputs": {}, "seconds": seconds}
        path.write_text(json.dumps(known | {"mlflow_run_id": None} | content))

    def copy(self, count: int) -> None:
        """Copy the run without its tasks."""
        columns = [row[1] for row in self._write("pragma table_info(dag_run)") if row[1] != "id"]
        for number in range(count):
            taken = ["? || run_id" if column == "run_id" else column for column in columns]
            self._write(
                f"insert into dag_run ({', '.join(columns)}) select {', '.join(taken)} from dag_run "
                "where dag_id = ? and run_id = ?",
                *(f"copy{number}__", self.dag_id, self.run_id),
            )

    def _set_run(self, **values: Any) -> None:
        changes = ", ".join(f"{column} = ?" for column in values)
        where = "dag_id = ? and run_id = ?"
        self._write(f"update dag_run set {changes} where {where}", *values.values(), self.dag_id, self.run_id)

    def _write(self, statement: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self._site.home.database("airflow"), timeout=60)) as database, database:
            return database.execute(statement, values).fetchall()


def _text(moment: datetime) -> str:
    """Give a time as Airflow keeps it in SQLite."""
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")
