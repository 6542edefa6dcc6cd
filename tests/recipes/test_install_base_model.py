"""A new installation gets the model that comes with the pipeline as version 1 and champion; any other gets nothing."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from nucleus_dags.planning.initial_weights import as_it_came
from tasks import tracking
from tasks.contract import execute
from tasks.methods.fpn2_ws.method import BASE
from tasks.methods.fpn2_ws.train import TASK as TRAIN
from tasks.recipes.install_base_model import install, main
from tasks.steps import calibrate, find_model, ingest, register_model, segment
from tasks.store.check import check, registered_models
from tasks.store.contents import look_into
from tasks.store.lineage import lineage_of_model
from tests.steps.ingesting import one_field
from tests.stored_results import add_model, register


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store of a new installation, with an MLflow that has nothing."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "store"


BY_HAND = ("find_model", "segment", "calibrate")
"""Tasks whose results here no DAG run refers to."""
CHAMPION = find_model.Params(model="champion", dag_run_id="asks")


@pytest.mark.slow
def test_a_new_installation_has_it_as_champion_that_segments_and_is_told_of(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert install(store) == "The base model is champion of nucleus-segmenter."
    found = execute(find_model.TASK, CHAMPION, store).values["model"]
    built = json.loads((BASE / "network.json").read_text())
    assert (found["version"], found["trainings"][0]["initialisation"]) == (1, "base")
    assert found["augmentation"] == {name: built.get(name) for name in ("scaling", "zoom", "nucleus_px")}
    assert found["settings"] == json.loads((BASE / "settings.json").read_text())
    it_segments_a_plate(found, store, tmp_path)
    it_is_described_in_mlflow_and_in_its_lineage(store)
    a_training_that_begins_from_it_compares_with_this_very_model(store, monkeypatch)
    of_model = list(check(look_into(store), registered_models(look_into(store)), keep_days=0))
    assert [finding.path for finding in of_model if not finding.path.startswith(BY_HAND)] == []
    again_it_changes_nothing_and_puts_back_what_the_store_lost(store)


def it_segments_a_plate(found: dict, store: Path, tmp_path: Path) -> None:
    folder = str(one_field(tmp_path / "plate"))
    plate = execute(ingest.TASK, ingest.Params(folder=folder), store).outputs["plate"]
    params = {name: found[name] for name in ("method", "networks", "settings")} | {"plate": plate}
    assert execute(segment.TASK, segment.Params.model_validate(params), store).counts["fovs"] == 1


def it_is_described_in_mlflow_and_in_its_lineage(store: Path) -> None:
    version = MlflowClient().get_model_version("nucleus-segmenter", "1")
    run = MlflowClient().get_run(version.run_id or "")
    card = (BASE / "README.md").read_text()
    assert card.startswith(run.data.tags["mlflow.note.content"][:1000])
    assert run.data.tags["base_model"] in card
    assert run.info.status == "FINISHED"
    assert any(name.startswith("promotion/") for name in version.tags)
    lines = "\n".join(lineage_of_model("champion", store))
    assert "no plate of this store: the pipeline came with these weights, base" in lines


def a_training_that_begins_from_it_compares_with_this_very_model(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `train_models` does; the model isn't registered again from its MLflow run."""
    candidate = as_it_came("fpn2_ws", [{"target": "all"}], "laptop")
    assert candidate is not None
    (training,) = candidate["trainings"]
    kept = execute(TRAIN, TRAIN.params_type.model_validate(training), store)
    model = {"method": "fpn2_ws", "networks": [kept.outputs["network"]], "settings": candidate["settings"]}
    calibrated = execute(calibrate.TASK, calibrate.Params.model_validate({**model, "search": []}), store)
    with monkeypatch.context() as environment:
        environment.setenv("MLFLOW_RUN_ID", tracking.open_run("experiments", "a training", "name"))
        params = register_model.Params.model_validate({**model, **calibrated.values})
        registered = execute(register_model.TASK, params, store)
    assert (kept.reused, registered.reused) == (True, True)
    assert [version.version for version in tracking.all_models()] == [1]


def again_it_changes_nothing_and_puts_back_what_the_store_lost(store: Path) -> None:
    made = sorted(store.rglob("result.json"))
    install(store)
    assert sorted(store.rglob("result.json")) == made
    shutil.rmtree(store / "register_model")
    install(store)
    assert sorted(store.rglob("result.json")) == made
    (version,) = tracking.all_models()
    assert len([name for name in version.tags if name.startswith("promotion/")]) == 1


def test_an_installation_with_another_version_keeps_its_champion_or_none(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", tracking.open_run("e", "run", "name"))
    register(store, add_model(store, "1" * 16))
    before = {path.name for path in store.iterdir()}
    assert install(store).startswith("nucleus-segmenter has versions already")
    assert tracking.find_model("champion") is None
    assert {path.name for path in store.iterdir()} - before == {".install_base_model.lock"}


def test_without_an_address_of_mlflow_it_says_so_and_without_an_answer_it_may_be_tried_again(
    store: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracking, "all_models", unreachable)
    assert main(["--store", str(store)]) == 1
    assert "MLflow at home doesn't answer" in caplog.text
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert main(["--store", str(store)]) == 2
    assert "MLFLOW_TRACKING_URI isn't set" in caplog.text
    assert "MLFLOW_RUN_ID" not in os.environ


def unreachable() -> list[tracking.ModelVersion]:
    raise tracking.TrackingError("MLflow at home doesn't answer")
