"""The adapters for StarDist and Cellpose, where these are installed: `make tool TOOL=…`."""

import os
from pathlib import Path

import numpy as np
import pytest

from nucleus_dags.local.home import home_in
from tasks.contract import Result, execute
from tasks.methods.external import train as train_external
from tasks.methods.external.catalogue import tool_named
from tasks.nuclei.synthesis import KINDS, synthesize_fov
from tasks.steps import augment, segment
from tests.plates import make_plate
from tests.repository import REPOSITORY
from tests.third_party_tools import write_catalogue

TOOLS = Path(os.environ.get("NUCLEUS_TOOLS", home_in(REPOSITORY) / "tools"))


def short_commands(name: str) -> dict[str, list[str] | None]:
    """The tool's commands, for a training of two epochs; `{tools}` is another folder in the test."""
    tool = tool_named(name)
    assert tool.train is not None
    train = [*tool.train[: tool.train.index("--epochs")], "--epochs", "2"]
    train += ["--steps-per-epoch", "2"] if name == "stardist" else []
    commands = {"segment": tool.segment, "train": train}
    return {which: [part.replace("{tools}", str(TOOLS)) for part in command] for which, command in commands.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stardist", "cellpose"])
def test_a_tool_is_trained_from_scratch_resumes_from_that_and_segments(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (TOOLS / name / "bin" / "python").exists():
        pytest.skip(f"{name} isn't installed in {TOOLS}; make tool TOOL={name}")
    write_catalogue(tmp_path / "tools", {name: short_commands(name)})
    monkeypatch.setenv("NUCLEUS_TOOLS", str(tmp_path / "tools"))
    fovs = [synthesize_fov(KINDS["MCF10A"], (192, 256), np.random.default_rng([0, number])) for number in range(3)]
    images = {f"f{number}": fov.image for number, fov in enumerate(fovs)}
    labels = {f"f{number}": fov.label_image for number, fov in enumerate(fovs)}
    make_plate(tmp_path / "plate", images, labels, cell_line="MCF10A")
    rois = execute(augment.TASK, augment.Params(plates=["plate"], rois=20, roi_px=64), tmp_path).outputs["rois"]

    def train(initialisation: str) -> Result:
        params = train_external.Params(rois=rois, tool=name, initialisation=initialisation)
        return execute(train_external.TASK, params, tmp_path)

    trained = train("random")
    assert trained.counts["training_fields"] == 2
    resumed = train(trained.outputs["network"])
    networks = [resumed.outputs["network"]]
    params = segment.Params(method="external", networks=networks, plate="plate")
    assert execute(segment.TASK, params, tmp_path).counts["fovs"] == 3
