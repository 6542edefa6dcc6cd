"""A laboratory's own method, in a package that is installed beside the repository, goes through the DAGs.

The package is `tests/foreign_method`; it is on the path of the servers and tasks, not of this process.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.laboratory import MODEL, Laboratory, laboratory
from tests.repository import REPOSITORY
from tests.synthetic_plates import make_synthetic_plate

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

PACKAGE = REPOSITORY / "tests/foreign_method"
FOREIGN, OTHER = "bright_spots", "fpn2_ws"
AS_IT_CAME = "base, not trained further"
"""Beside the other method, which begins from the base model."""
BASE_MODEL = 1
"""Its version."""
FORM: dict[str, Any] = {"methods": [FOREIGN, OTHER], "rois": 100, "cycles": 1, "zoom": 0.5}
RETRAINING: dict[str, Any] = {
    "also_without_news": True,
    "initial_weights": ["champion", "random"],
    "rois": 100,
    "cycles": 1,
    "random_seed": 1,
}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Laboratory]:
    for random_seed, role in enumerate(("train", "test")):
        plate = tmp_path / "nucleus/inbox" / f"tiny-{role}"
        make_synthetic_plate(plate, role=role, random_seed=random_seed, height_px=512, width_px=512)
    known = filter(None, [str(PACKAGE), os.environ.get("PYTHONPATH")])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(known))
    with laboratory(tmp_path / "nucleus") as started:
        yield started


def test_a_method_of_another_package_is_trained_promoted_used_and_retrained(lab: Laboratory) -> None:
    it_is_in_the_form(lab)
    version = it_is_trained_and_compared_with_another_method(lab)
    it_becomes_champion_and_segments_a_plate(lab, version)
    it_is_retrained_from_its_own_weights_and_from_random_ones(lab, version)


def it_is_in_the_form(lab: Laboratory) -> None:
    form = lab.api.call("GET", "dags/train_models/details")["params"]
    assert FOREIGN in form["methods"]["schema"]["items"]["enum"]
    assert form["level"]["schema"]["title"] == "Level"
    assert "Bright spots only." in form["level"]["description"]


def it_is_trained_and_compared_with_another_method(lab: Laboratory) -> int:
    """Give the number of its registered version."""
    dag_run_id = lab.run("train_models", **FORM)
    states = lab.states("train_models", dag_run_id)
    assert states.pop("first_champion") == "skipped"  # The base model is the champion.
    assert set(states.values()) == {"success"}
    note = lab.note("train_models", dag_run_id)
    assert note.startswith(f"{FOREIGN}: F1 at 0.7: ")
    for candidate in (FOREIGN, OTHER, AS_IT_CAME):
        assert re.search(rf"^\| {candidate} +\| MCF10A ", note, re.MULTILINE)

    assert len(lab.mlflow.search_model_versions(f"name = '{MODEL}'")) == BASE_MODEL + len(FORM["methods"])
    scores = {method: float(version.tags["f1_at_0.7/all"]) for method, version in versions(lab).items()}
    assert scores[FOREIGN] > 0.5
    assert 0 <= scores[OTHER] <= 1
    of_method = versions(lab)[FOREIGN]
    assert "plate/tiny-train" in of_method.tags
    assert of_method.description.startswith("Bright spots: ")
    run = lab.mlflow.get_run(of_method.run_id)
    assert run.info.run_name.startswith(f"{FOREIGN} on tiny-train · ")
    assert run.data.metrics["f1_at_0.7/all"] == pytest.approx(scores[FOREIGN], abs=1e-4)
    assert len(lab.mlflow.get_metric_history(of_method.run_id, "f1_curve/MCF10A")) == 19
    return int(of_method.version)


def versions(lab: Laboratory) -> dict[str, Any]:
    """Give the newest registered version of each method."""
    found = lab.mlflow.search_model_versions(f"name = '{MODEL}'")
    return {version.tags["method"]: version for version in sorted(found, key=lambda version: int(version.version))}


def it_becomes_champion_and_segments_a_plate(lab: Laboratory, version: int) -> None:
    lab.run("promote_model", version=version, reason="the laboratory's own method")
    assert lab.champion() == version
    dag_run_id = lab.run("segment_plate", plate="tiny-test", fovs_per_part=1)
    assert re.match(r"[1-9]\d* nuclei in 2 fields", lab.note("segment_plate", dag_run_id))
    (assembled,) = lab.results("segment_plate", dag_run_id)["assemble_plate"]
    assert assembled["params"]["model"]["version"] == version


def it_is_retrained_from_its_own_weights_and_from_random_ones(lab: Laboratory, version: int) -> None:
    dag_run_id = lab.api.trigger("retrain_champion", RETRAINING)
    lab.unpause("retrain_champion")
    lab.finish_well("retrain_champion", dag_run_id)
    note = lab.note("retrain_champion", dag_run_id)
    assert re.match(
        r"(No candidate passed|The test plates have too few) .*; the champion stays\.|Version \d+ is champion\.", note
    )
    # The note has no room for all of it.
    shown = "\n".join(lab.log_lines("retrain_champion", dag_run_id, "summary"))
    for candidate in ("from the champion", "from random weights"):
        assert re.search(
            rf"\*\*{candidate}\*\* (passed the gate|failed at the gate|can't be judged on so few nuclei): ", shown
        )

    results = lab.results("retrain_champion", dag_run_id)
    first = lab.results("train_models", lab.run_ids("train_models")[0])["train"]
    (network,) = (result["outputs"]["network"] for result in first if result["task"] == f"train_{FOREIGN}")
    assert [result["params"]["initialisation"] for result in results["train"]] == [network, "random"]
    assert {result["task"] for result in results["train"]} == {f"train_{FOREIGN}"}
    before = BASE_MODEL + len(FORM["methods"])
    new = [v for v in lab.mlflow.search_model_versions(f"name = '{MODEL}'") if int(v.version) > before]
    assert [v.tags["method"] for v in new] == [FOREIGN] * 2
    assert {v.tags["gate"] for v in new} <= {"passed", "failed", "undecided"}
    assert lab.champion() in {version, *(int(v.version) for v in new)}
    assert json.loads(lab.home.manifest.read_text())["methods"][FOREIGN]["task"] == f"train_{FOREIGN}"
