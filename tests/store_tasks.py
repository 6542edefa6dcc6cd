"""Small tasks that fill a store for the tests; `python -m tests.store_tasks` is the task augment."""

import sys
import time
from pathlib import Path

from tasks.contract import Outcome, Task, TaskParams, Workspace


class Params(TaskParams):
    made_from: tuple[str, ...] = ()
    """Results of the store."""
    text: str = "text"
    """Written to the output."""
    waits_for: str = ""
    """A file outside of the store: until it is there, the task waits with half of its work done."""


def run(params: Params, workspace: Workspace) -> Outcome:
    for path in params.made_from:
        workspace.input(path)
    (workspace.output_dir / "first.txt").write_text(params.text)
    while params.waits_for and not Path(params.waits_for).exists():
        time.sleep(0.05)
    (workspace.output_dir / "second.txt").write_text(params.text)
    return Outcome({"folder": ".", "first": "first.txt"}, {}, {})


AUGMENT, TRAIN_FPN, REGISTER_MODEL = (Task(name, 1, Params, run) for name in ("augment", "train_fpn", "register_model"))

if __name__ == "__main__":
    sys.exit(AUGMENT.main())
