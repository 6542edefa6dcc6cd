"""Forms as a person fills them in, and further methods for them."""

from typing import Any

import pytest
from airflow.sdk import Param

from nucleus_dags.manifest import manifest

SPOTS = "spots"


def filled(form: dict[str, Param], **changes: Any) -> dict[str, Any]:
    """Give a form with its defaults, but for what a person changed; refuses fields that it doesn't have."""
    assert set(changes) <= set(form)
    return {name: param.value for name, param in form.items()} | changes


def add_method(patch: pytest.MonkeyPatch, settings: dict[str, Any], training: dict[str, Any]) -> None:
    """Put the method `spots` into the manifest, with the schemas of these settings and params of its training."""
    preset = {"params": {}, "networks": "one"}
    entry: Any = {
        "title": "Spots: bright ones",
        "task": f"train_{SPOTS}",
        "earlier_tasks": [],
        "settings": {"properties": settings},
        "search": [],
        "networks": {"one": {"title": "one network", "trainings": [{}]}},
        "initial_weights": {"random": {"title": "none", "file": None, "is_whole": False, "params": {}}},
        "presets": dict.fromkeys(manifest()["presets"], preset),
        "candidates": None,
    }
    resources = {"kind": "training", "container_image": "cpu", "cpu": 1, "memory_gib": 1, "gpu": 0}
    task: Any = {"module": "laboratory.train", "resources": resources, "params": {"properties": training}}
    patch.setitem(manifest()["methods"], SPOTS, entry)
    patch.setitem(manifest()["tasks"], f"train_{SPOTS}", task)
