"""The adapters for StarDist and Cellpose, where these are installed: `make program PROGRAM=…`."""

import os
from pathlib import Path

import numpy as np
import pytest

from nucleus_dags.programs import chosen_programs
from tasks.contract import Result, execute
from tasks.methods.external import train as train_external
from tasks.nuclei.synthesis import KINDS, synthesize_fov
from tasks.steps import augment, segment
from tests.plates import make_plate
from tests.repository import REPOSITORY

PROGRAMS = Path(os.environ.get("NUCLEUS_PROGRAMS", REPOSITORY / ".nucleus" / "programs"))


@pytest.mark.slow
@pytest.mark.parametrize("program", ["stardist", "cellpose"])
def test_a_program_is_trained_from_scratch_goes_on_from_that_and_segments(program: str, tmp_path: Path) -> None:
    if not (PROGRAMS / program / "bin" / "python").exists():
        pytest.skip(f"{program} isn't installed in {PROGRAMS}; make program PROGRAM={program}")
    fovs = [synthesize_fov(KINDS["MCF10A"], (192, 256), np.random.default_rng([0, number])) for number in range(3)]
    images = {f"f{number}": fov.image for number, fov in enumerate(fovs)}
    labels = {f"f{number}": fov.label_image for number, fov in enumerate(fovs)}
    make_plate(tmp_path / "plate", images, labels, cell_line="MCF10A")
    rois = execute(augment.TASK, augment.Params(plates=["plate"], rois=20, roi_px=64), tmp_path).outputs["rois"]

    commands = chosen_programs([program], PROGRAMS)[program]
    at = commands["train"].index("--epochs") + 1
    commands["train"][at:] = ["2", *(["--steps-per-epoch", "2"] if program == "stardist" else [])]

    def train(initialisation: str) -> Result:
        given = {"rois": rois, "program": program, "initialisation": initialisation, **commands}
        return execute(train_external.TASK, train_external.Params.model_validate(given), tmp_path)

    trained = train("random")
    assert trained.counts["training_fields"] == 2
    gone_on = train(trained.outputs["network"])
    networks = [gone_on.outputs["network"]]
    segmented = execute(segment.TASK, segment.Params(networks=networks, plate="plate"), tmp_path)
    assert segmented.counts["fovs"] == 3
