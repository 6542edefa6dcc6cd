"""Make the trained networks and the settings of the segmentation one model, and register it in MLflow.

The model loads in a fresh process with nothing of this repository on the path: the code that it needs
lies beside the weights. It takes one image (y, x) or a list and gives label images.
"""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pydantic

from tasks import libraries, tracking
from tasks.contract import Outcome, Result, Task, TaskParams, Workspace, read_result
from tasks.nuclei.segmentation import SegmentationSettings

LOADER = "tasks.methods.segmenter"


class Params(SegmentationSettings, TaskParams):
    networks: list[str] = pydantic.Field(min_length=1, max_length=2)
    """Trained networks of one method: of FPN2-WS one for both targets, or one for each; else one."""


def run(params: Params, workspace: Workspace) -> Outcome:
    from tasks.methods.segmenter import load_saved_segmenter, save_segmenter

    data = workspace.output_dir / "segmenter"
    save_segmenter([workspace.input(path) for path in params.networks], params.settings, data)
    load_saved_segmenter(data).segment(np.zeros((64, 64), np.uint8))
    code = workspace.output_dir / "code" / "tasks"
    for package in ("nuclei", "methods"):
        shutil.copytree(
            Path(__file__).parents[1] / package, code / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    (code / "__init__.py").touch()
    tracking.save_model(workspace.output_dir / "model", data, code, LOADER, libraries.of_models())
    shutil.rmtree(data)
    shutil.rmtree(code.parent)
    return Outcome({"model": "model"}, {}, {})


def publish(params: Params, result: Result, store: Path) -> None:
    tags = {"store_path": result.outputs["model"], "networks": " ".join(params.networks)}
    if "NUCLEUS_COMMIT" in os.environ:
        tags["commit"] = os.environ["NUCLEUS_COMMIT"]
    for plate in _trained_on(params.networks, store):
        name, _, digest = Path(plate).name.partition("@")
        tags[f"plate/{name}"] = digest
    tracking.Run().register_model(store / result.outputs["model"], result.key, tags)


def _trained_on(networks: list[str], store: Path) -> list[str]:
    """Follow the stored results from the networks to their ROIs and from there to the plates; gives their paths."""
    rois = {read_result(store / network).params["rois"] for network in networks}
    return sorted({plate for path in rois for plate in read_result((store / path).parent).params["plates"]})


TASK = Task(name="register_model", version=1, params_type=Params, run=run, publish=publish)

if __name__ == "__main__":
    sys.exit(TASK.main())
