"""What the keys of segmentations, calibrations and registered models depend on: what their method uses, and no more."""

import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import Any

import pydantic
import pytest

from tasks.contract import Task
from tasks.methods import registry
from tasks.methods.method import Method
from tasks.methods.registry import found_methods, method_named
from tasks.steps import calibrate, register_model, segment
from tests.third_party_tools import make_tool, write_catalogue

METHODS = sorted(found_methods())
TASKS: tuple[Task[Any], ...] = (calibrate.TASK, segment.TASK, register_model.TASK)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with a network of each method."""
    write_catalogue(tmp_path / "tools", {"threshold": make_tool(tmp_path / "tools")})
    monkeypatch.setenv("NUCLEUS_TOOLS", str(tmp_path / "tools"))
    for method in METHODS:
        (tmp_path / method).mkdir()
        (tmp_path / method / "network.json").write_text(json.dumps({"method": method, "tool": "threshold"}))
    return tmp_path


def networks_of(method: str) -> list[str]:
    return [method] if method_named(method).has_networks else []


def keys_of(method: str, store: Path, **settings: object) -> list[str]:
    """The keys of its calibration, its segmentation of a plate and its registered model."""
    given = {"method": method, "networks": networks_of(method), "settings": settings}
    return [
        task.output_key(
            task.params_type.model_validate(given | ({"plate": "plate"} if task.name == "segment" else {})), store
        )
        for task in TASKS
    ]


@pytest.mark.parametrize("method", METHODS)
def test_params_hold_the_settings_of_their_method_and_no_others(method: str) -> None:
    params = register_model.Params(method=method, networks=networks_of(method))
    assert set(params.model_dump()["settings"]) == set(method_named(method).settings.model_fields)


@pytest.mark.parametrize("changed", METHODS)
def test_a_new_threshold_or_rule_of_a_method_changes_no_key_of_another(
    changed: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {method: keys_of(method, store) for method in METHODS}
    methods = found_methods()
    for newer in (with_a_new_threshold(methods[changed]), with_a_new_rule(methods[changed])):
        monkeypatch.setattr(registry, "found_methods", partial(dict, methods | {changed: newer}))
        for method in METHODS:
            same = [one == other for one, other in zip(before[method], keys_of(method, store), strict=True)]
            assert same == [method != changed] * len(TASKS), method


def with_a_new_threshold(method: Method) -> Method:
    changes: dict[str, Any] = {
        "settings": pydantic.create_model("Settings", __base__=method.settings, brightness=(float, 0.5))
    }
    return dataclasses.replace(method, **changes)


def with_a_new_rule(method: Method) -> Method:
    return dataclasses.replace(method, segmentation_version=method.segmentation_version + 1)


def test_other_values_to_try_calibrate_a_method_anew_and_nothing_else(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {method: keys_of(method, store) for method in METHODS}
    methods = found_methods()
    finer = dataclasses.replace(methods["mask_rcnn"], search={"min_score": (0.3, 0.35, 0.4)})
    monkeypatch.setattr(registry, "found_methods", partial(dict, methods | {"mask_rcnn": finer}))
    for method in METHODS:
        same = [one == other for one, other in zip(before[method], keys_of(method, store), strict=True)]
        assert same == [method != "mask_rcnn", True, True], method


@pytest.mark.parametrize("method", METHODS)
def test_every_setting_of_a_method_is_part_of_its_keys(method: str, store: Path) -> None:
    schemas = method_named(method).settings.model_json_schema()["properties"]
    found = [tuple(keys_of(method, store, **{name: another_value(schema)})) for name, schema in schemas.items()]
    assert len({*found, tuple(keys_of(method, store))}) == len(schemas) + 1


def another_value(schema: dict[str, Any]) -> object:
    """Give an allowed value of a setting that isn't its default."""
    default = schema["default"]
    content = next(part for part in [schema, *schema.get("anyOf", ())] if "type" in part)
    if "enum" in content:
        return next(choice for choice in content["enum"] if choice != default)
    if content["type"] == "boolean":
        return not default
    if content["type"] == "object":
        return {"U2OS": {"min_area_px": 7}}
    return (default or 0) + content.get("multipleOf", 1 if content["type"] == "integer" else 0.01)


def test_a_setting_that_is_given_as_its_default_is_the_same_segmentation(store: Path) -> None:
    assert keys_of("fpn2_ws", store)[1:] == keys_of("fpn2_ws", store, marker_threshold=0.6)[1:]


def test_another_command_that_segments_is_another_segmentation(store: Path) -> None:
    before = {method: keys_of(method, store) for method in METHODS}
    commands = make_tool(store / "tools")
    write_catalogue(store / "tools", {"threshold": {**commands, "segment": [*commands["segment"], "--faster"]}})
    changed = {method for method in METHODS if keys_of(method, store) != before[method]}
    assert changed == {"external"}


@pytest.mark.parametrize(
    ("method", "networks", "message"),
    [("fpn2_ws", [], "fpn2_ws needs one at least; give outputs of train_fpn2_ws"), ("classical", ["a"], "has none")],
)
def test_a_method_gets_networks_if_it_has_some(method: str, networks: list[str], message: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=message):
        register_model.Params(method=method, networks=networks)


def test_rois_that_are_not_given_change_no_key_of_a_calibration(store: Path) -> None:
    assert "rois" not in calibrate.Params(method="fpn2_ws", networks=["fpn2_ws"]).model_dump()
