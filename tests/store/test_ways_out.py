"""Paths in params, results and tags that lead out of the store are refused by every task."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tasks import tracking
from tasks.contract import BAD_INPUT, Task, Workspace, in_store
from tasks.methods.external import train as train_external
from tasks.methods.method import Method
from tasks.methods.registry import found_methods
from tasks.methods.shared.initial_weights import earlier_network
from tasks.nuclei.errors import InputError
from tasks.steps import receive_annotation
from tasks.store.provenance import holds_model, plate_at, result_of
from tasks.tracking import ModelVersion
from tests.repository import REPOSITORY
from tests.stored_results import add_model, add_plate, store_result

KEY = "0123456789abcdef"
MODEL = {"version": 1, "key": KEY}
WAYS_OUT = ("../outside/evil", "segment/../../outside/evil", "{outside}/evil", "segment/link")

PARAMS: dict[str, dict[str, Any]] = {
    "assemble_plate": {"segmentations": ["OUT"], "model": MODEL},
    "augment": {"plates": ["OUT"]},
    "calibrate": {"method": "fpn2_ws", "networks": ["OUT"]},
    "choose_patches": {"plate": "PLATE", "segmentations": ["OUT", f"segment/{KEY}"]},
    "drift": {"plate": "OUT", "references": ["PLATE"]},
    "find_stored": {
        "dag_run_id": "run",
        "task": "segment",
        "each": [{"method": "fpn2_ws", "networks": ["OUT"]}],
        "across": [{"plate": "PLATE"}],
    },
    "forgetting": {"versions": [{"version": 1, "scores": "OUT"}]},
    "judge": {"champion": "OUT", "challenger": "OUT"},
    "learning_curves": {"scores": ["OUT"]},
    "register_model": {"method": "fpn2_ws", "networks": ["OUT"]},
    "report": {"scores": {"a method": "OUT"}},
    "score": {"segmentations": ["OUT"]},
    "segment": {"method": "fpn2_ws", "networks": ["OUT"], "plate": "PLATE"},
    "send_to_annotation": {"plate": "PLATE", "tool": "cvat", "segmentations": ["OUT"], "target": "annotated"},
    "suffice": {"scores": {"a model": "OUT"}, "dag_run_id": "run"},
    "tabulate": {
        "title": "A matrix",
        "columns": {"model": "Model"},
        "tables": [{"name": "Table 1", "rows": [["A"]], "by": ["model"], "at": [0.7]}],
        "experiments": [{"name": "A", "words": {"model": "A"}, "replicate": 1, "key": KEY, "scores": "OUT"}],
        "plates": ["PLATE"],
    },
}
"""Of the steps that read results of others, with a path that leads out."""
WITHOUT_PATHS = {
    *("close_run", "find_model", "ingest", "inspect_plate", "list_models", "open_run", "promote_model"),
    *("receive_annotation", "reject_model", "synthesize"),
    # Goes by keys alone, into which paths of plates are hashed.
    "find_experiments",
}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store, and beside it a folder with what may pass for any result."""
    store = tmp_path / "store"
    add_plate(store, "plate", "U2OS", {"f1": [1, 0]})
    add_model(store, KEY)
    outside = tmp_path / "outside"
    store_result(outside.parent, "outside/evil", {"networks": [], "plates": [], "segmentations": [], "rois": None})
    (outside / "evil/network.json").write_text(json.dumps({"method": "external", "tool": "theirs"}))
    (store / "segment").mkdir()
    (store / "segment/link").symlink_to(outside / "evil")
    return store


def filled(value: Any, words: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: filled(part, words) for name, part in value.items()}
    if isinstance(value, list):
        return [filled(part, words) for part in value]
    return words.get(value, value) if isinstance(value, str) else value


def step(name: str) -> Task[Any]:
    module = __import__(f"tasks.steps.{name}", fromlist=["TASK"])
    task: Task[Any] = module.TASK
    return task


def in_the_store(path: str, store: Path) -> Path:
    return in_store(store, path)


def call(task: Task[Any], params: dict[str, Any], store: Path) -> int:
    return task.main(["--params", json.dumps(params), "--store", str(store)])


@pytest.mark.parametrize("way_out", WAYS_OUT)
@pytest.mark.parametrize("name", PARAMS)
def test_no_step_follows_a_path_that_leads_out_of_the_store(
    store: Path, name: str, way_out: str, caplog: pytest.LogCaptureFixture
) -> None:
    words = {"OUT": way_out.format(outside=store.parent / "outside"), "PLATE": "ingest/plate@0123456789ab"}
    assert call(step(name), filled(PARAMS[name], words), store) == BAD_INPUT
    assert "leads out of it" in caplog.text


@pytest.mark.parametrize("request_key", ["../../outside/evil", "/outside/evil", "..", ""])
def test_the_request_that_an_annotation_answers_is_no_path(request_key: str) -> None:
    with pytest.raises(ValueError, match="request"):
        receive_annotation.Params(folder="/inbox/answer", request=request_key)


