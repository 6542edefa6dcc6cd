"""Training ROIs from plates: amounts, the split, reproducibility."""

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections import Counter

import h5py
import numpy as np
import psutil
import pytest
import tifffile

from tasks.contract import FAILED, execute
from tasks.cores import CORES
from tasks.nuclei.augmentation import PRESETS
from tasks.nuclei.copies import fingerprint_of_row
from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.files import open_plate
from tasks.nuclei.plates.image_files import read_image
from tasks.nuclei.roi_file import ROI_FILE, STEPS_OF_A_LEVEL, RoiReader
from tasks.nuclei.targets import distance_map
from tasks.nuclei.view import View
from tasks.steps.augment import ROIS_PER_BLOCK, TASK, Params, Source, _shares, make_block, plan_blocks, split_sources
from tests.disks import resize
from tests.plates import make_plate
from tests.repository import REPOSITORY


def field(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label_image = np.zeros((160, 200), np.uint16)
    for number, (y, x) in enumerate([(20, 20), (20, 90), (90, 30), (100, 140)], start=1):
        label_image[y : y + 24, x : x + 24] = number
    return (label_image * 100 + rng.integers(0, 50, label_image.shape)).astype(np.uint16), label_image


@pytest.fixture
def store(tmp_path):
    """Two cell lines: `many` with five fields, `one` with a single field."""
    for name, fields in (("many", 5), ("one", 1)):
        made = {f"f{i}": field(i + 50 * (fields == 1)) for i in range(fields)}
        images, labels = ({fov: pair[part] for fov, pair in made.items()} for part in (0, 1))
        make_plate(tmp_path / name, images, labels, cell_line=name)
    return tmp_path


def params(**changes) -> Params:
    return Params(**{"plates": ["many", "one"], "rois": 60, "roi_px": 64, **changes})


def sources_of(store, chosen: Params) -> list[Source]:
    return split_sources([open_plate(store / plate) for plate in chosen.plates], chosen)


def test_validation_fields_are_others_than_training_fields(store):
    many = [source for source in sources_of(store, params()) if source.cell_line == "many"]
    assert sorted(source.fov for source in many) == ["f0", "f1", "f2", "f3", "f4"]
    assert 1 <= sum(source.is_validation for source in many) <= 2


def test_fields_stay_in_their_part_when_plates_arrive_and_with_every_seed(store):
    images, labels = ({f"n{i}": field(20 + i)[part] for i in range(9)} for part in (0, 1))
    make_plate(store / "next", images, labels, cell_line="many")
    before, after = (
        {source.fov: source.is_validation for source in sources_of(store, params(plates=plates, random_seed=seed))}
        for plates, seed in ((["many"], 0), (["many", "next"], 1))
    )
    assert all(after[fov] is False for fov, kept_back in before.items() if not kept_back)


def test_a_single_field_is_cut_into_a_training_and_a_validation_region(store):
    training, validation = (source for source in sources_of(store, params()) if source.cell_line == "one")
    assert (training.region, training.is_validation) == ((0, 0, 160, 160), False)
    assert (validation.region, validation.is_validation) == ((0, 160, 160, 200), True)


def with_fingerprints(folder) -> None:
    """Write what `ingest` knows of the fields of a plate."""
    rows = [
        {"fov": fov.name, "image": f"images/{fov.image_path.name}", "labels": f"labels/{fov.image_path.name}"}
        | {"well": fov.well, "site": fov.site, "channel": fov.channel, "z": fov.z}
        | fingerprint_of_row(read_image(fov.image_path), with_parts=True)
        for fov in open_plate(folder).fovs
    ]
    (folder / "report.json").write_text(json.dumps({"fovs": rows}))


def make_copies(folder, names: str, **info) -> None:
    """Fields of which those of the same letter are copies: the same, or a part."""
    changes = (lambda array: array, lambda array: array, lambda array: array[20:, 20:])
    fields: dict[str, tuple] = {}
    for letter in names:
        copies = sum(name[0] == letter for name in fields)
        fields[f"{letter}{copies}"] = tuple(changes[copies % 3](array) for array in field(ord(letter)))
    make_plate(folder, *({name: pair[part] for name, pair in fields.items()} for part in (0, 1)), **info)
    with_fingerprints(folder)


@pytest.mark.parametrize("seed", range(8))
def test_fields_that_are_copies_are_on_one_side_and_named(tmp_path, seed, caplog):
    make_copies(tmp_path / "p", "aaabbcd")
    sources = sources_of(tmp_path, params(plates=["p"], random_seed=seed))
    sides: dict[str, set[bool]] = {}
    for source in sources:
        sides.setdefault(source.fov[0], set()).add(source.is_validation)
    assert all(len(of_image) == 1 for of_image in sides.values())
    assert 1 <= sum(source.is_validation for source in sources) <= 3
    assert "copies are kept on one side of the validation split: p/images/a1.tif " in caplog.text


def test_of_fields_that_are_all_copies_of_one_the_largest_is_cut_in_two(tmp_path, caplog):
    make_copies(tmp_path / "p", "aaa")
    training, validation = sources_of(tmp_path, params(plates=["p"]))
    assert (training.fov, validation.fov, validation.region) == ("a0", "a0", (0, 160, 160, 200))
    assert "all 3 fields of U2OS are copies of one; only a0 is used" in caplog.text


@pytest.mark.parametrize("seed", range(8))
def test_copies_in_two_cell_lines_are_on_one_side(tmp_path, seed):
    make_copies(tmp_path / "p", "abcd")
    make_copies(tmp_path / "q", "cefg", cell_line="HeLa")
    sources = sources_of(tmp_path, params(plates=["p", "q"], random_seed=seed))
    assert len({source.is_validation for source in sources if source.fov == "c0"}) == 1
    assert {(source.cell_line, source.is_validation) for source in sources} == {
        (cell_line, part) for cell_line in ("U2OS", "HeLa") for part in (False, True)
    }


def test_cell_lines_that_share_their_only_field_are_refused(tmp_path):
    make_copies(tmp_path / "p", "a")
    make_copies(tmp_path / "q", "a", cell_line="HeLa")
    with pytest.raises(InputError, match="p: fields of U2OS are copies of fields of other cell lines"):
        sources_of(tmp_path, params(plates=["p", "q"]))


@pytest.mark.usefixtures("rois_in_this_process")
def test_the_paper_s_split_draws_validation_rois_from_all_fields(store):
    result = execute(TASK, params(split="paper", rois=300), store)
    with h5py.File(store / result.outputs["rois"]) as file:
        rows = file["rois"][:]
    assert result.counts["validation_rois"] == pytest.approx(80, abs=25)
    assert set(rows["source"][rows["is_validation"]]) == set(range(6))


def test_cell_lines_scales_and_parts_share_the_rois(store):
    chosen = params(rois=1000)
    sources = sources_of(store, chosen)
    blocks = list(plan_blocks(sources, (0.5, 1.0), chosen))
    amounts: Counter[tuple] = Counter()
    for block in blocks:
        amounts[block.source.cell_line, block.source.is_validation, block.scale] += block.rows
    assert amounts == {
        (cell_line, is_validation, scale): 50 if is_validation else 200
        for cell_line in ("many", "one")
        for is_validation in (False, True)
        for scale in (0.5, 1.0)
    }


def test_new_plates_get_their_share_and_both_parts_of_their_own(store):
    images, labels = ({f"n{i}": field(9 + i)[part] for i in range(2)} for part in (0, 1))
    make_plate(store / "new", images, labels, cell_line="many")
    chosen = params(plates=["many", "one", "new"], new_plates=["new"], new_share=0.4, rois=1000)
    amounts: Counter[tuple] = Counter()
    for block in plan_blocks(sources_of(store, chosen), (1.0,), chosen):
        amounts[block.source.plate, block.source.is_validation] += block.rows
    assert amounts == {
        ("many", False): 240,
        ("many", True): 60,
        ("one", False): 240,
        ("one", True): 60,
        ("new", False): 320,
        ("new", True): 80,
    }


def test_without_old_plates_the_new_ones_get_all(store):
    chosen = params(new_plates=["many", "one"], rois=100)
    assert sum(block.rows for block in plan_blocks(sources_of(store, chosen), (1.0,), chosen)) == 100


def test_a_new_plate_that_is_not_among_the_plates_is_refused():
    with pytest.raises(ValueError, match="other must be in plates too"):
        params(new_plates=["other"])


def test_rows_are_numbered_without_a_gap_whatever_the_amount(store):
    for amount in (10, 137, 1001):
        chosen = params(rois=amount)
        blocks = list(plan_blocks(sources_of(store, chosen), (1 / 3, 1.0, 2.0), chosen))
        rows = [row for block in blocks for row in range(block.first_row, block.first_row + block.rows)]
        assert rows == list(range(amount))
        assert max(block.rows for block in blocks) <= ROIS_PER_BLOCK


def test_shares_differ_by_one_at_most():
    assert _shares(10, 4) == [2, 3, 2, 3]
    assert _shares(2, 5) == [0, 0, 1, 0, 1]


@pytest.mark.usefixtures("rois_in_this_process")
def test_the_file_holds_images_labels_and_their_targets(store):
    result = execute(TASK, params(augmentation="Full"), store)
    reader = RoiReader(store / result.outputs["rois"])
    assert result.counts == {"training_rois": 48, "validation_rois": 12}
    for row in (0, 31, 59):
        expected = distance_map(reader.label_image(row))
        np.testing.assert_allclose(reader.target(row, "distance_map") / 255, expected, atol=0.5 / 255 + 1e-6)
    with h5py.File(store / result.outputs["rois"]) as file:
        assert {name.decode() for name in file["sources"]["cell_line"]} == {"many", "one"}
        assert file["image"].chunks == (1, 64, 64)
    assert (store / result.outputs["contact_sheet"]).read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("rois_in_this_process")
def test_validation_windows_of_a_single_field_stay_in_their_region(store):
    result = execute(TASK, params(plates=["one"], augmentation="Min_Scaling", roi_px=32), store)
    with h5py.File(store / result.outputs["rois"]) as file:
        rows = file["rois"][:]
    validation = rows["is_validation"]
    assert (rows["x"][validation] >= 154).all()  # mirrored by less than the region's lack of width
    assert (rows["x"][~validation] + rows["width"][~validation] <= 160).all()


@pytest.mark.parametrize("processes", [1, 3])
def test_a_roi_depends_on_the_seed_and_its_row_alone_whatever_the_number_of_processes(store, processes, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processes)))
    chosen = params(rois=200, random_seed=4)
    result = execute(TASK, chosen, store)
    with h5py.File(store / result.outputs["rois"]) as file:
        made = {name: file[name][:] for name in ("image", "labels", "distance_map", "blurred_border", "rois")}
    for block in list(plan_blocks(sources_of(store, chosen), PRESETS["Full"].scales, chosen))[::5]:
        alone = make_block(block, PRESETS["Full"], chosen)
        rows = slice(block.first_row, block.first_row + block.rows)
        for name in ("image", "labels", "distance_map", "blurred_border"):
            assert np.array_equal(made[name][rows], getattr(alone, name))
        assert np.array_equal(made["rois"][rows], alone.rows)


