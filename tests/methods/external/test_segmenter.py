"""Third-party tools as a method: small ones that do what they should, and others that don't."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_array_equal

from tasks.methods.external.catalogue import Tool
from tasks.methods.external.command import run_command
from tasks.methods.external.method import METHOD
from tasks.methods.external.segmenter import ExternalSegmenter
from tasks.methods.registry import load_segmenter
from tasks.methods.saved_model import load_model, save_model
from tasks.nuclei.errors import InputError
from tasks.nuclei.segmentation import SegmentationSettings
from tests.fields import round_nuclei
from tests.third_party_tools import make_tool, write_catalogue

SETTINGS = SegmentationSettings(min_area_px=5)
HEAD = "import sys, numpy as np, tifffile; from pathlib import Path; images, output = map(Path, sys.argv[1:3]); "


def square(side_px: int = 40, at_px: int = 10) -> np.ndarray:
    image = np.full((side_px, side_px + 10), 100, np.uint16)
    image[at_px : at_px + 12, at_px : at_px + 12] = 900
    return image


@pytest.fixture(autouse=True)
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A laboratory with the tool of the tests."""
    folder = tmp_path / "tools"
    write_catalogue(folder, {"threshold": make_tool(folder)})
    monkeypatch.setenv("NUCLEUS_TOOLS", str(folder))
    return folder


def make_network(folder: Path, **content: object) -> Path:
    """The tool of the tests, as `train_external` keeps it."""
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "threshold.txt").write_text("500")
    (folder / "network.json").write_text(json.dumps(content or {"tool": "threshold", "method": "external"}))
    return folder


def segmenter_of(lines: str, tmp_path: Path) -> ExternalSegmenter:
    command = (sys.executable, "-c", HEAD + lines, "{images}", "{output}")
    return ExternalSegmenter(Tool("bad", command), tmp_path, SETTINGS)


def test_label_images_come_in_the_order_of_the_images(tmp_path: Path) -> None:
    model = load_segmenter(METHOD, [make_network(tmp_path / "network")], SETTINGS)
    images = [square(at_px=at_px) for at_px in (2, 8, 20)]
    for image, seen in zip(images, model.look_at_all(iter(images)), strict=True):
        found = model.nuclei_in(seen, SETTINGS)
        assert_array_equal(found.label_image, image > 500)
        assert_array_equal(found.confidences, [np.nan])
    assert list(model.look_at_all([])) == []


def test_labels_of_any_numbers_become_1_to_n_without_what_is_too_small(tmp_path: Path) -> None:
    lines = (
        "seen = np.zeros((9, 9), np.uint32); seen[:3, :3], seen[5:8, 5:8], seen[0, 8] = 4_000_000_000, 12, 5; "
        "tifffile.imwrite(output / '000001.tif', seen)"
    )
    found = segmenter_of(lines, tmp_path).segment(np.zeros((9, 9), np.uint8))
    expected = np.zeros((9, 9), int)
    expected[5:8, 5:8], expected[:3, :3] = 1, 2
    assert_array_equal(found, expected)


def test_a_label_image_without_background_keeps_its_first_label(tmp_path: Path) -> None:
    lines = "tifffile.imwrite(output / '000001.tif', np.full((9, 9), 7, np.uint16))"
    assert (segmenter_of(lines, tmp_path).segment(np.zeros((9, 9), np.uint8)) == 1).all()


def test_a_saved_one_segments_as_before_with_its_own_copy_of_the_model(tmp_path: Path) -> None:
    network = make_network(tmp_path / "network")
    for name in ("history.json", "model/history.json"):
        (network / name).touch()
    save_model(METHOD, [network], SETTINGS, tmp_path / "saved")
    assert not (tmp_path / "saved/network_0/history.json").exists()
    assert (tmp_path / "saved/network_0/model/history.json").exists(), "it is the tool's"
    (network / "model" / "threshold.txt").write_text("5000")
    assert_array_equal(load_model(tmp_path / "saved").segment(square()), square() > 500)


def test_a_network_from_when_tools_were_called_programs_segments_with_the_command_of_today(tmp_path: Path) -> None:
    network = make_network(tmp_path / "old", program="threshold", segment=["gone"], method="external")
    assert_array_equal(load_segmenter(METHOD, [network], SETTINGS).segment(square()), square() > 500)


