"""What tasks and methods say of themselves, for the DAGs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.contract import BAD_INPUT, DONE, FAILED
from tasks.manifest import MANIFEST, main
from tasks.methods import registry
from tasks.methods.fpn2_ws.method import METHOD as FPN2_WS
from tasks.methods.registry import found_methods
from tests.repository import REPOSITORY


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(MANIFEST.read_text())
    return content


def test_the_manifest_that_the_dags_read_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == DONE, "run python -m tasks.manifest"
    assert capsys.readouterr().out.endswith("manifest.json is current.\n")


def test_a_manifest_that_is_not_current_or_not_there_is_told_and_stays_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "manifest.json"
    assert main(["--check", "--output", str(file)]) == FAILED
    assert not file.exists()
    file.write_text(MANIFEST.read_text().replace("fpn2_ws", "u_net"))
    before = file.read_text()
    assert main(["--check", "--output", str(file)]) == FAILED
    assert capsys.readouterr().out.count("manifest.json is not current; run python -m tasks.manifest.") == 2
    assert file.read_text() == before


def test_a_manifest_that_is_written_is_current(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--output", str(tmp_path / "manifest.json")]
    assert main(arguments) == DONE
    assert f"methods {', '.join(found_methods())}\n" in capsys.readouterr().out
    assert main([*arguments, "--check"]) == DONE


def test_a_method_that_cannot_be_loaded_is_named_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "_declared", lambda: [("broken", "no.such.module:METHOD")])
    found_methods.cache_clear()
    try:
        assert main(["--output", str(tmp_path / "manifest.json")]) == BAD_INPUT
    finally:
        found_methods.cache_clear()
    assert "The method no.such.module:METHOD can't be loaded (ModuleNotFoundError" in capsys.readouterr().err
    assert not (tmp_path / "manifest.json").exists()


def test_a_method_of_an_installed_package_is_written_into_another_file_but_not_into_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.manifest.MANIFEST", tmp_path / "of_the_repository.json")
    monkeypatch.syspath_prepend(str(REPOSITORY / "tests/foreign_method"))
    found_methods.cache_clear()
    try:
        assert main([]) == main(["--output", str(tmp_path / "of_all.json")]) == DONE
    finally:
        found_methods.cache_clear()
    of_the_repository, of_all = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("of_the_repository", "of_all")
    )
    assert set(of_all["methods"]) - set(of_the_repository["methods"]) == {"bright_spots"}
    assert set(of_all["tasks"]) - set(of_the_repository["tasks"]) == {"train_bright_spots"}


def test_every_step_and_every_training_is_in_the_manifest_with_its_module(manifest: dict[str, Any]) -> None:
    files = [*REPOSITORY.glob("tasks/steps/*.py"), *REPOSITORY.glob("tasks/methods/*/train.py")]
    tasks = [path.relative_to(REPOSITORY) for path in files if "TASK.main()" in path.read_text()]
    modules = {str(path).removesuffix(".py").replace("/", ".") for path in tasks}
    assert {task["module"] for task in manifest["tasks"].values()} == modules


def test_every_method_is_in_the_manifest_the_default_one_first(manifest: dict[str, Any]) -> None:
    assert set(manifest["methods"]) == {path.parent.name for path in REPOSITORY.glob("tasks/methods/*/train.py")}
    assert next(iter(manifest["methods"])) == manifest["default_method"]
    for method in manifest["methods"].values():
        assert method["task"] in manifest["tasks"]


def test_the_fields_of_a_task_have_their_bounds_defaults_and_texts(manifest: dict[str, Any]) -> None:
    cycles = manifest["tasks"]["train_fpn2_ws"]["params"]["properties"]["cycles"]
    assert cycles == {
        "default": 25,
        "description": "Passes over the training ROIs, which the paper calls cycles.",
        "maximum": 10_000,
        "minimum": 0,
        "title": "Epochs",
        "type": "integer",
    }
    assert manifest["tasks"]["train_fpn2_ws"]["resources"]["gpu"] == 1
    assert "title" not in manifest["tasks"]["train_fpn2_ws"]["params"]["properties"]["rois"]


def test_a_method_has_its_settings_presets_and_initial_weights(manifest: dict[str, Any]) -> None:
    described = manifest["methods"]["fpn2_ws"]
    assert set(described["settings"]["properties"]) == set(FPN2_WS.settings.model_fields)
    assert described["settings"]["properties"]["marker_threshold"]["exclusiveMaximum"] == 1
    assert described["search"] == [
        "marker_threshold",
        "foreground_threshold",
        "mask_threshold",
        "min_area_px",
        "min_confidence",
    ]
    assert list(described["initial_weights"]) == ["base", "imagenet", "random"]
    base = described["initial_weights"]["base"]
    assert base["network"].items() <= base["params"].items()
    assert base["as_it_is"]["training"]["initialisation"] == "base"
    assert described["initial_weights"]["random"]["as_it_is"] is None
    assert described["presets"]["laptop"]["params"]["encoder"] == "mobilenetv2"
    assert described["networks"]["two"]["trainings"] == [{"target": "distance_map"}, {"target": "blurred_border"}]


def test_the_manifest_is_made_without_a_network_library() -> None:
    lines = """
import sys
from tasks.manifest import main
main(["--check"])
assert not {"tensorflow", "tf_keras", "segmentation_models"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", lines], cwd=REPOSITORY, check=True)
