"""Segmenting plates by networks that know nuclei of one size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.contract import Result, execute
from tasks.methods.segmenter import Segmenter
from tasks.nuclei.errors import InputError
from tasks.nuclei.nuclear_size import zoom_for
from tasks.nuclei.segmentation import Nuclei, SegmentationSettings
from tasks.steps import ingest, segment
from tests.bright_disks import NUCLEUS_PX, BrightDisks, field_of_disks
from tests.networks import make_network
from tests.plates import make_plate
from tests.stored_results import add_model, add_plate


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`a` has ten fields with disks of 20 px, `b` has one with disks of 40 px, `empty` one without any."""
    images = {f"f{number}": field_of_disks(20, 160, number) for number in range(10)}
    make_plate(tmp_path / "a", images, {}, role="screen")
    make_plate(tmp_path / "b", {"f": field_of_disks(40, 320)}, {}, role="screen")
    make_plate(tmp_path / "empty", {"f": images["f0"] % 50}, {}, role="screen")
    (tmp_path / "network").mkdir()
    monkeypatch.setattr(segment, "load_segmenter", lambda method, folders, settings: BrightDisks(settings))
    return tmp_path


def segmented(store: Path, plate: str, **changes: Any) -> Result:
    given = {"method": "fpn2_ws", "networks": ["network"], "plate": plate, **changes}
    return execute(segment.TASK, segment.Params.model_validate(given), store)


def test_a_plate_with_nuclei_twice_as_large_is_magnified_half_as_much(store: Path) -> None:
    small, large = segmented(store, "a"), segmented(store, "b")
    assert small.metrics["zoom"] == zoom_for(20, NUCLEUS_PX) == 2 * large.metrics["zoom"]
    assert small.metrics["nuclear_diameter_px"] == pytest.approx(20, rel=0.05)
    assert (small.counts["nuclei"], large.counts["nuclei"]) == (10 * 16, 16)
    assert small.values["remarks"] == large.values["remarks"] == []


def test_all_parts_of_a_plate_are_magnified_alike(store: Path) -> None:
    """The nuclei of one part are twice as large as those of all others."""
    images = {f"f{number}": field_of_disks(40 if number == 9 else 20, 160, number) for number in range(10)}
    make_plate(store / "c", images, {}, role="screen")
    parts = [segmented(store, "c", fovs=[name]) for name in ("f0", "f9")]
    assert parts[0].metrics["zoom"] == parts[1].metrics["zoom"]