def test_every_step_is_asked_but_those_that_take_no_path_of_the_store() -> None:
    steps = {path.stem for path in (REPOSITORY / "tasks/steps").glob("[a-z]*.py")}
    assert steps - set(PARAMS) == WITHOUT_PATHS


@pytest.mark.parametrize("method", found_methods().values(), ids=lambda method: method.name)
def test_no_training_begins_from_a_network_out_of_the_store(store: Path, method: Method) -> None:
    workspace = Workspace(store, KEY, store / "output", store / "checkpoint")
    with pytest.raises(InputError, match="leads out of it"):
        earlier_network(f"{method.task}/../../outside/evil", method, workspace)


@pytest.mark.parametrize("way_out", WAYS_OUT[:3])
def test_questions_about_the_store_follow_no_path_that_leads_out(store: Path, way_out: str) -> None:
    path = way_out.format(outside=store.parent / "outside")
    for question in (in_the_store, plate_at, result_of):
        with pytest.raises(InputError, match="leads out of it"):
            question(path, store)


def test_a_model_whose_networks_lie_elsewhere_counts_as_missing(store: Path) -> None:
    store_result(store, f"register_model/{KEY}", {"networks": ["../outside/evil"]})
    assert not holds_model(f"register_model/{KEY}", store)


@pytest.mark.parametrize("key", ["../../outside/evil", "/outside/evil", "..", "0123456789ABCDEF", f"{KEY}/..", ""])
def test_a_tag_of_a_model_version_that_is_no_key_is_refused_and_names_the_version(
    store: Path, key: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracking, "find_model", lambda name: ModelVersion(7, "run", {"key": key}))
    for name, params in (
        ("find_model", {"model": "champion", "dag_run_id": "run"}),
        ("promote_model", {"version": 7, "reason": "for a test", "dag_run_id": "run"}),
    ):
        caplog.clear()
        assert call(step(name), params, store) == BAD_INPUT
        assert "version 7 of nucleus-segmenter has the tag key" in caplog.text


def test_versions_whose_tag_is_no_key_are_listed_without_a_model(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "aliases", dict)
    monkeypatch.setattr(tracking, "all_models", lambda: [ModelVersion(7, "run", {"key": "../../outside/evil"})])
    assert call(step("list_models"), {"dag_run_id": "run"}, store) == 0
    [result] = (json.loads(path.read_text()) for path in store.glob("list_models/*/result.json"))
    assert result["values"]["versions"] == [{"version": 7, "aliases": [], "model": None}]


@pytest.mark.parametrize("tool", ["..", ".", "../x", "/x", ""])
def test_the_name_of_a_tool_is_no_path(tool: str) -> None:
    with pytest.raises(ValueError, match="tool"):
        train_external.Params(rois=f"augment/{KEY}/rois.h5", tool=tool)


CHECKED = {"inside.py", "contract.py", "in_store.py"}
"""Where paths are resolved."""
OF_ITS_OWN = {"check.py", "contents.py", "imported_plates.py", "attempts.py", "lineage.py", "known_plates.py"}
"""They go by the names of folders that they list themselves."""
NO_WAY_OUT = {
    "stored.py: store / path": "only what is_key lets pass",
    "store_results.py: store / place": "for a message",
    "train_models.py: store / plate.path": "the folder was listed",
    "mounts.py: store / name": "of a task of the manifest",
    "ingest_plates.py: store / entry['record']": "written by the DAG itself",
    "base_model.py: run.store / path": "of a hash",
    "demo.py: store / f\"{settings['name']}.json\"": "the demo's own plates",
}
"""Why they may join a path with the store."""


def test_nothing_joins_the_store_and_a_path_but_in_the_place_that_checks_it() -> None:
    files = [*(REPOSITORY / "tasks").rglob("*.py"), *(REPOSITORY / "dags").rglob("*.py")]
    joined = {
        f"{file.name}: {found}"
        for file in files
        if file.name not in CHECKED | OF_ITS_OWN
        for found in _joins_with_the_store(ast.parse(file.read_text()))
    }
    assert joined == set(NO_WAY_OUT)


def _joins_with_the_store(tree: ast.AST) -> list[str]:
    joins = [node for node in ast.walk(tree) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)]
    return [
        ast.unparse(node)
        for node in joins
        if ast.unparse(node.left).rpartition(".")[2] == "store"
        and not isinstance(node.right, ast.Constant)
        and not ast.unparse(node.right).isupper()
        # What a task has stored itself.
        and ".outputs[" not in ast.unparse(node.right)
    ]


def test_the_rule_sees_a_path_that_is_joined_with_the_store() -> None:
    assert _joins_with_the_store(ast.parse("a = workspace.store / params.plate / 'x'")) == [
        "workspace.store / params.plate"
    ]
    assert _joins_with_the_store(ast.parse("a = result.store / TASK / 'x', store / 'ingest'")) == []