@pytest.mark.usefixtures("rois_in_this_process")
def test_another_seed_gives_other_rois(store):
    files = [execute(TASK, params(random_seed=seed), store).outputs["rois"] for seed in (1, 2)]
    first, second = (RoiReader(store / path) for path in files)
    assert not np.array_equal(first.image(3), second.image(3))


@pytest.mark.usefixtures("rois_in_this_process")
def test_the_zoom_and_the_scaling_are_recorded_for_the_network(store):
    result = execute(TASK, params(zoom=2.0, scaling="minmax"), store)
    reader = RoiReader(store / result.outputs["rois"])
    assert reader.view == View(zoom=2.0, scaling="minmax")
    assert {source.zoom for source in reader.training_sources()} == {2.0}


def test_each_plate_is_magnified_so_that_its_nuclei_have_one_diameter(store):
    """Those of `one` are squares of 24 px, and in `large` everything is twice as large."""
    image, label_image = (np.kron(array, np.ones((2, 2), np.uint16)) for array in field(9))
    make_plate(store / "large", {"f": image}, {"f": label_image}, cell_line="large")
    chosen = params(plates=["one", "large"], nucleus_px=54)
    zooms = {source.plate: source.zoom for source in sources_of(store, chosen)}
    assert zooms == {"one": 2, "large": 1}
    for block in plan_blocks(sources_of(store, chosen), PRESETS["None"].scales, chosen):
        made = make_block(block, PRESETS["None"], chosen)
        assert set(made.rows["scale"]) == {zooms[block.source.plate]}


