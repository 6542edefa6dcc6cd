"""The steps of the work. Each module is one task: `Params`, `run` and `TASK` (see `tasks.contract`)."""
