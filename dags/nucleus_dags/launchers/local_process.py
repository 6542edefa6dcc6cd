"""Run tasks as processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk.exceptions import AirflowException

from nucleus_dags.launchers.task_operator import TaskOperator, raise_unless_done

if TYPE_CHECKING:
    from airflow.sdk import Context

REPOSITORY = Path(__file__).resolve().parents[3]
KILL_GRACE_S = 3.0
"""Airflow kills the process that calls `on_kill` five seconds after asking it to end."""


class LocalProcessOperator(TaskOperator):
    """Run a task as a process of this machine, its lines in the log of the task instance."""

    @cached_property
    def _hook(self) -> SubprocessHook:
        return SubprocessHook()

    def run_command(self, params: dict[str, Any], arguments: list[str], context: Context) -> None:
        ended = self._hook.run_command(
            [sys.executable, *arguments], env={**os.environ, **self.variables(context)}, cwd=str(REPOSITORY)
        )
        if ended.exit_code < 0:
            name = signal.Signals(-ended.exit_code).name
            raise AirflowException(f"{self.task} was ended by {name}; its last line: {ended.output}")
        raise_unless_done(self.task, ended.exit_code, ended.output)

    def on_kill(self) -> None:
        process = self._hook.sub_process
        if process is None:
            return
        _signal_group(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(KILL_GRACE_S)
        _signal_group(process.pid, signal.SIGKILL)


def _signal_group(leader_pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader_pid, number)