def test_a_plate_without_a_nucleus_is_not_magnified_and_one_at_the_bounds_is_told_of(store, caplog):
    empty = np.zeros((160, 200), np.uint16)
    make_plate(store / "empty", {"f": field(9)[0]}, {"f": empty}, cell_line="empty")
    chosen = params(plates=["empty", "one"], nucleus_px=128)
    assert {source.plate: source.zoom for source in sources_of(store, chosen)} == {"empty": 1, "one": 4}
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    tiny = field(0)[1][::4, ::4]
    make_plate(store / "tiny", {"f": tiny}, {"f": tiny})
    assert {source.zoom for source in sources_of(store, params(plates=["tiny"], nucleus_px=128))} == {4}
    assert "tiny: its nuclei are 7 px across; at the bound of all zooms, 4, they look 27 px across" in caplog.text


def test_plates_are_magnified_in_one_way(store):
    with pytest.raises(ValueError, match="zoom=2 and nucleus_px=28: plates are magnified alike or by the size of th"):
        params(zoom=2, nucleus_px=28)


def test_the_intensities_of_rois_are_by_the_scaling_that_was_asked_for(store):
    image, _ = field(0)
    image[0, 0] = 60_000
    tifffile.imwrite(store / "one" / "images" / "f0.tif", image)
    by_minmax, whole, fine = (brightness_of_nuclei(store, scaling) for scaling in ("minmax", "robust", "percentile"))
    assert by_minmax < 5 < 40 < whole
    assert whole == pytest.approx(fine, abs=0.5)


