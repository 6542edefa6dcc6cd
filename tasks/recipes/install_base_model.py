"""Make the model that comes with the pipeline version 1 and champion of a new installation.

    python -m tasks.recipes.install_base_model --store <folder>

MLFLOW_TRACKING_URI says where MLflow is. Where there is any other version of the registered model, nothing is done, so
it may be started again and again: every start of the servers does.

Exit status: 0 done or nothing to do, 1 it can't be done and may be tried again, 2 it can't be done.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tasks import locks, tracking
from tasks.contract import BAD_INPUT, DONE, FAILED, ServiceError, Task, execute
from tasks.files import sha256_of
from tasks.methods.method import AsItIs, InitialWeights, Method
from tasks.methods.registry import default_method
from tasks.nuclei.errors import InputError
from tasks.steps import register_model
from tasks.store.provenance import holds_model
from tasks.store.registered_model import REGISTERED_MODEL

EXPERIMENT, INSTALLATION = "base model", "installation"
"""Names of the experiment in MLflow, and of what stands for the DAG run there."""
REASON = "champion in place of none: the model that came with the pipeline"

log = logging.getLogger("nucleus")


def install(store: Path) -> str:
    """Put the model into the store and into MLflow, unless there is another one; gives a sentence on what was done."""
    store.mkdir(parents=True, exist_ok=True)
    with locks.held(store / ".install_base_model.lock"):
        return _install(store)


def _install(store: Path) -> str:
    method = default_method()
    weights, model = base_model_of(method)
    task: Task[Any] = importlib.import_module(method.training).TASK
    training = task.params_type.model_validate(model.training)
    network = f"{task.name}/{task.output_key(training, store)}"
    params = register_model.Params.model_validate(
        {"method": method.name, "networks": [network], "settings": model.settings}
    )
    key = register_model.TASK.output_key(params, store)
    versions = tracking.all_models()
    if any(version.tags.get("key") != key for version in versions):
        return f"{REGISTERED_MODEL} has versions already; the base model isn't installed beside them."
    champion = tracking.find_model("champion")
    if champion is None or not holds_model(champion.path, store):
        with _mlflow_run(weights):
            execute(task, training, store)
            execute(register_model.TASK, params, store)
    if champion is None:
        _promote(tracking.all_models()[0])
    return f"The base model is champion of {REGISTERED_MODEL}."


def base_model_of(method: Method) -> tuple[InitialWeights, AsItIs]:
    """Give the weights that come with a method, and what makes a model of them as they are."""
    return next((weights, weights.as_it_is) for weights in method.initial_weights if weights.as_it_is)


@contextmanager
def _mlflow_run(weights: InitialWeights) -> Iterator[None]:
    """Let what is done meanwhile be logged to the model's MLflow run, which has the model card as its description."""
    assert weights.folder is not None
    run_id = tracking.open_run(EXPERIMENT, INSTALLATION, weights.name)
    with patch.dict(os.environ, {"MLFLOW_RUN_ID": run_id}):
        yield
        run, card = tracking.Run(), weights.folder / "README.md"
        run.set_tags({"base_model": sha256_of(weights.folder / "weights.h5")})
        run.set_note(card.read_text())
        run.log_artifact(card, "card")
    tracking.close_run(run_id, succeeded=True)


def _promote(model: tracking.ModelVersion) -> None:
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    tracking.set_alias("champion", model.version, {f"promotion/{now}": REASON})


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.recipes.install_base_model",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--store", required=True, type=Path, help="folder that holds all results")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        log.error("install_base_model: MLFLOW_TRACKING_URI isn't set; set it to the address of MLflow.")
        return BAD_INPUT
    try:
        log.info("%s", install(args.store))
    except InputError as error:
        log.error("install_base_model: %s", error)
        return BAD_INPUT
    except (ServiceError, OSError) as error:
        log.error("install_base_model: %s", error)
        return FAILED
    return DONE


if __name__ == "__main__":
    sys.exit(main())
