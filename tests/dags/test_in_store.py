"""What a task's result names lies in the store, or isn't read."""

from pathlib import Path

import pytest

from nucleus_dags.in_store import LeadsOutOfStore, in_store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store behind a link, as where it lies on another disk, with links out of it and within it."""
    (tmp_path / "disk/score").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "disk/out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "disk/within").symlink_to("score")
    (tmp_path / "disk/around").symlink_to("around")
    (tmp_path / "store").symlink_to("disk")
    return tmp_path / "store"


@pytest.mark.parametrize("path", ["score", "score/f1.csv", "within/f1.csv", "not/there", "a..b", "", "around"])
def test_a_path_of_the_store_is_taken_whether_it_exists_or_not(store: Path, path: str) -> None:
    assert in_store(store, path) == store / path


@pytest.mark.parametrize(
    "path", ["../elsewhere", "score/../../elsewhere", "/etc/passwd", "out/x", "out", "a\0b", None, 7]
)
def test_a_path_that_leads_out_of_the_store_is_refused(store: Path, path: str) -> None:
    with pytest.raises(LeadsOutOfStore, match="leads out of the store"):
        in_store(store, path)