def brightness_of_nuclei(store, scaling: str) -> float:
    chosen = params(plates=["one"], scaling=scaling)
    first, *_ = plan_blocks(sources_of(store, chosen), PRESETS["None"].scales, chosen)
    made = make_block(first, PRESETS["None"], chosen)
    return float(np.median(made.image[made.labels > 0])) / (STEPS_OF_A_LEVEL if scaling == "percentile" else 1)


def test_a_field_without_labels_is_refused_by_name(store):
    (store / "many" / "labels" / "f3.tif").unlink()
    with pytest.raises(InputError, match=r"f3\.tif has no label image"):
        execute(TASK, params(), store)


def test_unknown_augmentations_are_refused(store, caplog):
    arguments = json.dumps({"plates": ["one"], "augmentation": "Max"})
    assert TASK.main(["--params", arguments, "--store", str(store)]) == 2
    assert "augmentation: Input should be 'Full', 'Min_Blur'" in caplog.text


def test_a_full_disk_ends_with_a_line_on_space(small_disk, store):
    """In a process of its own, because HDF5 could take this one down."""
    resize(small_disk, megabytes=2)
    shutil.copytree(store / "many", small_disk / "many")
    given = params(plates=["many"], rois=400).model_dump_json()
    command = [sys.executable, "-m", "tasks.steps.augment", "--params", given, "--store", str(small_disk)]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert ended.returncode == FAILED
    assert f"no space left in the store {small_disk}" in ended.stdout.splitlines()[-1]


