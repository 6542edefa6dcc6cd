"""The one contract between DAGs and tasks: params in, result.json out, exit codes, the store.

Every task is a module with a `TASK`, started the same way as a local process or as a pod:

    python -m <module> --params '<JSON>' | @<file> --store <folder> [--result <file>]

The store is a folder. A task's output lies in `<store>/<task>/<key>/`; the key is a hash of the
task's name, version and params, so it stands for the whole history of the result. The output is
written beside and renamed when complete: a folder that exists is complete, with `result.json` and
the SHA-256 of every file in `files.json`. Asked again for the same, a task answers with the stored
result. `tasks.store.check` looks after the store. `tasks.manifest` writes down what tasks say of themselves.
"""

from __future__ import annotations

import argparse
import dataclasses
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import pydantic

from tasks import libraries, locks, usage
from tasks.file_hashes import lost_file, write_hashes
from tasks.files import make_folder, move, seal, sha256_once, text_of_argument, written_whole
from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside

DONE, FAILED, BAD_INPUT, NOTHING_TO_DO = 0, 1, 2, 99

STORAGE_IS_AWAY = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EREMOTEIO, errno.EHOSTDOWN)
"""What a network storage that doesn't answer for a while gives."""

TERMINATION_MESSAGE, MOST_TERMINATION_MESSAGE = Path("/dev/termination-log"), 4096
"""In a pod, the file that the kubelet takes a container's last words from, and how many bytes of it."""

RESULT_PATH = re.compile(r"(\w+/(?:[0-9a-f]{16}|[^/]+@[0-9a-f]{12}))(?:/.*)?")
"""A path relative to the store; the group is `<task>/<key>`. Other texts, as a name with a slash, don't match."""

TRAINING, PROCESSING, LIGHT = "training", "processing", "light"

log = logging.getLogger("nucleus")


class NothingToDo(Exception):
    """Raised by a task that finds no work; Airflow shows the task as skipped."""


class ServiceError(RuntimeError):
    """A server that the task needs doesn't answer; running the task again later may succeed."""


@dataclass(frozen=True)
class Resources:
    """What a task needs of a machine. CPU and memory are what a pod asks for; a local process takes what it finds."""

    kind: str = LIGHT
    """TRAINING, PROCESSING or LIGHT: how many run side by side, how long one may take, who gives way to whom."""
    container_image: Literal["cpu", "gpu"] = "cpu"
    cpu: int = 1
    """Cores."""
    memory_gib: float = 2
    gpu: int = 0
    """GPUs of one pod, where the cluster has any; a training shares its work among them."""


class TaskParams(pydantic.BaseModel):
    """Base of every task's `Params`: frozen, unknown keys refused."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def in_store(store: Path, path: str) -> Path:
    """Give what a path names in the store; InputError if it isn't there or leads out of the store."""
    resolved = inside(store, path)
    if not resolved.exists():
        raise InputError(f"{path} is not in the store {store}; run the task that makes it first.")
    return resolved


@dataclass(frozen=True)
class Workspace:
    """Where a running task reads and writes."""

    store: Path
    key: str
    output_dir: Path
    """Empty at the start; becomes `<store>/<task>/<key>/` when the task is done."""
    checkpoint_dir: Path
    """Survives a crash of the task, for the next attempt at the same params; removed when done."""

    def input(self, path: str) -> Path:
        """Resolve an output of an earlier task, given relative to the store."""
        return in_store(self.store, path)


@dataclass(frozen=True)
class Outcome:
    """What a task's `run` hands back; the contract makes a `Result` of it."""

    outputs: dict[str, str]
    """Names of files and folders, relative to the output folder ("." is the folder itself)."""
    metrics: dict[str, float]
    counts: dict[str, int]
    machine: dict[str, str] = dataclasses.field(default_factory=dict)
    """What the result depends on besides the params, such as the GPUs."""
    mlflow_run_id: str | None = None
    """Set only by the task that opens the MLflow run."""
    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Small JSON that later steps or the DAG go by."""


class Result(pydantic.BaseModel):
    """Content of `result.json`."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    task: str
    key: str
    version: int
    params: dict[str, Any]
    outputs: dict[str, str]
    """Paths relative to the store."""
    metrics: dict[str, pydantic.FiniteFloat]
    """JSON has no word for NaN: what can't be measured is left out."""
    counts: dict[str, int]
    libraries: dict[str, str]
    machine: dict[str, str] = {}
    seconds: float
    """Time of the computation, also when the result is reused."""
    usage: dict[str, float] = {}
    """cpu_seconds and peak_memory_bytes, as `tasks.usage` has them; empty in results of before they were measured."""
    reused: bool = False
    mlflow_run_id: str | None = None
    values: dict[str, Any] = {}


P = TypeVar("P", bound=TaskParams)


