"""A small task for the tests of the launcher: it ends in the way that it is told."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

from tasks.contract import NothingToDo, Outcome, Result, Task, TaskParams, Workspace
from tasks.nuclei.errors import InputError


class Params(TaskParams):
    ending: Literal[
        "done", "fault", "bad input", "nothing to do", "killed", "hangs", "hangs on", "stored elsewhere"
    ] = "done"
    plates: tuple[str, ...] = ()
    """Only handed on."""
    pid_file: str = ""
    """Where a hanging task writes its pid and that of a child."""


def run(params: Params, workspace: Workspace) -> Outcome:
    if params.ending == "fault":
        raise RuntimeError("a fault")
    if params.ending == "bad input":
        raise InputError("plate.json: role is missing; add it.")
    if params.ending == "nothing to do":
        raise NothingToDo("no field is left")
    if params.ending == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if params.ending.startswith("hangs"):
        _hang(params)
    (workspace.output_dir / "file").write_text(os.environ.get("MLFLOW_RUN_ID", "no run"))
    return Outcome(outputs={"plate": ".", "file": "file"}, metrics={"f1": 0.5}, counts={}, values={"threshold": 0.25})


def _hang(params: Params) -> None:
    if params.ending == "hangs on":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "600"])
    Path(params.pid_file).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(600)


def log_result(params: Params, result: Result, store: Path) -> None:
    if params.ending == "stored elsewhere":
        shutil.rmtree(store / "probe" / result.key)


TASK = Task(name="probe", version=1, params_type=Params, run=run, log=log_result)

if __name__ == "__main__":
    sys.exit(TASK.main())
