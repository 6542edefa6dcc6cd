"""Whatever somebody else packed: all of it lands in the folder, or none of it and one sentence."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.annotation import package
from tasks.annotation.package import open_package, pack
from tasks.nuclei.errors import InputError
from tests.limits import within_limits

FILES = {"nuclei/ann/a.json": b"{}", "nuclei/img/a.png": b"png" * 999, "meta.json": b"[]"}


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def make_folder(path: Path) -> Path:
    for name, content in FILES.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def make_zip(path: Path) -> Path:
    pack(make_folder(path.with_suffix("")), path)
    return path


def make_tar(path: Path) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        archive.add(make_folder(path.parent / "folder"), "project")
    return path


@pytest.mark.parametrize(
    ("make", "name"),
    [(make_folder, "b"), (make_zip, "b.zip"), (make_tar, "b.tar"), (make_tar, "b.tar.gz"), (make_tar, "b.tgz")],
)
def test_folders_and_archives_are_opened_where_their_files_begin(
    make: Callable[[Path], Path], name: str, tmp_path: Path
) -> None:
    assert files_of(open_package(make(tmp_path / name), tmp_path / "into")) == FILES


def test_a_single_file_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "annotations.xml").write_bytes(b"<a/>")
    assert files_of(open_package(tmp_path / "annotations.xml", tmp_path / "into")) == {"annotations.xml": b"<a/>"}


def test_a_zip_of_rois_stays_a_zip_whose_name_is_that_of_the_image(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "B07_1.zip", "w") as archive:
        archive.writestr("nucleus-1.roi", b"Iout")
    assert set(files_of(open_package(tmp_path / "B07_1.zip", tmp_path / "into"))) == {"B07_1.zip"}


def test_what_systems_leave_behind_is_left_out_but_not_the_hidden_files_of_ome_zarr(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for name in ("a.ome.zarr/.zattrs", "a.ome.zarr/.zgroup", "__MACOSX/a", ".DS_Store", "x/Thumbs.db"):
            archive.writestr(name, b"1")
    opened = open_package(tmp_path / "b.zip", tmp_path / "into")
    assert set(files_of(opened)) == {"a.ome.zarr/.zattrs", "a.ome.zarr/.zgroup"}


def test_separators_of_windows_make_folders(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("nuclei\\ann\\a.json", b"{}")
        archive.writestr("meta.json", b"{}")
    assert set(files_of(open_package(tmp_path / "b.zip", tmp_path / "into"))) == {"nuclei/ann/a.json", "meta.json"}


def zip_with(path: Path, *names: str, mode: int = 0o644) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            archive.writestr(entry, b"/etc/passwd")
    return path


def tar_with(path: Path, name: str, kind: bytes, target: str = "") -> Path:
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname, entry.size = kind, target, 3 if kind == tarfile.REGTYPE else 0
        archive.addfile(entry, io.BytesIO(b"abc"))
    return path


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: zip_with(path / "b.zip", "good.json", "../evil.json"), "'../evil.json' in it leads out of it"),
        (lambda path: zip_with(path / "b.zip", "/etc/cron.d/evil"), "'/etc/cron.d/evil' in it leads out"),
        (lambda path: zip_with(path / "b.zip", "..\\..\\evil"), "'../../evil' in it leads out"),
        (lambda path: zip_with(path / "b.zip", "a.json", mode=0o120777), "'a.json' in it is a link"),
        (lambda path: zip_with(path / "b.zip", "a.json", "a.json"), "'a.json' is in it twice"),
        (lambda path: zip_with(path / "b.zip", "a", "a/b"), "'a/b' is in it twice"),
        (lambda path: tar_with(path / "b.tar", "../evil", tarfile.REGTYPE), "'../evil' in it leads out of it"),
        (lambda path: tar_with(path / "b.tar", "a", tarfile.SYMTYPE, "/etc"), "'a' in it is a link"),
        (lambda path: tar_with(path / "b.tar", "a", tarfile.LNKTYPE, "../../x"), "'a' in it is a link"),
        (lambda path: tar_with(path / "b.tar", "a", tarfile.FIFOTYPE), "'a' in it is no file"),
        (lambda path: zip_with(path / "b.zip"), "is empty"),
        (lambda path: path / "nothing.zip", "is not there"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_with_links_or_paths_out_of_them_leave_nothing_behind(
    make: Callable[[Path], Path], says: str, tmp_path: Path
) -> None:
    archive = make(tmp_path)
    with pytest.raises(InputError, match=says):
        open_package(archive, tmp_path / "deep/er/into")
    assert not (tmp_path / "deep/er/into").exists()
    assert [path.name for path in tmp_path.rglob("*evil*")] == []


def test_links_of_a_folder_are_not_followed(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "b")
    (folder / "all").symlink_to("/etc")
    with pytest.raises(InputError, match="'all' in it is a link"):
        open_package(folder, tmp_path / "into")
    (tmp_path / "link.zip").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match="is a link"):
        open_package(tmp_path / "link.zip", tmp_path / "into")


def test_a_pipe_in_a_folder_keeps_nobody_waiting(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "b")
    os.mkfifo(folder / "pipe.json")
    with pytest.raises(InputError, match=r"'pipe\.json' in it is no file"):
        open_package(folder, tmp_path / "into")


@pytest.mark.parametrize("name", ["b.zip", "b.tar", "B07_1.tif"])
def test_a_pipe_in_the_place_of_an_answer_keeps_nobody_waiting(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with within_limits(), pytest.raises(InputError, match=f"{name}: is not a file but a device or a pipe; remove it"):
        open_package(tmp_path / name, tmp_path / "into")


@pytest.mark.parametrize("name", ["b.zip", "b.tar", "b.tar.gz"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, "without its end"])
def test_half_an_upload_is_refused(name: str, share: float | str, tmp_path: Path) -> None:
    archive = (make_zip if name.endswith("zip") else make_tar)(tmp_path / name)
    content = archive.read_bytes()
    # The zeros that fill up the last block of a TAR may be missing, but for its end.
    size = -(-len(content.rstrip(b"\0")) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE if name == "b.tar" else len(content)
    without_end = size if name == "b.tar" else size - 4
    archive.write_bytes(content[: int(share * size) if isinstance(share, float) else without_end])
    with pytest.raises(InputError, match=f"{name}: is damaged or only half there .*upload it again"):
        open_package(archive, tmp_path / "into")
    assert not (tmp_path / "into").exists()


def test_an_upload_that_is_under_way_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "b.zip.part").write_bytes(b"")
    with pytest.raises(InputError, match="is still being uploaded, or an upload broke off"):
        open_package(tmp_path / "b.zip.part", tmp_path / "into")


def test_other_archives_are_refused_with_what_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "b.rar").write_bytes(b"Rar!")
    with pytest.raises(InputError, match=r"allowed are ZIP, TAR and TAR\.GZ"):
        open_package(tmp_path / "b.rar", tmp_path / "into")


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "b.zip")
    content = bytearray(archive.read_bytes())
    content[content.index(b"pngpng") + 100] ^= 1
    archive.write_bytes(bytes(content))
    with pytest.raises(InputError, match="is damaged or only half there"):
        open_package(archive, tmp_path / "into")


def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.tif", bytes(10**6))
    monkeypatch.setattr(package, "MOST_BYTES", 10**6 - 1)
    with pytest.raises(InputError, match="unpacks to 1 files with 1,000,000 bytes; allowed are 100,000 and 999,999"):
        open_package(tmp_path / "b.zip", tmp_path / "into")


def test_a_zip_that_says_less_than_it_unpacks_to_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.tif", bytes(10**6))
    content = (tmp_path / "b.zip").read_bytes()
    (tmp_path / "b.zip").write_bytes(content.replace((10**6).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(InputError, match=r"b\.zip: "):
        open_package(tmp_path / "b.zip", tmp_path / "into")
    assert not (tmp_path / "into").exists()
