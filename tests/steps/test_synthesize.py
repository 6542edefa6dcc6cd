import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from tasks.contract import BAD_INPUT, DONE, Result, execute, parse_params
from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.files import open_plate
from tasks.nuclei.plates.image_files import read_image, read_label_image
from tasks.nuclei.synthesis import KINDS, draw
from tasks.steps.synthesize import TASK, Params

SMALL = {"name": "demo", "cell_line": "HCT116", "fovs": 2, "height_px": 96, "width_px": 128}


def synthesize(store: Path, **changes: Any) -> Result:
    return execute(TASK, Params(**{**SMALL, **changes}), store)


def test_the_output_folder_is_a_plate_with_the_papers_microscope(tmp_path: Path) -> None:
    result = synthesize(tmp_path, role="test")
    plate = open_plate(tmp_path / result.outputs["plate"])
    assert plate.info.identity == {
        "name": "demo",
        "cell_line": "HCT116",
        "objective": "20X",
        "binning": 2,
        "pixel_size_um": 0.65,
        "role": "test",
        "replicate": "biological",
        "annotation": "semi-automatic",
        "channel": None,
    }
    assert [fov.labels_path is not None for fov in plate.fovs] == [True, True]


def test_images_and_labels_have_the_shape_that_was_asked(tmp_path: Path) -> None:
    fov = open_plate(tmp_path / synthesize(tmp_path).outputs["plate"]).fovs[0]
    assert fov.labels_path is not None
    image, label_image = read_image(fov.image_path), read_label_image(fov.labels_path)
    assert image.shape == label_image.shape == (96, 128)
    assert image.dtype == np.uint16


def test_one_given_side_leaves_the_other_as_in_the_paper(tmp_path: Path) -> None:
    result = synthesize(tmp_path, cell_line="Eosinophils", fovs=1, height_px=64, width_px=None)
    fov = open_plate(tmp_path / result.outputs["plate"]).fovs[0]
    assert read_image(fov.image_path).shape == (64, 1280)


def test_without_fovs_mcf10a_has_the_seven_fields_of_the_paper(tmp_path: Path) -> None:
    result = synthesize(tmp_path, cell_line="MCF10A", fovs=None, height_px=64, width_px=64)
    assert result.counts["fovs"] == 7


def test_file_names_follow_the_cv7000_with_nine_sites_a_well(tmp_path: Path) -> None:
    plate = open_plate(tmp_path / synthesize(tmp_path, fovs=10, height_px=64, width_px=64).outputs["plate"])
    assert plate.fovs[0].name == "demo_B07_T0001F001L01A01Z01C01"
    assert [(fov.well, fov.site) for fov in plate.fovs] == [*(("B07", site) for site in range(1, 10)), ("B08", 1)]


def test_counts_and_areas_are_those_of_the_label_images(tmp_path: Path) -> None:
    result = synthesize(tmp_path)
    plate = open_plate(tmp_path / result.outputs["plate"])
    areas = np.concatenate([np.bincount(read_label_image(fov.labels_path).ravel())[1:] for fov in plate.fovs])  # type: ignore[arg-type]
    assert result.counts == {"fovs": 2, "nuclei": len(areas)}
    assert result.metrics["area_mean_px"] == pytest.approx(areas.mean())
    assert result.metrics["area_sd_px"] == pytest.approx(areas.std())


def test_a_plate_with_more_fields_begins_with_the_same_ones(tmp_path: Path) -> None:
    two = open_plate(tmp_path / synthesize(tmp_path, fovs=2).outputs["plate"])
    three = open_plate(tmp_path / synthesize(tmp_path, fovs=3).outputs["plate"])
    for one, other in zip(two.fovs, three.fovs, strict=False):
        np.testing.assert_array_equal(read_image(one.image_path), read_image(other.image_path))


def test_the_fields_of_a_plate_and_those_of_another_seed_differ(tmp_path: Path) -> None:
    plates = [open_plate(tmp_path / synthesize(tmp_path, random_seed=seed).outputs["plate"]) for seed in (0, 1)]
    images = [read_image(fov.image_path).tobytes() for plate in plates for fov in plate.fovs]
    assert len(set(images)) == 4


def test_every_kind_of_the_library_can_be_asked_for() -> None:
    assert set(get_args(Params.model_fields["cell_line"].annotation)) == set(KINDS)


def test_a_magnified_plate_states_its_smaller_pixels(tmp_path: Path) -> None:
    plain, twice = (
        synthesize(tmp_path, magnification=factor, fovs=1, height_px=256, width_px=256) for factor in (1, 2)
    )
    assert open_plate(tmp_path / twice.outputs["plate"]).info.pixel_size_um == pytest.approx(0.325)
    assert twice.counts["nuclei"] == pytest.approx(plain.counts["nuclei"] / 4, abs=2)


def test_varied_fields_differ_in_density_and_their_plate_is_called_synthetic(tmp_path: Path) -> None:
    plates = [
        open_plate(tmp_path / synthesize(tmp_path, conditions=of, fovs=6).outputs["plate"])
        for of in ("plain", "varied")
    ]
    assert [plate.info.annotation for plate in plates] == ["semi-automatic", "synthetic"]
    plain, varied = ([read_label_image(fov.labels_path).max() for fov in plate.fovs] for plate in plates)  # type: ignore[arg-type]
    assert np.std(varied) > 3 * np.std(plain)


def test_a_plate_of_empty_fields_only_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^random_seed \d+ gives no nucleus .* in 1 fields; raise fovs, or take"):
        synthesize(tmp_path, conditions="varied", fovs=1, random_seed=_seed_of_an_empty_field())


def _seed_of_an_empty_field() -> int:
    return next(seed for seed in range(1000) if draw(np.random.default_rng([seed, 0])).density == 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "a/b"),
        ("name", ".."),
        ("cell_line", "HeLa"),
        ("role", "validation"),
        ("fovs", 0),
        ("height_px", 63),
        ("width_px", 5001),
        ("magnification", 0.3),
        ("magnification", 2.6),
        ("conditions", "wild"),
        ("random_seed", -1),
    ],
)
def test_a_wrong_value_is_refused_with_its_field(field: str, value: object) -> None:
    with pytest.raises(InputError, match=f"^{field}: "):
        parse_params(Params, json.dumps({**SMALL, field: value}))


def test_the_command_line_makes_a_plate_and_refuses_an_unknown_param(tmp_path: Path) -> None:
    arguments = ["--store", str(tmp_path), "--params"]
    assert TASK.main([*arguments, json.dumps(SMALL)]) == DONE
    assert TASK.main([*arguments, json.dumps({**SMALL, "nuclei": 5})]) == BAD_INPUT
