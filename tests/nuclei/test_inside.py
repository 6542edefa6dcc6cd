"""Paths that somebody else wrote, and whether they lead out of a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder/part").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    return tmp_path / "folder"


@pytest.mark.parametrize("path", ["part", "part/file", "not/there", "..part", ".hidden", "."])
def test_a_path_within_is_resolved_whether_it_is_there_or_not(folder: Path, path: str) -> None:
    assert inside(folder, path) == folder / path


@pytest.mark.parametrize(
    "path", ["..", "../elsewhere", "part/../../elsewhere", "part/..", "/etc/passwd", "//etc", "part\0/x"]
)
def test_a_path_that_leads_out_is_refused_by_its_text(folder: Path, path: str) -> None:
    with pytest.raises(InputError, match=r"folder: the path '.*' leads out of it; allowed are paths within"):
        inside(folder, path)


@pytest.mark.parametrize("path", ["link", "link/file/that/is/not/there", "part/link"])
def test_a_path_that_leads_out_by_a_link_is_refused_with_the_place_that_it_leads_to(folder: Path, path: str) -> None:
    (folder / "link").symlink_to("../elsewhere")
    (folder / "part/link").symlink_to(folder.parent / "elsewhere")
    with pytest.raises(InputError, match=r"leads out of it by a link, to /.*/elsewhere"):
        inside(folder, path)


def test_links_within_a_folder_and_the_folder_itself_as_a_link_are_followed(folder: Path) -> None:
    (folder / "link").symlink_to("part")
    (folder.parent / "other name").symlink_to("folder")
    assert inside(folder.parent / "other name", "link/file") == folder.parent / "other name/link/file"


def test_a_link_that_leads_around_is_left_to_whoever_opens_it(folder: Path) -> None:
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    assert inside(folder, "a") == folder / "a"
