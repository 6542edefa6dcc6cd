"""Models that need no training: by which names they are found, and what is segmented with."""

from pathlib import Path

import pytest

from tasks.contract import execute
from tasks.methods.external import train as train_external
from tasks.methods.registry import default_method
from tasks.nuclei.errors import InputError
from tasks.steps import find_model, segment
from tasks.store.ready_models import ready_model, ready_models
from tests.third_party_tools import make_tool, write_catalogue


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store, a third-party tool `threshold`, and weights of it."""
    write_catalogue(tmp_path / "tools", {"threshold": make_tool(tmp_path / "tools")})
    (tmp_path / "weights" / "threshold").mkdir(parents=True)
    (tmp_path / "weights" / "threshold" / "threshold.txt").write_text("1000")
    monkeypatch.setenv("NUCLEUS_TOOLS", str(tmp_path / "tools"))
    monkeypatch.setenv("NUCLEUS_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "store"


def test_there_are_methods_without_networks_the_base_model_and_the_tools_that_everybody_has() -> None:
    assert [model.name for model in ready_models()] == ["base", "classical", "external:stardist", "external:cellpose"]


def test_the_classical_way_has_no_networks_and_its_usual_settings(store: Path) -> None:
    found = ready_model("classical").described(store)
    assert (found["networks"], found["to_store"], found["settings"]["neck"]) == ([], [], 0.8)


def test_the_base_model_segments_with_its_own_settings(store: Path) -> None:
    found = ready_model("base").described(store)
    (weights,) = (weights for weights in default_method().initial_weights if weights.name == "base")
    assert weights.as_it_is is not None
    assert found["settings"].items() >= weights.as_it_is.settings.items()
    (training,) = found["to_store"]
    assert (training["task"], training["rois"], training["cycles"]) == (default_method().task, None, 0)


def test_the_network_of_a_tool_is_where_its_training_puts_it(store: Path) -> None:
    found = ready_model("external:threshold").described(store)
    (training,) = found["to_store"]
    params = {name: value for name, value in training.items() if name != "task"}
    stored = execute(train_external.TASK, train_external.Params.model_validate(params), store)
    assert found["networks"] == [stored.outputs["network"]]
    assert (store / found["networks"][0] / "model" / "threshold.txt").read_text() == "1000"


def test_a_tool_without_weights_is_refused_before_anything_is_segmented(store: Path) -> None:
    with pytest.raises(InputError, match='initialisation "pretrained" needs the folder stardist with its model'):
        ready_model("external:stardist").described(store)


def test_an_unknown_name_is_refused_with_those_that_there_are(store: Path) -> None:
    with pytest.raises(InputError, match="there is no watershed that needs no training; there are base, classical, "):
        ready_model("watershed")


def test_other_weights_of_a_tool_are_another_model(store: Path) -> None:
    before = ready_model("external:threshold").described(store)["key"]
    (store.parent / "weights" / "threshold" / "threshold.txt").write_text("2000")
    assert ready_model("external:threshold").described(store)["key"] != before


def test_a_model_is_found_by_its_name_where_no_mlflow_is(store: Path) -> None:
    params = find_model.Params(model="classical", dag_run_id="asks")
    found = execute(find_model.TASK, params, store).values["model"]
    assert (found["version"], found["name"], found["method"]) == (None, "classical", "classical")
    made_by = {"name": found["name"], "key": found["key"]}
    model = {name: found[name] for name in ("method", "networks", "settings")}
    named = segment.Params.model_validate({**model, "plate": "plate", "made_by": made_by}).made_by
    assert str(named) == f"classical, {found['key']}"