def test_a_registered_model_on_a_machine_without_its_tool_says_what_it_needs(tmp_path: Path, tools: Path) -> None:
    save_model(METHOD, [make_network(tmp_path / "network")], SETTINGS, tmp_path / "saved")
    (tools / "tools.yaml").unlink()
    message = r"no third-party tool threshold .* This model needs the third-party tool threshold, installed where its"
    with pytest.raises(InputError, match=message):
        load_model(tmp_path / "saved")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "print('reading', flush=True); sys.exit('no licence')",
            r"bad ended with status 1; its last lines: reading / no licence",
        ),
        ("pass", "bad wrote 0 label images of 2; the first that is missing is 000001.tif"),
        (
            "tifffile.imwrite(output / '000001.tif', np.zeros((40, 50), np.uint16))",
            "bad wrote 1 label images of 2; the first that is missing is 000002.tif",
        ),
        (
            "[tifffile.imwrite(output / p.name, np.zeros((3, 4), np.uint16)) for p in images.iterdir()]",
            r"bad wrote wrong label images: 000001.tif: is 3 x 4 px, and its image 40 x 50 px; 000002.tif",
        ),
        (
            "[tifffile.imwrite(output / p.name, np.full((40, 50), 0.5, np.float32)) for p in images.iterdir()]",
            "000001.tif: labels are float32 and not whole numbers; allowed are integers",
        ),
        (
            "[tifffile.imwrite(output / n, np.zeros((40, 50), np.uint8)) for n in ('000001.tif', '000001.tiff')]",
            "bad wrote both 000001.tif and 000001.tiff; it must write one label image for every image",
        ),
        ("[(output / p.name).write_bytes(b'II*') for p in images.iterdir()]", "bad wrote wrong label images"),
    ],
)
def test_a_tool_that_does_not_do_what_it_should_is_named_and_nothing_is_given(
    lines: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        next(segmenter_of(lines, tmp_path).look_at_all([square(), square()]))


THRESHOLD = (
    "from scipy import ndimage\n"
    "for p in images.iterdir():\n"
    "    image = tifffile.imread(p)\n"
    "    seen = ndimage.label(ndimage.gaussian_filter(image.astype(float), 2) > 300)[0].astype(np.int32)\n"
    "    tifffile.imwrite(output / (p.stem + '{suffix}.tif'), {change})"
)


@pytest.mark.parametrize(
    ("change", "suffix", "message"),
    [
        ("(seen + 1).astype(np.uint16)", "", "bad wrote what are no labels of its images. 000001.tif: the background"),
        ("((seen > 0) * 255).astype(np.uint8)", "", "000001.tif: looks like a mask or like classes"),
        ("np.ascontiguousarray(seen.T)", "", r"000001.tif: does not fit .* transposed \(x and y are exchanged\)"),
        ("seen[::-1]", "", "000001.tif: does not fit its image: the labels seem to be flipped upside down"),
        ("seen * (seen != ndimage.minimum_filter(seen, 3))", "", "000001.tif: looks like outlines"),
        ("np.where(seen == 0, -1, seen)", "", "000001.tif: has the negative label -1"),
        ("seen", "_cp_masks", "missing is 000001.tif, and there is 000001_cp_masks.tif, which is the name of no image"),
    ],
)
def test_output_that_is_no_labels_is_refused_with_what_it_looks_like(
    change: str, suffix: str, message: str, tmp_path: Path
) -> None:
    images = [round_nuclei(seed)[0] for seed in range(3)]
    lines = THRESHOLD.replace("{change}", change).replace("{suffix}", suffix)
    with pytest.raises(InputError, match=message):
        next(segmenter_of(lines, tmp_path).look_at_all(images))


@pytest.mark.parametrize("change", ["seen", "seen[np.newaxis]", "seen.astype(np.uint8)"])
def test_output_that_is_right_is_given_without_a_doubt(change: str, tmp_path: Path) -> None:
    images = [round_nuclei(seed, nuclei=nuclei)[0] for seed, nuclei in enumerate((20, 0, 1))]
    lines = THRESHOLD.replace("{change}", change).replace("{suffix}", "")
    model = segmenter_of(lines, tmp_path)
    assert [model.doubts_about(seen) for seen in model.look_at_all(images)] == [(), (), ()]


def test_one_wrong_field_of_many_is_a_doubt_about_this_field(tmp_path: Path) -> None:
    change = "(seen > 0).astype(np.uint8) if p.stem == '000003' else seen"
    lines = THRESHOLD.replace("{change}", change).replace("{suffix}", "")
    model = segmenter_of(lines, tmp_path)
    doubts = [model.doubts_about(seen) for seen in model.look_at_all([round_nuclei(seed)[0] for seed in range(5)])]
    assert [len(of_field) for of_field in doubts] == [0, 0, 1, 0, 0]
    assert doubts[2][0].startswith("bad: looks like a mask or like classes")


def test_a_tool_that_is_not_there_and_a_word_that_is_unknown_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone can't be started: /no/such/tool is no command; install it, or"):
        run_command(["/no/such/tool"], {}, "gone")
    with pytest.raises(
        InputError, match=r"The command of odd has \{image\}; there are \{images\}, \{output\}, \{tools\}\."
    ):
        run_command(["tool", "{image}"], {"images": 1, "output": 2}, "odd")


def test_a_tool_gets_no_setting_of_ours_and_no_way_into_mlflow(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    monkeypatch.setenv("LABORATORY", "ours")
    assert os.environ["TF_USE_LEGACY_KERAS"]
    with caplog.at_level("INFO", "nucleus"):
        run_command([sys.executable, "-c", "import os; print(sorted(os.environ))"], {}, "curious")
    assert "'LABORATORY'" in caplog.text
    assert "MLFLOW_TRACKING_PASSWORD" not in caplog.messages[-1]
    assert "TF_" not in caplog.messages[-1]


def test_two_tools_at_once_are_refused(tmp_path: Path) -> None:
    one = make_network(tmp_path / "one")
    with pytest.raises(InputError, match="A third-party tool is one network; 2 were given"):
        load_segmenter(METHOD, [one, one], SETTINGS)


def test_images_are_handed_over_as_they_are(tmp_path: Path) -> None:
    lines = f"[tifffile.imwrite(r'{tmp_path}/kept.tif', tifffile.imread(p)) for p in images.iterdir()]"
    with pytest.raises(InputError, match="wrote 0 label images of 1"):
        next(segmenter_of(lines, tmp_path).look_at_all([square()]))
    assert_array_equal(tifffile.imread(tmp_path / "kept.tif"), square())