def test_the_workers_end_when_augment_is_killed(store):
    given = params(plates=["many"], rois=8000).model_dump_json()
    command = [sys.executable, "-m", "tasks.steps.augment", "--params", given, "--store", str(store)]
    augment = subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | {CORES: "2"}, stdout=subprocess.DEVNULL)
    try:
        while not any(file.stat().st_blocks > 200 for file in (store / "augment").glob(f"**/{ROI_FILE}")):
            assert augment.poll() is None
            time.sleep(0.02)
        workers = [one for one in psutil.Process(augment.pid).children() if "spawn_main" in " ".join(one.cmdline())]
    finally:
        augment.kill()
        augment.wait()
    assert len(workers) == 2
    _, alive = psutil.wait_procs(workers, timeout=20)
    for worker in alive:
        worker.kill()
    assert alive == []


def make_in_part(store) -> None:
    """Add the plate `part` of two fields, in which one nucleus of f0 and its surroundings are annotated, and all of f1.

    Its nuclei outside are bright and have no label.
    """
    fields = {f"f{number}": field(70 + number) for number in range(2)}
    images, labels = ({fov: pair[part] for fov, pair in fields.items()} for part in (0, 1))
    ignored = np.ones((160, 200), np.uint8)
    ignored[80:140, 120:180] = 0
    labels["f0"] = np.where(ignored, 0, labels["f0"]).astype(np.uint16)
    make_plate(store / "part", images, labels, {"f0": ignored}, cell_line="part")


def test_rois_of_a_field_in_part_show_its_annotated_part_and_say_what_is_ignored(store):
    make_in_part(store)
    result = execute(TASK, params(plates=["part", "one"], augmentation="None", scaling="minmax"), store)
    reader = RoiReader(store / result.outputs["rois"], leaves_out_ignored=True)
    with h5py.File(store / result.outputs["rois"]) as file:
        names = [(row["plate"].decode(), row["fov"].decode()) for row in file["sources"][:]]
        sources = [names[number] for number in file["rois"]["source"]]
    for row, source in enumerate(sources):
        ignored = reader.ignored(row)
        if source == ("part", "f0"):
            assert 0.05 < (~ignored).mean() < 1
            # Nuclei that nobody labelled are where nothing counts; interpolation may move an outline.
            unlabelled = (reader.image(row) > 128) & (reader.label_image(row) == 0)
            assert (unlabelled & ~ignored).mean() < 0.02
        else:
            assert not ignored.any()
    assert sources.count(("part", "f0")) >= 10


def test_the_same_seed_gives_the_same_rois_of_a_field_in_part(store):
    make_in_part(store)
    chosen = params(plates=["part"], rois=12)
    sources = sources_of(store, chosen)
    augmentation = PRESETS["Full"]
    block = next(block for block in plan_blocks(sources, augmentation.scales, chosen) if block.source.ignored_path)
    first, again = (make_block(block, augmentation, chosen) for _ in range(2))
    for name, values in vars(first).items():
        np.testing.assert_array_equal(getattr(again, name), values)


def test_a_rois_file_of_whole_fields_is_without_what_is_ignored(store):
    result = execute(TASK, params(rois=12), store)
    with h5py.File(store / result.outputs["rois"]) as file:
        assert sorted(file) == ["blurred_border", "distance_map", "image", "labels", "rois", "sources"]


def test_a_single_field_in_part_is_cut_where_both_regions_have_something_annotated(store):
    make_in_part(store)
    for name in ("images", "labels"):
        (store / "part" / name / "f1.tif").unlink()
    training, validation = sources_of(store, params(plates=["part"]))
    assert training.region[3] == validation.region[1]
    assert 120 < training.region[3] < 180
