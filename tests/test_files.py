"""Writing files whole or not at all, and what belongs together before a polite end."""

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks import files
from tasks.files import held_together, link_or_copy, sha256_of_all, written_whole


def test_what_was_written_takes_the_place_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with written_whole(path) as beside:
        beside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_after_an_error_the_file_is_as_before_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")

    def write() -> None:
        with written_whole(path) as beside:
            beside.write_text("ne")
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_extension_stays(tmp_path: Path) -> None:
    with written_whole(tmp_path / "best.h5") as beside:
        assert beside.suffix == ".h5"
        beside.touch()


def test_a_sigterm_takes_effect_after_what_is_held_together() -> None:
    happened = []
    before = signal.signal(signal.SIGTERM, lambda *_: happened.append("ended"))
    try:
        with held_together():
            signal.raise_signal(signal.SIGTERM)
            happened.append("written")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert happened == ["written", "ended"]


def test_another_thread_may_hold_together_too() -> None:
    def write() -> str:
        with held_together():
            return "written"

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(write).result() == "written"


def test_a_file_gets_a_second_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("content")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").samefile(tmp_path / "a")


def test_a_file_is_copied_to_where_it_can_have_no_second_name(tmp_path: Path, small_disk: Path) -> None:
    (tmp_path / "a").write_text("content")
    link_or_copy(tmp_path / "a", small_disk / "b")
    assert (small_disk / "b").read_text() == "content"


def test_the_hash_of_a_folder_is_of_the_names_and_contents_of_its_files(tmp_path: Path) -> None:
    hashes = set()
    for number, (name, content) in enumerate((("a", "1"), ("b", "1"), ("b", "2"), ("deep/b", "2"))):
        file = tmp_path / str(number) / "folder" / name
        file.parent.mkdir(parents=True)
        file.write_text(content)
        hashes.add(sha256_of_all(tmp_path / str(number) / "folder"))
    assert len(hashes) == 4
    (tmp_path / "0" / "folder" / "empty").mkdir()
    assert sha256_of_all(tmp_path / "0" / "folder") in hashes
    assert sha256_of_all(tmp_path / "2" / "folder" / "b") not in hashes


def test_a_large_file_is_hashed_once_and_again_when_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []

    def hash_of(path: Path) -> str:
        hashed.append(path)
        return ""

    monkeypatch.setattr(files, "sha256_of_all", hash_of)
    weights = tmp_path / "weights.h5"
    weights.write_text("1")
    for _ in range(2):
        files.sha256_once(weights)
    assert hashed == [weights]
    weights.write_text("12")
    files.sha256_once(weights)
    assert hashed == [weights, weights]
