"""Check the store for what is incomplete, altered or orphaned, or remove what nothing refers to.

    python -m tasks.store.check --store <folder> [--clean [--really]] [--keep-days 30]

The check prints a line for everything that it finds: kind, path, what it means, what to do. The
clean-up prints what it would remove, and removes it with `--really`.

Referred to are imported plates, which stay for ever; models registered in MLflow; what receipts of DAG
runs of the last days name; and all that these were made from. Without MLFLOW_TRACKING_URI all models
in the store count as registered, and while there are any, nothing is removed.

Exit status: 0 nothing found or cleaned up, 1 something found, 2 can't be done: a line says why.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tasks import locks, tracking
from tasks.contract import ServiceError, inputs_of, lock_of, partial_of, remove_result
from tasks.file_hashes import FILE_HASHES, read_hashes
from tasks.files import sha256_of
from tasks.nuclei.errors import InputError
from tasks.store.contents import DAY_S, RECORDS, Contents, look_into, result_folder, unreferenced
from tasks.store.registered_model import REGISTERED_MODEL

DONE, FOUND, IMPOSSIBLE = 0, 1, 2

MODELS = "register_model/"
BYTECODE = "__pycache__"
"""Python writes it into the code of a model that is loaded from the store."""
PROGRESS_EVERY_S = 15.0
MAKE_AGAIN = "remove its result from the store and run the task again, or put it back from a copy"
CLEAN_UP = "clean up (make clean-store)"

log = logging.getLogger("nucleus")


@dataclass(frozen=True)
class Finding:
    kind: Literal["incomplete", "altered", "orphaned"]
    path: str
    """Relative to the store; of a registered model its address in MLflow, of a link in results/ relative to that."""
    meaning: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.kind:<10}  {self.path}: {self.meaning}; {self.remedy}."


@dataclass(frozen=True)
class Removal:
    path: Path
    reason: str


def registered_models(contents: Contents) -> dict[str, str]:
    """Give the names of registered results by the models' addresses; without MLflow, of all models of the store."""
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        return {name: name for name in contents.results if name.startswith(MODELS)}
    models = [model for model in tracking.all_models() if "key" in model.tags]
    return {f"models:/{REGISTERED_MODEL}/{model.version}": model.path for model in models}


def check(contents: Contents, models: Mapping[str, str], keep_days: float) -> Iterator[Finding]:
    """Give all findings; reads every file of every result."""
    yield from _unfinished(contents)
    yield from _missing_inputs(contents, models)
    yield from _names_of_nothing(contents)
    for name in unreferenced(contents, models, keep_days):
        yield Finding("orphaned", name, "nothing refers to it", CLEAN_UP)
    yield from _wrong_files(contents)
    yield from _altered_files(contents)


def _unfinished(contents: Contents) -> Iterator[Finding]:
    for partial in contents.partials:
        remedy = "run the task again: it resumes from here" if _holds_checkpoint(partial) else CLEAN_UP
        yield Finding("incomplete", contents.name(partial), "its task ended before it was done", remedy)
    for name in contents.unreadable:
        yield Finding("incomplete", name, "it has no readable result.json", MAKE_AGAIN)
    for path in contents.half_written:
        yield Finding("incomplete", contents.name(path), "its writer was killed", CLEAN_UP)
    for receipt in contents.receipts:
        if receipt.result is None:
            remedy = "clear its task in Airflow to have it written again"
            yield Finding("incomplete", contents.name(receipt.path), "it can't be read", remedy)


def _missing_inputs(contents: Contents, models: Mapping[str, str]) -> Iterator[Finding]:
    for name, result in contents.results.items():
        for needed in inputs_of(result):
            if not contents.holds(needed):
                meaning = f"it was made from {needed}, which isn't in the store"
                yield Finding("orphaned", name, meaning, f"put {needed} back, or make it again with the same params")
    for address, name in models.items():
        if not contents.holds(name):
            remedy = f"put {name} back, make it again with the same params, or delete this version in MLflow"
            yield Finding("orphaned", address, f"its result {name} isn't in the store", remedy)
    for receipt in contents.receipts:
        if receipt.result and not contents.holds(receipt.result):
            remedy = f"clear its task in Airflow to have it made again, or {CLEAN_UP}"
            yield Finding("orphaned", contents.name(receipt.path), f"{receipt.result} isn't in the store", remedy)