def test_all_parts_of_a_plate_are_seen_at_the_level_of_its_brighter_fields(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = []

    class Recording(BrightDisks):
        def look_at(self, image: Any) -> Any:
            levels.append(self.least_span)
            return super().look_at(image)

    monkeypatch.setattr(segment, "load_segmenter", lambda method, folders, settings: Recording(settings))
    images = {f"f{number}": field_of_disks(20, 160, number) for number in range(4)}
    images["dark"] = images["f0"] % 50
    arrived = make_plate(store / "d", images, {}, role="screen")
    plate = execute(ingest.TASK, ingest.Params(folder=str(arrived)), store).outputs["plate"]
    for name in ("f0", "dark"):
        segmented(store, plate, fovs=[name])
    assert len(set(levels)) == 1
    assert levels[0] == pytest.approx(900 / 2, rel=0.1)


class Cut(BrightDisks):
    """Its machine goes away when nuclei are found."""

    @staticmethod
    def nuclei_in(seen: Any, settings: Any) -> Nuclei:
        raise KeyboardInterrupt


def test_a_retry_takes_level_and_size_of_the_attempt_before(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = {f"f{number}": field_of_disks(20, 160, number) for number in range(4)}
    arrived = make_plate(store / "d", images, {}, role="screen")
    plate = execute(ingest.TASK, ingest.Params(folder=str(arrived)), store).outputs["plate"]
    monkeypatch.setattr(segment, "load_segmenter", lambda method, folders, settings: Cut(settings))
    with pytest.raises(KeyboardInterrupt):
        segmented(store, plate, fovs=["f0"], nuclear_diameter_px=20)
    monkeypatch.setattr(segment, "load_segmenter", lambda method, folders, settings: BrightDisks(settings))
    monkeypatch.setattr(segment, "_readable_images", lambda fovs: pytest.fail("fields were looked at again"))
    assert segmented(store, plate, fovs=["f0"], nuclear_diameter_px=20).counts["nuclei"] == 16


def test_fields_are_only_looked_at_for_what_needs_it(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third-party tool sees the images as they are."""

    class Tool(BrightDisks):
        def __init__(self, settings: Any) -> None:
            super().__init__(settings)
            Segmenter.__init__(self, settings)

    monkeypatch.setattr(segment, "load_segmenter", lambda method, folders, settings: Tool(settings))
    monkeypatch.setattr(segment, "_readable_images", lambda fovs: pytest.fail("fields were looked at first"))
    assert segmented(store, "a").counts["fovs"] == 10


@pytest.mark.parametrize(("trained_um", "is_remarked"), [((0.5,), False), ((0.4, 1.2), False), ((0.2, 0.3), True)])
def test_a_plate_of_another_pixel_size_than_the_networks_learnt_from_is_told_of(
    store: Path, monkeypatch: pytest.MonkeyPatch, trained_um: tuple[float, ...], is_remarked: bool
) -> None:
    def of_one_zoom(method: Any, folders: Any, settings: SegmentationSettings) -> BrightDisks:
        model = BrightDisks(settings)
        model.nucleus_px = None
        return model

    monkeypatch.setattr(segment, "load_segmenter", of_one_zoom)
    plates = [add_plate(store, f"t{size}", "U2OS", {"f": [0, 1]}) for size in trained_um]
    for path, size in zip(plates, trained_um, strict=True):
        info = json.loads((store / path / "plate.json").read_text())
        (store / path / "plate.json").write_text(json.dumps(info | {"pixel_size_um": size}))
    add_model(store, "k", plates)
    remarks = segmented(store, "a", networks=["train_fpn2_ws/k"]).values["remarks"]
    assert len(remarks) == is_remarked
    if is_remarked:
        assert remarks[0].startswith("its pixels are 0.5 µm wide, and those of the plates that the networks were")
        assert "trained on 0.2 to 0.3 µm, so that its nuclei look smaller than those that they know" in remarks[0]


def test_an_empty_plate_is_not_magnified_and_the_log_says_so(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    result = segmented(store, "empty")
    assert (result.metrics["zoom"], result.counts["nuclei"], result.values["remarks"]) == (1, 0, [])
    assert "nuclear_diameter_px" not in result.metrics
    assert "empty: no nuclei were found, zoom 1.00" in caplog.text


def test_a_nuclear_diameter_that_a_person_gives_is_taken(store: Path) -> None:
    result = segmented(store, "a", nuclear_diameter_px=NUCLEUS_PX / 2)
    assert (result.metrics["zoom"], result.metrics["nuclear_diameter_px"]) == (2, NUCLEUS_PX / 2)
    (remark,) = segmented(store, "a", nuclear_diameter_px=400).values["remarks"]
    assert remark.startswith("its nuclei are 400 px across; at the bound of all zooms, 0.25")


def test_a_nuclear_diameter_is_refused_where_it_would_change_nothing(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed = BrightDisks(SegmentationSettings(), nucleus_px=None, zoom=2.0)
    monkeypatch.setattr(segment, "load_segmenter", lambda *_: fixed)
    with pytest.raises(InputError, match="nuclear_diameter_px: these networks see every plate at the zoom 2, what"):
        segmented(store, "a", nuclear_diameter_px=20)
    result = segmented(store, "a")
    assert "zoom" not in result.metrics
    assert result.values["remarks"] == []


def test_an_image_that_can_not_be_read_does_not_hide_the_size_from_the_other_parts(store: Path) -> None:
    (store / "a" / "images" / "f0.tif").write_bytes(b"II*\0 cut")
    assert segmented(store, "a", fovs=["f1"]).metrics["zoom"] == zoom_for(20, NUCLEUS_PX)
    with pytest.raises(InputError, match=r"1 of 2 fields failed, the others are done: .*f0\.tif"):
        segmented(store, "a", fovs=["f0", "f1"])


def test_an_attempt_that_resumes_magnifies_as_the_one_before(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = store / "a" / "images" / "f9.tif"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    with pytest.raises(InputError, match="1 of 10 fields failed"):
        segmented(store, "a")
    path.write_bytes(whole)
    monkeypatch.setattr(BrightDisks, "size_in", lambda *_: pytest.fail("the size was found before"))
    assert segmented(store, "a").metrics["zoom"] == zoom_for(20, NUCLEUS_PX)


def test_a_network_tells_by_its_folder_which_size_it_knows(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    make_network(store / "sized", nucleus_px=NUCLEUS_PX)
    loose = {"marker_threshold": 0.5, "foreground_threshold": 0.5, "min_area_px": 5}
    result = segmented(store, "b", networks=["sized"], settings=loose)
    assert result.metrics["zoom"] == zoom_for(result.metrics["nuclear_diameter_px"], NUCLEUS_PX)
