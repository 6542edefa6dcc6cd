"""Aliases of the registered model: found, moved with a reason, and not moved when something came between."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tasks import tracking
from tasks.contract import NothingToDo, Result, execute
from tasks.methods.external import train as train_external
from tasks.methods.fpn2_ws.method import Settings
from tasks.nuclei.errors import InputError
from tasks.steps import find_model, promote_model, reject_model
from tasks.store.registered_model import REGISTERED_MODEL
from tests.stored_results import add_model, register, store_result
from tests.tracked import track_in


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with three registered versions, of the keys 1…, 2… and 3…."""
    track_in(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    for number in "123":
        monkeypatch.setenv("MLFLOW_RUN_ID", tracking.open_run("e", f"run {number}", "name"))
        register(tmp_path / "store", add_model(tmp_path / "store", number * 16, ["ingest/plate@0123456789ab"]))
    monkeypatch.delenv("MLFLOW_RUN_ID")
    return tmp_path / "store"


def promote(store: Path, version: int, dag_run_id: str, **params: object) -> Result:
    settings = {"version": version, "reason": "better on U2OS", "dag_run_id": dag_run_id} | params
    return execute(promote_model.TASK, promote_model.Params.model_validate(settings), store)


def find(store: Path, model: str, dag_run_id: str = "asks", **params: object) -> Result:
    settings = {"model": model, "dag_run_id": dag_run_id} | params
    return execute(find_model.TASK, find_model.Params.model_validate(settings), store)


def test_the_champion_is_found_with_its_model_in_the_store(store: Path) -> None:
    promote(store, 2, "first")
    found = find(store, "champion")
    assert found.counts == {"version": 2}
    assert found.outputs == {"model": "register_model/2222222222222222"}


def test_a_model_is_found_with_all_that_segmenting_and_training_another_like_it_need(store: Path) -> None:
    key = "2" * 16
    assert find(store, "2").values["model"] == {
        "version": 2,
        "key": key,
        "method": "fpn2_ws",
        "networks": [f"train_fpn2_ws/{key}"],
        "settings": Settings().model_dump(mode="json"),
        "trainings": [{"rois": f"augment/{key}/rois.h5", "initialisation": "random"}],
        "augmentation": {"plates": ["ingest/plate@0123456789ab"], "scaling": "minmax", "nucleus_px": None},
    }


def test_a_model_whose_rois_the_store_lacks_is_found_without_their_augmentation(store: Path) -> None:
    shutil.rmtree(store / "augment" / ("2" * 16))
    found = find(store, "2").values["model"]
    assert (found["augmentation"], found["version"]) == (None, 2)


def test_a_model_that_came_with_the_pipeline_is_found_with_how_it_sees_fields(store: Path) -> None:
    network = store / "train_fpn2_ws" / ("2" * 16)
    store_result(store, f"train_fpn2_ws/{'2' * 16}", {"rois": None, "initialisation": "base", "cycles": 0})
    (network / "network.json").write_text(
        json.dumps({"method": "fpn2_ws", "zoom": 1.5, "scaling": "robust", "nucleus_px": 28})
    )
    found = find(store, "2").values["model"]
    assert found["augmentation"] == {"zoom": 1.5, "scaling": "robust", "nucleus_px": 28}
    assert found["trainings"] == [{"rois": None, "initialisation": "base", "cycles": 0}]


def test_a_model_of_an_earlier_version_of_the_pipeline_is_found_in_the_words_of_today(store: Path) -> None:
    """The settings of all methods stood among the params, and a tool was called a program."""
    key = "3" * 16
    flat = {"marker_threshold": 0.5, "min_area_px": 9, "networks": [f"train_external/{key}"]}
    training = {"rois": f"augment/{key}/rois.h5", "program": "mine", "segment": ["run"], "train": None}
    store_result(store, f"train_external/{key}", training | {"initialisation": "published", "random_seed": 0})
    content = {"program": "mine", "segment": ["run"], "method": "external"}
    (store / "train_external" / key / "network.json").write_text(json.dumps(content))
    store_result(store, f"register_model/{key}", flat)
    found = find(store, "3").values["model"]
    settings: dict[str, Any] = {"min_area_px": 9, "max_area_px": None, "for_cell_lines": {}}
    assert (found["method"], found["settings"]) == ("external", settings)
    (of_today,) = found["trainings"]
    expected = {"rois": training["rois"], "tool": "mine", "initialisation": "pretrained", "random_seed": 0}
    assert of_today == expected
    assert train_external.Params.model_validate(of_today)


def test_a_version_whose_model_the_store_lacks_is_not_promoted(store: Path) -> None:
    shutil.rmtree(store / "register_model" / ("2" * 16))
    with pytest.raises(InputError, match="lacks the model of version 2, so nothing could be segmented with it"):
        promote(store, 2, "first")
    assert tracking.find_model("champion") is None


def test_a_dag_run_keeps_the_champion_that_it_began_with(store: Path) -> None:
    promote(store, 1, "first")
    assert find(store, "champion", "retraining").counts == {"version": 1}
    promote(store, 2, "second")
    assert find(store, "champion", "retraining").counts == {"version": 1}
    assert find(store, "champion", "the next one").counts == {"version": 2}


def test_a_champion_that_lacks_is_named_or_may_lack(store: Path) -> None:
    with pytest.raises(InputError, match="no champion of nucleus-segmenter"):
        find(store, "champion")
    lacking = find(store, "champion", may_lack=True)
    assert (lacking.outputs, lacking.counts, lacking.values) == ({}, {}, {"model": None})


def test_without_any_registered_model_there_is_no_champion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    track_in(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    assert tracking.find_model("champion") is None
    assert tracking.find_model("1") is None


def test_a_version_whose_model_the_store_lacks_is_refused(store: Path) -> None:
    (store / "register_model" / ("3" * 16) / "result.json").unlink()
    with pytest.raises(InputError, match="use the store that it was trained in"):
        find(store, "3")


def test_the_version_keeps_why_it_was_promoted_and_what_was_before(store: Path) -> None:
    promote(store, 1, "first")
    result = promote(store, 3, "second", reason="rolled back: merges on plate 7")
    assert result.counts == {"version": 3, "version_before": 1}
    tags = MlflowClient().get_model_version(REGISTERED_MODEL, "3").tags
    (why,) = (value for name, value in tags.items() if name.startswith("promotion/"))
    assert why == "champion in place of version 1: rolled back: merges on plate 7 (DAG run second)"


def test_a_retry_of_a_promotion_does_not_take_back_a_later_one(store: Path) -> None:
    promote(store, 1, "first")
    promote(store, 2, "second")
    assert promote(store, 1, "first").reused
    assert find(store, "champion").counts == {"version": 2}


def test_a_challenger_judged_against_an_earlier_champion_is_refused(store: Path) -> None:
    promote(store, 1, "first")
    promote(store, 2, "by hand")
    with pytest.raises(InputError, match="judged against version 1, but meanwhile version 2 is champion"):
        promote(store, 3, "retraining", judged_against=1)
    assert find(store, "champion").counts == {"version": 2}


def test_a_promotion_that_broke_off_before_its_result_was_stored_is_done_again(store: Path) -> None:
    promote(store, 1, "first")
    tracking.set_alias("champion", 2, {})
    assert promote(store, 2, "retraining", judged_against=1).counts["version"] == 2


def test_an_unknown_version_and_a_missing_reason_are_refused(store: Path) -> None:
    with pytest.raises(InputError, match="has no version 9"):
        promote(store, 9, "first")
    text = json.dumps({"version": 1, "reason": "", "dag_run_id": "x"})
    assert promote_model.TASK.main(["--params", text, "--store", str(store)]) == 2


def reject(store: Path, version: int) -> Result:
    params = {"version": version, "reason": "eva rejected it: it splits mitoses", "dag_run_id": "retraining"}
    return execute(reject_model.TASK, reject_model.Params.model_validate(params), store)


def test_a_rejected_version_keeps_the_reason_and_is_the_challenger_no_longer(store: Path) -> None:
    promote(store, 2, "retraining", alias="challenger")
    assert reject(store, 2).counts == {"version": 2}
    tags = MlflowClient().get_model_version(REGISTERED_MODEL, "2").tags
    (why,) = (value for name, value in tags.items() if name.startswith("rejection/"))
    assert why == "eva rejected it: it splits mitoses (DAG run retraining)"
    assert tracking.find_model("challenger") is None


def test_a_rejection_leaves_another_challenger_where_it_is(store: Path) -> None:
    promote(store, 3, "the next one", alias="challenger")
    reject(store, 2)
    assert tracking.aliases() == {"challenger": 3}
    with pytest.raises(InputError, match="has no version 9"):
        reject(store, 9)


def promote_first(store: Path, mlflow_run: str) -> Result:
    params = {"mlflow_run": mlflow_run, "reason": "the first model", "dag_run_id": "train", "only_first": True}
    return execute(promote_model.TASK, promote_model.Params.model_validate(params), store)


def test_the_first_model_of_an_installation_becomes_champion_and_no_later_one(store: Path) -> None:
    runs = {version.version: version.mlflow_run_id for version in tracking.all_models()}
    assert promote_first(store, runs[2]).counts == {"version": 2, "version_before": 0}
    with pytest.raises(NothingToDo, match="Version 2 is champion already"):
        promote_first(store, runs[3])
    assert tracking.aliases() == {"champion": 2}


def test_a_version_is_named_by_its_number_or_by_its_run_but_not_by_both(store: Path) -> None:
    for named in ({}, {"version": 1, "mlflow_run": "a" * 32}):
        params = named | {"reason": "the first model", "dag_run_id": "train"}
        with pytest.raises(ValueError, match="give either version or mlflow_run"):
            promote_model.Params.model_validate(params)
    with pytest.raises(InputError, match="has no version of the MLflow run aaa"):
        promote_first(store, "a" * 32)


def test_a_version_that_misses_too_many_nuclei_is_promoted_with_a_warning(store: Path) -> None:
    client = MlflowClient()
    client.set_model_version_tag(REGISTERED_MODEL, "2", "fn_rate/all", "0.6200")
    client.set_model_version_tag(REGISTERED_MODEL, "3", "fn_rate/all", "0.0500")
    client.set_model_version_tag(REGISTERED_MODEL, "1", "fn_rate/all", "changed by hand")
    said = "🔴 The model misses 62 % of the nuclei of its test plates."
    assert promote(store, 2, "first").values == {"warning": said}
    assert find(store, "2").values["warning"] == said
    assert promote(store, 3, "second").values == {"warning": ""}
    assert find(store, "1").values["warning"] == ""