def _names_of_nothing(contents: Contents) -> Iterator[Finding]:
    for path in contents.named:
        if not path.exists():
            name = path.relative_to(contents.store.parent).as_posix()
            remedy = "segment the plate again with this model, or remove the link"
            yield Finding("orphaned", name, f"it leads to {path.readlink()}, which isn't there", remedy)


def _wrong_files(contents: Contents) -> Iterator[Finding]:
    """Files that should be there and those that shouldn't, whatever is in them."""
    for name, result in contents.results.items():
        folder = contents.store / name
        if f"{result.task}/{result.key}" != name:
            yield Finding("altered", name, f"its result.json is that of {result.task}/{result.key}", MAKE_AGAIN)
        hashes = read_hashes(folder)
        if hashes is None:
            yield Finding("incomplete", name, f"it has no readable {FILE_HASHES}", MAKE_AGAIN)
            continue
        outputs = {path for path in result.outputs.values() if path.startswith(f"{name}/")}
        for expected in sorted({f"{name}/{file}" for file in hashes} | outputs):
            if not contents.holds(expected):
                yield Finding("incomplete", expected, "it is missing", MAKE_AGAIN)
        known = {folder / file for file in (*hashes, FILE_HASHES)}
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path not in known and BYTECODE not in path.parts:
                yield Finding("altered", contents.name(path), "it came after its result was done", "take it away")


def _altered_files(contents: Contents) -> Iterator[Finding]:
    hashes = {
        contents.store / name / file: sha256
        for name in contents.results
        for file, sha256 in (read_hashes(contents.store / name) or {}).items()
    }
    sizes = {path: path.stat().st_size for path in hashes if path.is_file()}
    read_bytes, reported = 0, time.monotonic()
    for path, size in sizes.items():
        if sha256_of(path) != hashes[path]:
            yield Finding("altered", contents.name(path), "it isn't what its task wrote", MAKE_AGAIN)
        read_bytes += size
        if time.monotonic() - reported > PROGRESS_EVERY_S:
            reported = time.monotonic()
            log.info("%.1f of %.1f GB read", read_bytes / 1e9, sum(sizes.values()) / 1e9)


def removals(contents: Contents, models: Mapping[str, str], keep_days: float) -> Iterator[Removal]:
    """Give what nothing refers to, except what lies behind a link that leads out of the store."""
    store = contents.store.resolve()
    for removal in _without_use(contents, models, keep_days):
        if removal.path.resolve().is_relative_to(store):
            yield removal


def _without_use(contents: Contents, models: Mapping[str, str], keep_days: float) -> Iterator[Removal]:
    for partial in contents.partials:
        is_old = _changed_at(partial) < contents.looked_at - keep_days * DAY_S
        if is_old or not _holds_checkpoint(partial):
            yield Removal(partial, "its task ended before it was done")
    for name in unreferenced(contents, models, keep_days):
        yield Removal(contents.store / name, "nothing refers to it")
    for receipt in contents.receipts:
        if receipt.age_days > keep_days:
            yield Removal(receipt.path, f"receipt of {receipt.age_days:.0f} days ago")
        elif receipt.result and not contents.holds(receipt.result):
            yield Removal(receipt.path, "receipt of a result that isn't in the store")
    for path in contents.half_written:
        yield Removal(path, "its writer was killed")


def _holds_checkpoint(partial: Path) -> bool:
    return any(path.is_file() for path in (partial / "checkpoint").rglob("*"))


