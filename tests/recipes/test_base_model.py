"""The recipe of the model that comes with the pipeline, the whole way on tiny plates."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.files import sha256_of
from tasks.methods.fpn2_ws.method import Settings
from tasks.recipes import base_model
from tasks.recipes.base_model import RECIPE, TimeLeft, main
from tasks.recipes.base_model_card import F1, Judged, ScoredGroup, largest_difference
from tasks.recipes.real_plates import DATA, DSB2018, MNFINDER, plates_of
from tasks.steps import augment
from tests.repository import REPOSITORY

SCORED = "| all | 1 |"


@pytest.mark.long
@pytest.mark.slow
def test_one_command_makes_the_model_its_settings_and_its_card(tmp_path: Path) -> None:
    into = tmp_path / "into"
    command = [sys.executable, "-m", "tasks.recipes.base_model", str(tmp_path / "out"), "--into", str(into), "--tiny"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    ended = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert {path.name for path in into.iterdir()} == {"README.md", "network.json", "settings.json", "weights.h5"}
    settings = json.loads((into / "settings.json").read_text())
    assert Settings.model_validate(settings).model_dump(mode="json") == settings
    card = (into / "README.md").read_text()
    assert f"| SHA-256 of weights.h5 | `{sha256_of(into / 'weights.h5')}` |" in card
    assert "**Synthetic test plates**\n\n| group | fields | nuclei | F1 at 0.5 | F1 at 0.7 | F1 at 0.9 |" in card
    assert SCORED in card
    assert "| tiny-train | MCF10A | 2 |" in card


def test_a_recipe_without_its_real_images_is_refused_before_anything_is_made(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert main([str(tmp_path / "out"), "--data", str(tmp_path), "--into", str(tmp_path / "into")]) == 2
    assert "doesn't hold the images of dsb2018" in caplog.text
    assert not (tmp_path / "into").exists()


@pytest.mark.skipif(not DATA.exists(), reason=f"{DATA} is not there")
def test_no_image_that_is_judged_on_is_trained_on() -> None:
    plates = [plate for name in (DSB2018, MNFINDER) for plate in plates_of(name, DATA, RECIPE.held_out)]
    trained = {path for plate in plates if plate.role == "train" for path in plate.folders}
    assert {path.name for path in trained} == {"train"}
    assert {path.parent.name for path in trained} & set(RECIPE.held_out) == set()
    assert {plate.cell_line for plate in plates} >= set(RECIPE.held_out)


def test_the_recipe_names_its_seeds_and_cuts_rois_as_augment_takes_them() -> None:
    assert augment.Params.model_validate({"plates": ["ingest/a@000000000000"], **RECIPE.augment}).rois > 1000
    assert all("random_seed" in params for params in (*RECIPE.trainings, RECIPE.augment))
    seeds = {role: {plate["random_seed"] for plate in RECIPE.synthetic if plate["role"] == role} for role in ROLES}
    assert not seeds["train"] & seeds["test"]
    assert {plate["cell_line"] for plate in RECIPE.synthetic} == set(base_model.CELL_LINES)


ROLES = ("train", "test")


def test_after_every_epoch_it_tells_how_long_the_others_will_take(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "nucleus")
    teller = TimeLeft()
    logging.getLogger().addHandler(teller)
    try:
        message = "cycle %d of %d: loss %.5f, validation loss %.5f, %.0f s, %.1f ROIs/s"
        logging.getLogger("nucleus").info(message, 2, 10, 0.5, 0.5, 90.0, 3.0)
    finally:
        logging.getLogger().removeHandler(teller)
    assert caplog.messages[-1] == "about 12 min of the training are left"


def test_what_the_16_bits_change_is_the_largest_difference_in_any_group() -> None:
    def judged(*values: float) -> Judged:
        return Judged("plates", [ScoredGroup(str(f1), 1, 1, (F1(f1, 0, 1), F1(0.5, 0, 1))) for f1 in values])

    assert largest_difference(judged(0.5, 0.75), judged(0.5, 0.5)) == 0.25