@dataclass(frozen=True)
class Task(Generic[P]):
    """A step of the work. Raise `version` when the same params give another result than before."""

    name: str
    version: int
    params_type: type[P]
    run: Callable[[P, Workspace], Outcome]
    key: Callable[[P], str] | None = None
    """Replaces the hash, for a task whose input lies outside the store."""
    depends_on: Callable[[P, Path], Sequence[Path | str]] | None = None
    """What the result depends on besides, for (params, store): files or folders, whose content is part of the hash,
    and texts."""
    log: Callable[[P, Result, Path], None] | None = None
    """Logs a result, fresh or reused, to MLflow: (params, result, store)."""
    resources: Resources = Resources()
    attempt: Callable[[P, Path], AbstractContextManager[None]] | None = None
    """What surrounds an attempt from the command line, for (params, store); it may refuse to begin another one."""

    @property
    def module(self) -> str:
        """Where it is started: `python -m <module>`."""
        spec = sys.modules[self.params_type.__module__].__spec__
        return spec.name if spec else self.params_type.__module__

    def output_key(self, params: P, store: Path) -> str:
        if self.key is not None:
            return self.key(params)
        known = [self.name, self.version, params.model_dump(mode="json")]
        if self.depends_on is not None:
            known += [sha256_once(x) if isinstance(x, Path) else x for x in self.depends_on(params, store)]
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]

    def main(self, argv: list[str] | None = None) -> int:
        """Run from the command line; returns the exit status."""
        args = _parse_args(self, argv)
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
        try:
            params = parse_params(self.params_type, text_of_argument(args.params))
            with self.attempt(params, args.store) if self.attempt else nullcontext():
                result = execute(self, params, args.store, args.result)
        except NothingToDo as reason:
            log.info("%s: nothing to do: %s", self.name, reason)
            return NOTHING_TO_DO
        except InputError as error:
            log.error("%s: %s", self.name, error)
            _tell_kubelet(f"{self.name}: {error}")
            return BAD_INPUT
        except ServiceError as error:
            log.error("%s: %s", self.name, error)
            return FAILED
        except OSError as error:
            if (remedy := _remedy(error, args.store)) is None:
                raise
            log.error("%s: %s", self.name, remedy)
            return FAILED
        log.info("%s: %s %s", self.name, "reused" if result.reused else f"done in {result.seconds:.1f} s:", result.key)
        return DONE


def _tell_kubelet(message: str) -> None:
    """In a pod, leave the beginning of the message for the kubelet: of the log it would take the last 2 KiB."""
    if TERMINATION_MESSAGE.exists():
        TERMINATION_MESSAGE.write_bytes(message.encode()[:MOST_TERMINATION_MESSAGE])


def _remedy(error: OSError, store: Path) -> str | None:
    """What to do about a disk or a mount that doesn't let a task work; None of other errors."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left in the store {store}; free some and run the task again."
    where = error.filename or f"something in {store}"  # Not every error names its file.
    if error.errno in (errno.EROFS, errno.EACCES):
        who = f"user {os.getuid()} may not use it ({error.strerror})"
        return f"{where}: {who}; correct its rights or its mount and run the task again."
    if error.errno in STORAGE_IS_AWAY:
        return f"{where}: its storage doesn't answer ({error.strerror}); run the task again when it does."
    return None


def parse_params(params_type: type[P], text: str) -> P:
    """Validate the JSON text of a task's params; the error names field, value and what is allowed."""
    try:
        return params_type.model_validate_json(text)
    except pydantic.ValidationError as error:
        raise InputError("; ".join(describe(problem, params_type) for problem in error.errors())) from None


def execute(task: Task[P], params: P, store: Path, receipt: Path | None = None) -> Result:
    """Give the stored result for `params`, or run the task and store it; then log it and write the receipt.

    All of it under the key's lock: what nobody holds is whole, and has its receipt.
    """
    key = task.output_key(params, store)
    folder = store / task.name / key
    make_folder(folder.parent)
    with locks.held(lock_of(folder)):
        stored = _stored_result(folder)
        if stored is not None:
            # A task with a key of its own may be asked by other params for the same, such as another folder.
            result = stored.model_copy(update={"reused": True, "params": params.model_dump(mode="json")})
            os.utime(folder)  # Tells a clean-up that looked before that it is in use again.
        else:
            result = _compute(task, params, key, store)
        shutil.rmtree(partial_of(folder), ignore_errors=True)
        if "MLFLOW_RUN_ID" in os.environ:
            result = result.model_copy(update={"mlflow_run_id": os.environ["MLFLOW_RUN_ID"]})
        if task.log is not None:
            task.log(params, result, store)
        if receipt is not None:
            _write_result(receipt, result)
    return result


def lock_of(folder: Path) -> Path:
    """Give the file that whoever makes, shows or removes a result locks."""
    return folder.with_name(f".{folder.name}.lock")


