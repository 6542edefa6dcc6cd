"""Tests of tasks.nuclei.plates.choosing, by plates whose files have the names of microscopes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.files import Plate, pair_files
from tests.plates import make_plate, two_squares

IMAGE, LABEL_IMAGE = two_squares()


def cv7000(well: str = "B07", f: int = 1, c: int = 1, z: int = 1, t: int = 1, a: int = 1) -> str:
    return f"p_{well}_T{t:04d}F{f:03d}L01A{a:02d}Z{z:02d}C{c:02d}"


def pair(tmp_path: Path, names: Iterable[str], labels: Iterable[str] = (), **info: Any) -> Plate:
    return pair_files(
        make_plate(tmp_path / "p", dict.fromkeys(names, IMAGE), dict.fromkeys(labels, LABEL_IMAGE), **info)
    )


TWO_CHANNELS = [cv7000(well, c=c, a=c) for well in ("B07", "B08") for c in (1, 2)]


def test_several_channels_are_refused_with_their_counts_and_what_to_write(tmp_path: Path) -> None:
    message = r'images/: has 2 channels, 1 \(2 images\), 2 \(2 images\); say in plate.json .*"channel": 1\.$'
    with pytest.raises(InputError, match=message):
        pair(tmp_path, TWO_CHANNELS)


def test_the_chosen_channel_gives_the_fields_and_brings_its_action_along(tmp_path: Path) -> None:
    plate = pair(tmp_path, TWO_CHANNELS, channel=2)
    assert [(fov.well, fov.site, fov.channel, fov.acquisition) for fov in plate.fovs] == [
        ("B07", 1, 2, 2),
        ("B08", 1, 2, 2),
    ]
    assert plate.not_used == {"images of other channels": 2}


@pytest.mark.parametrize(
    ("names", "key", "value", "chosen"),
    [
        ([cv7000(z=1), cv7000(z=2)], "z", 2, cv7000(z=2)),
        ([cv7000(t=1), cv7000(t=2)], "time", 1, cv7000(t=1)),
        ([cv7000(a=1), cv7000(a=2)], "acquisition", 2, cv7000(a=2)),
        (["W0001F0001T0001Z000C1", "W0001F0001T0001Z001C1"], "z", 0, "W0001F0001T0001Z000C1"),
        ([f"A - 01(fld 1 wv {c})" for c in ("DAPI - DAPI", "Cy5 - Cy5")], "channel", "dapi - dapi", None),
        (["x_ch00", "x_ch01", "y_ch00", "y_ch01"], "channel", "ch01", None),
        (["B07_DAPI", "B07_GFP"], "channel", "DAPI", "B07_DAPI"),
        (["x_s1c1", "x_s1c2", "x_s2c1", "x_s2c2"], "channel", "c2", "x_s1c2"),
        ([f"--W00001--P00001--Z00000--T0000{t}--DAPI" for t in (0, 1)], "time", 0, None),
    ],
)
def test_each_of_what_a_name_says_is_asked_for_and_chosen(
    tmp_path: Path, names: list[str], key: str, value: int | str, chosen: str | None
) -> None:
    with pytest.raises(InputError, match=rf"images/: has 2 .*; say in plate\.json .*, such as \"{key}\": "):
        pair(tmp_path / "1", names)
    plate = pair(tmp_path / "2", names, (), **{key: value})
    assert len(plate.fovs) == len(names) // 2
    assert chosen is None or plate.fovs[0].name == chosen
    assert sum(plate.not_used.values()) == len(names) // 2


def test_all_that_must_be_chosen_is_said_at_once(tmp_path: Path) -> None:
    names = [cv7000(c=c, z=z, t=t, a=c) for c in (1, 2) for z in (1, 2) for t in (1, 2)]
    with pytest.raises(InputError, match=r"2 channels.*2 planes along z.*2 time points") as error:
        pair(tmp_path, names)
    assert "acquisition" not in str(error.value)


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"channel": 3}, r"asks for channel 3, and there is only 1 \(2 images\), 2 \(2 images\); correct plate.json"),
        ({"channel": "DAPI"}, "asks for channel DAPI, and there is only 1"),
        ({"channel": 1, "z": 5}, r"asks for z 5, and there is only 1 \(2 images\)"),
        ({"channel": 1, "time": 0}, "asks for time 0, and there is only 1"),
        ({"channel": 1, "acquisition": 2}, "asks for acquisition 2, and there is only 1"),
    ],
)
def test_what_is_chosen_and_not_there_is_refused_with_what_there_is(
    tmp_path: Path, info: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        pair(tmp_path, TWO_CHANNELS, **info)


def test_a_channel_is_refused_where_no_name_gives_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="asks for channel 1, and no image says which one it is; remove channel"):
        pair(tmp_path, ["f1", "f2"], channel=1)


def test_a_number_may_be_written_as_in_the_names(tmp_path: Path) -> None:
    assert len(pair(tmp_path, TWO_CHANNELS, channel="02").fovs) == 2


def test_label_images_of_images_that_are_left_out_are_left_out_too(tmp_path: Path) -> None:
    plate = pair(tmp_path, TWO_CHANNELS, TWO_CHANNELS, channel=1)
    assert [fov.labels_path is not None for fov in plate.fovs] == [True, True]
    assert plate.not_used == {"images of other channels": 2, "label images of images left out": 2}


def test_a_label_image_without_any_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"labels/{cv7000('C01')}\.tif: has no image"):
        pair(tmp_path, TWO_CHANNELS, [cv7000("C01")], channel=1)


def test_a_field_whose_image_of_the_channel_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"well B08, site 1: has images, and none of what plate.json chooses; copy"):
        pair(tmp_path, TWO_CHANNELS[:-1], channel=2)
    with pytest.raises(InputError, match="Series2: has images, and none"):
        pair(tmp_path / "leica", ["Series1_ch00", "Series1_ch01", "Series2_ch00"], channel="ch01")


def test_two_images_of_one_well_and_site_are_refused_with_both_names(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=rf"{cv7000()} and {cv7000()}_copy are both well B07, site 1; remove or rename"
    ):
        pair(tmp_path, [cv7000(), f"{cv7000()}_copy", cv7000(f=2)])


@pytest.mark.parametrize(
    ("odd", "says"), [(["a"], "no well"), (["x_ch00"], "no well"), ([f"odd {n}" for n in range(3)], "no well")]
)
def test_one_name_without_a_well_among_others_is_refused_by_its_name(tmp_path: Path, odd: list[str], says: str) -> None:
    with pytest.raises(InputError, match=rf"images/: {len(odd)} of {len(odd) + 4} file names give {says}") as error:
        pair(tmp_path, [*odd, *(cv7000(f=f) for f in range(1, 5))])
    assert ", ".join(odd) in str(error.value)


def test_one_name_with_a_well_among_others_is_the_odd_one_and_ten_are_shown(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=rf"1 of 4 file names give a well, unlike the others \(a, \.\.\.\): {cv7000()}"
    ):
        pair(tmp_path / "1", ["a", "b", "c", cv7000()])
    with pytest.raises(
        InputError, match=r"11 of 23 file names give no well, .*x00, .* x09 and 1 more; rename or remove"
    ):
        pair(tmp_path / "2", [*(f"x{n:02}" for n in range(11)), *(cv7000(f=f) for f in range(1, 13))])


def test_a_screening_plate_is_without_the_few_odd_names_which_are_named(tmp_path: Path) -> None:
    names = [cv7000(f=f) for f in range(1, 5)]
    plate = pair(tmp_path / "1", [*names, "odd"], role="screen")
    assert [fov.name for fov in plate.fovs] == names
    problem = rf"images/odd\.tif: its name gives no well, unlike the others \({cv7000()}, \.\.\.\); rename it"
    (fault,) = plate.faults
    assert re.fullmatch(problem, fault.problem)
    plate = pair(tmp_path / "2", ["a", "b", "c", cv7000()], role="screen")
    assert [fov.name for fov in plate.fovs] == ["a", "b", "c"]
    with pytest.raises(InputError, match="2 of 4 file names give no well"):
        pair(tmp_path / "3", ["a", "b", *names[:2]], role="screen")


def test_stains_of_different_fields_leave_nothing_to_choose(tmp_path: Path) -> None:
    assert len(pair(tmp_path / "1", ["a_DAPI", "b_GFP", "c", "exp_c1", "x_c2"]).fovs) == 5
    assert len(pair(tmp_path / "2", ["a_DAPI", "a_GFP", "b_GFP", "b_DAPI", "c"], channel="DAPI").fovs) == 3
    with pytest.raises(InputError, match=r"has 2 channels, DAPI \(1 image\), GFP \(2 images\)"):
        pair(tmp_path / "3", ["a_DAPI", "a_GFP", "b_GFP"])


def test_channels_of_different_wells_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has 2 channels, 1 \(1 image\), 2 \(1 image\)"):
        pair(tmp_path, [cv7000("B07", c=1), cv7000("B08", c=2)])


def test_names_of_two_microscopes_may_be_mixed_where_they_leave_nothing_to_choose(tmp_path: Path) -> None:
    plate = pair(tmp_path, [cv7000("B07"), "r02c08f01p01-ch1sk1fk1fl1"])
    assert [fov.well for fov in plate.fovs] == ["B07", "B08"]


def test_the_wells_of_numbered_names_are_those_of_the_plate_in_plate_json(tmp_path: Path) -> None:
    names = ["W0025F0001T0001Z000C1", "W0026F0001T0001Z000C1"]
    assert [fov.well for fov in pair(tmp_path / "1", names).fovs] == ["W0025", "W0026"]
    assert [fov.well for fov in pair(tmp_path / "2", names, wells=384).fovs] == ["B01", "B02"]