def _changed_at(path: Path) -> float:
    """Time of the last change of a file, or in a folder."""
    return max(changed.lstat().st_mtime for changed in [path, *path.rglob("*")])


def refuse_if_unsure(contents: Contents) -> None:
    """InputError when it can't be known what is referred to."""
    if contents.unreadable:
        raise InputError(
            f"{', '.join(contents.unreadable[:10])}: no readable result.json, which says what it was made from; "
            f"{MAKE_AGAIN}, then clean up."
        )
    if not os.environ.get("MLFLOW_TRACKING_URI") and any(name.startswith(MODELS) for name in contents.results):
        raise InputError(
            "MLFLOW_TRACKING_URI isn't set, and only MLflow knows the registered models; set it, then clean up."
        )


def clean(contents: Contents, unused: Iterable[Removal], really: bool) -> None:
    """Print what nothing refers to, with its size; remove it if `really`."""
    total = 0
    for removal in unused:
        size = _size(removal.path)
        if really and not _remove(removal.path, contents):
            print(f"stays: {contents.name(removal.path)}, since a task works with it", flush=True)
            continue
        total += size
        print(f"{size / 1e6:10.1f} MB  {contents.name(removal.path)}: {removal.reason}", flush=True)
    print(f"{total / 1e6:10.1f} MB  {'removed' if really else 'could be removed, and nothing was'}")


def _size(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    return sum(file.lstat().st_size for file in [path, *path.rglob("*")] if not file.is_dir())


def _remove(path: Path, contents: Contents) -> bool:
    """Remove a record, or a result's folder or partial folder; False if a task works with it or did meanwhile."""
    if contents.name(path).split("/")[0] in RECORDS:
        return _remove_record(path, contents)
    folder = result_folder(path)
    try:
        with locks.held_at_once(lock_of(folder)):
            if not path.exists() or _changed_at(path) > contents.looked_at:
                return False
            if partial_of(folder).exists():
                shutil.rmtree(partial_of(folder))
            if path == folder:
                remove_result(folder)
    except locks.IsHeld:
        return False
    return True


def _remove_record(path: Path, contents: Contents) -> bool:
    if not path.exists() or _changed_at(path) > contents.looked_at:
        return False
    path.unlink()
    _remove_empty_folders(path.parent, contents.store)
    return True


def _remove_empty_folders(folder: Path, store: Path) -> None:
    with suppress(OSError):  # One that isn't empty stays.
        while folder.parent != store:
            folder.rmdir()
            folder = folder.parent


def main(argv: list[str] | None = None) -> int:
    args = _parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        if not args.store.is_dir():
            raise InputError(f"{args.store} is no folder; give the one that holds all results.")
        contents = look_into(args.store)
        models = registered_models(contents)
        if args.clean:
            refuse_if_unsure(contents)
            clean(contents, removals(contents, models, args.keep_days), args.really)
            return DONE
        return _report(contents, check(contents, models, args.keep_days))
    except (InputError, ServiceError, OSError) as error:
        log.error("store_check: %s", error)
        return IMPOSSIBLE


def _report(contents: Contents, findings: Iterable[Finding]) -> int:
    amount = 0
    for finding in findings:
        amount += 1
        print(finding, flush=True)
    print(f"{len(contents.results)} results and {len(contents.receipts)} receipts: {amount or 'nothing'} found")
    return FOUND if amount else DONE


def _parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.store.check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", required=True, type=Path, help="folder that holds all results")
    parser.add_argument("--clean", action="store_true", help="list what nothing refers to, with sizes")
    parser.add_argument("--really", action="store_true", help="with --clean: remove it")
    parser.add_argument("--keep-days", type=float, default=30, help="how long receipts count; default 30")
    args = parser.parse_args(argv)
    if args.really and not args.clean:
        parser.error("--really goes with --clean")
    if args.keep_days < 0:
        parser.error(f"--keep-days is {args.keep_days:g}; allowed are 0 and more")
    return args


if __name__ == "__main__":
    sys.exit(main())