def partial_of(folder: Path) -> Path:
    """Give the folder of a result that isn't complete: `output/` and `checkpoint/`."""
    return folder.with_name(f".{folder.name}.partial")


def read_result(folder: Path) -> Result:
    """Read the `result.json` of a stored output folder; InputError for one that can't be read."""
    path = folder / "result.json"
    try:
        return Result.model_validate_json(path.read_text())
    except ValueError:
        raise InputError(
            f"{path} is damaged or of a later version of the pipeline; run {folder.parent.name} with the same params, "
            "which makes a damaged result anew."
        ) from None


def _stored_result(folder: Path) -> Result | None:
    """Give what is stored; a result that has lost files is taken away, with a warning, and made anew."""
    if not folder.exists():
        return None
    lost = lost_file(folder)
    if lost is None:
        return read_result(folder)
    log.warning("%s: %s is missing or damaged, maybe since the power went; the result is made anew", folder, lost)
    remove_result(folder)
    return None


def remove_result(folder: Path) -> None:
    """Remove a stored result; it becomes a partial folder first, so that a kill leaves no half result."""
    partial = partial_of(folder)
    shutil.rmtree(partial / "output", ignore_errors=True)
    partial.mkdir(exist_ok=True)
    move(folder, partial / "output")
    shutil.rmtree(partial)


def inputs_of(result: Result) -> list[str]:
    """Give the other results that params and outputs name, as `<task>/<key>`."""
    paths = [RESULT_PATH.fullmatch(text) for text in _texts([result.params, result.outputs])]
    return [path[1] for path in paths if path and path[1] != f"{result.task}/{result.key}"]


def _texts(value: Any) -> Iterator[str]:
    """Give all texts in lists and in the values of dicts, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def _compute(task: Task[P], params: P, key: str, store: Path) -> Result:
    partial = partial_of(store / task.name / key)
    workspace = Workspace(store, key, partial / "output", partial / "checkpoint")
    shutil.rmtree(workspace.output_dir, ignore_errors=True)
    make_folder(workspace.output_dir)
    make_folder(workspace.checkpoint_dir)
    started, cpu_before = time.monotonic(), usage.cpu_seconds()
    try:
        outcome = task.run(params, workspace)
    except BaseException:
        shutil.rmtree(workspace.output_dir, ignore_errors=True)
        with suppress(OSError):  # A checkpoint stays for the next attempt.
            workspace.checkpoint_dir.rmdir()
            partial.rmdir()
        raise
    result = Result(
        task=task.name,
        key=key,
        version=task.version,
        params=params.model_dump(mode="json"),
        outputs={name: os.path.normpath(f"{task.name}/{key}/{path}") for name, path in outcome.outputs.items()},
        metrics=outcome.metrics,
        counts=outcome.counts,
        libraries=libraries.versions(),
        machine=outcome.machine,
        seconds=round(time.monotonic() - started, 3),
        usage=usage.since(cpu_before),
        mlflow_run_id=outcome.mlflow_run_id,
        values=outcome.values,
    )
    _write_result(workspace.output_dir / "result.json", result)
    write_hashes(workspace.output_dir)
    seal(workspace.output_dir, store / task.name / key)
    return result


def _parse_args(task: Task[P], argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m {task.module}",
        description=(sys.modules[task.params_type.__module__].__doc__ or "").strip(),
        epilog="params:\n" + "\n".join(_help_lines(task.params_type)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--params", required=True, help="JSON object with the fields below, or @ and a file with it")
    parser.add_argument("--store", required=True, type=Path, help="folder that holds all results")
    parser.add_argument("--result", type=Path, help="also write result.json to this file")
    return parser.parse_args(argv)


def _help_lines(params_type: type[TaskParams]) -> list[str]:
    lines = []
    for name, field in params_type.model_fields.items():
        default = "required" if field.is_required() else f"default {field.get_default(call_default_factory=True)!r}"
        lines.append(f"  {name} ({default})")
        if field.description:
            lines.append(f"      {' '.join(field.description.split())}")
    return lines


def describe(problem: Any, params_type: type[pydantic.BaseModel]) -> str:
    """Say what is wrong with a param: its name, what came, what is allowed."""
    field = ".".join(str(part) for part in problem["loc"]) or "params"
    if problem["type"] == "extra_forbidden":
        return f"{field}: unknown param; allowed are {', '.join(params_type.model_fields)}"
    if problem["type"] == "missing":
        return f"{field}: required, and not given"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "string_pattern_mismatch" and field in params_type.model_fields:
        # A person reads no regular expressions.
        message = f"allowed is: {' '.join(str(params_type.model_fields[field].description).split()).rstrip('.')}"
    came = "" if field == "settings" else f", got {problem['input']!r:.200}"
    return f"{field}: {message}{came}"


def _write_result(path: Path, result: Result) -> None:
    make_folder(path.parent)
    with written_whole(path) as beside:
        beside.write_text(result.model_dump_json(indent=1))
