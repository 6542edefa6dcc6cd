"""Plates that are put together in a browser, as files on a real disk."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import zipfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from nucleus_dags.errors import FormError
from nucleus_dags.plates import inbox as inboxes
from nucleus_dags.plates import uploads
from nucleus_dags.plates.inbox import Arrival, judge, look_at
from nucleus_dags.plates.plate_json import plates_in
from nucleus_dags.plates.uploads import (
    LEAST_FREE_BYTES,
    ROOTS,
    all_uploads,
    find,
    folder_at,
    hand_over,
    hand_over_labels,
    new_upload,
    old_uploads,
    path_of,
    paths_in_plate,
    receiving,
    remove,
    take_folder,
    unpack,
    without_common_folder,
    write_plate_json,
)

WAYS_OUT = (
    "../a.tif",
    "images/../../a.tif",
    "/etc/passwd",
    "..\\a.tif",
    "C:\\a.tif",
    "",
    ".",
    "a/..",
    "\\\\server\\a.tif",
)


def send(folder: Path, name: str, content: bytes = b"pixels", size: int | None = None) -> None:
    with receiving(folder, name, size) as file:
        file.write(content)


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def zipped(folder: Path, *names: str, change: Callable[[zipfile.ZipInfo], None] = lambda entry: None) -> str:
    """Send an archive of these files, each with its name as content."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            entry = zipfile.ZipInfo(name)
            change(entry)
            archive.writestr(entry, name)
    send(folder, "plate.zip", content.getvalue())
    return "plate.zip"


def whole(inbox: Path, name: str = "p") -> str:
    """Upload a plate as far as that it can be handed over; gives its id."""
    upload = new_upload(inbox, "from the microscope")
    send(upload.folder, "images/a.tif")
    write_plate_json(upload.folder, {"name": name, "role": "screen"})
    return upload.id


def import_all(inbox: Path, store: Path) -> None:
    """Remember all plates of the inbox as imported, as `ingest_plates` does."""
    for entry in inboxes.new_entries(inbox, store, 0):
        inboxes.record(entry, store, plate=f"ingest/{entry.name}@0123456789ab")


def no_room(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(free))


def test_an_upload_is_a_hidden_folder_that_is_found_by_its_id(inbox: Path) -> None:
    upload = new_upload(inbox, "Zählung 3")
    assert upload.folder == inbox / ".uploads" / upload.id / "Zählung 3"
    assert find(inbox, upload.id) == folder_at(inbox, upload.path) == upload.folder
    assert new_upload(inbox, "Zählung 3").id != upload.id


@pytest.mark.parametrize("name", [*WAYS_OUT, "a/b", ".hidden", "new\nline", "x" * 300])
def test_a_name_that_can_be_no_folder_of_a_plate_is_refused(inbox: Path, name: str) -> None:
    with pytest.raises(FormError):
        new_upload(inbox, name)
    assert not list(inbox.glob(".uploads/*"))


@pytest.mark.parametrize("upload", ["..", "", "0" * 16, "../../inbox", "0123456789ABCDEF", "0" * 15 + "/"])
def test_what_is_no_id_of_an_upload_leads_nowhere(inbox: Path, upload: str) -> None:
    new_upload(inbox, "p")
    with pytest.raises(FormError, match="There is no upload"):
        find(inbox, upload)
    with pytest.raises(FormError):
        folder_at(inbox, f"{upload}/p")
    remove(inbox, upload)
    assert len(all_uploads(inbox)) == 1


def test_the_path_of_an_upload_names_the_plate_too(inbox: Path) -> None:
    upload = new_upload(inbox, "p")
    with pytest.raises(FormError, match="holds p, and q was asked for"):
        folder_at(inbox, f"{upload.id}/q")


def test_files_keep_their_places_in_the_plate(inbox: Path) -> None:
    folder = new_upload(inbox, "p").folder
    for name in ("images/a.tif", "images\\b.tif", "./labels/a.tif", "images.ome.zarr/.zattrs"):
        send(folder, name)
    assert files_in(folder) == ["images.ome.zarr/.zattrs", "images/a.tif", "images/b.tif", "labels/a.tif"]
    assert (folder / "images/a.tif").read_bytes() == b"pixels"


@pytest.mark.parametrize("name", [".DS_Store", "images/._a.tif", "__MACOSX/a.tif", "Thumbs.db", "images/.hidden/a.tif"])
def test_what_systems_leave_is_not_kept(inbox: Path, name: str) -> None:
    folder = new_upload(inbox, "p").folder
    send(folder, name)
    assert path_of(name) is None
    assert files_in(folder) == []


@pytest.mark.parametrize("name", [*WAYS_OUT, "a\0.tif", "a\n.tif", "images/" + "x" * 300, "images/\udcff.tif"])
def test_a_file_that_leads_elsewhere_or_cannot_be_written_is_refused_and_leaves_nothing(inbox: Path, name: str) -> None:
    folder = new_upload(inbox, "p").folder
    before = files_in(inbox)
    with pytest.raises(FormError):
        send(folder, name)
    assert files_in(inbox) == before


def test_a_file_and_a_folder_of_one_name_are_refused(inbox: Path) -> None:
    folder = new_upload(inbox, "p").folder
    send(folder, "images/a.tif")
    send(folder, "notes")
    for name in ("images", "notes/a.tif"):
        with pytest.raises(FormError, match="a file and a folder have the same name"):
            send(folder, name)
    assert files_in(folder) == ["images/a.tif", "notes"]


def test_a_file_that_breaks_off_or_is_cut_short_leaves_nothing_and_may_be_sent_again(inbox: Path) -> None:
    folder = new_upload(inbox, "p").folder
    half: list[str] = []

    def broken_off() -> None:
        with receiving(folder, "a.tif") as file:
            file.write(b"half")
            half.extend(files_in(folder))
            raise ConnectionError

    with pytest.raises(ConnectionError):
        broken_off()
    assert [name.endswith(".part") for name in half] == [True]
    with pytest.raises(FormError, match="4 of 6 bytes came; send it again"):
        send(folder, "a.tif", b"half", size=6)
    assert files_in(folder) == []
    send(folder, "a.tif", b"pixels", size=6)
    assert files_in(folder) == ["a.tif"]


def test_some_of_the_disk_stays_free(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = new_upload(inbox, "p").folder
    no_room(monkeypatch, LEAST_FREE_BYTES + 5)
    with pytest.raises(FormError, match="has room for 5 bytes, and 6 are to come; free some room"):
        send(folder, "a.tif", b"pixels")
    send(folder, "b.tif", b"pixel")
    assert files_in(folder) == ["b.tif"]


@pytest.mark.parametrize(
    ("names", "without"),
    [
        (["p/images/a.tif", "p/labels/a.tif"], ["images/a.tif", "labels/a.tif"]),
        (["x/p/a.tif", "x/p/b.tif"], ["a.tif", "b.tif"]),
        (["images/a.tif", "images/b.tif"], ["images/a.tif", "images/b.tif"]),
        (["p/images/a.tif"], ["images/a.tif"]),
        (["images.ome.zarr/.zattrs"], ["images.ome.zarr/.zattrs"]),
        (["p/a.tif", "q/a.tif"], ["p/a.tif", "q/a.tif"]),
        (["a.tif"], ["a.tif"]),
        (["p\\a.tif", "p/b.tif"], ["a.tif", "b.tif"]),
        ([], []),
    ],
)
def test_the_folder_that_all_files_lie_in_is_the_plate(names: list[str], without: list[str]) -> None:
    assert without_common_folder(names) == without


def test_a_browsers_files_get_paths_in_the_plate_but_for_what_systems_leave() -> None:
    assert paths_in_plate(["p/images/a.tif", "p/.DS_Store", "p/labels/a.tif"]) == ["images/a.tif", None, "labels/a.tif"]


@pytest.mark.parametrize(
    "names", [["images/a.tif", "images/a.tif", "labels/a.tif"], ["p\\images\\a.tif", "p/images/a.tif", "p/b.tif"]]
)
def test_files_that_would_take_each_others_place_are_refused(names: list[str]) -> None:
    with pytest.raises(FormError, match=r"Several files would get the name images/a\.tif, .* with images/ and labels/"):
        paths_in_plate(names)


def test_an_archive_is_unpacked_and_gone(inbox: Path) -> None:
    folder = new_upload(inbox, "p").folder
    names = ("p/", "p/images/", "p/images/a.tif", "p/masks/a.tif", "__MACOSX/p/._a.tif", "p/.DS_Store")
    unpack(folder, zipped(folder, *names))
    assert files_in(folder) == ["images/a.tif", "masks/a.tif"]
    assert (folder / "masks/a.tif").read_text() == "p/masks/a.tif"
    assert files_in(folder.parent) == ["p/images/a.tif", "p/masks/a.tif"]


def _is_link(entry: zipfile.ZipInfo) -> None:
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16


def _is_pipe(entry: zipfile.ZipInfo) -> None:
    entry.external_attr = (stat.S_IFIFO | 0o666) << 16


@pytest.mark.parametrize("name", ["../a.tif", "/etc/a.tif", "p/../../a.tif", "..\\..\\a.tif", "p/new\nline.tif"])
def test_an_archive_with_a_path_out_of_it_is_refused_and_leaves_nothing(inbox: Path, name: str) -> None:
    folder = new_upload(inbox, "p").folder
    archive = zipped(folder, "images/a.tif", name)
    with pytest.raises(FormError):
        unpack(folder, archive)
    assert files_in(inbox) == [f"{folder.relative_to(inbox).as_posix()}/plate.zip"]


@pytest.mark.parametrize("change", [_is_link, _is_pipe])
def test_links_and_pipes_in_an_archive_are_refused(inbox: Path, change: Callable[[zipfile.ZipInfo], None]) -> None:
    folder = new_upload(inbox, "p").folder
    with pytest.raises(FormError, match="is a link or no file"):
        unpack(folder, zipped(folder, "images/a.tif", change=change))
    assert files_in(folder) == ["plate.zip"]


def test_an_archive_that_would_fill_the_disk_is_refused_before_anything_is_written(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = new_upload(inbox, "p").folder
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images/a.tif", bytes(2**24))
    send(folder, "plate.zip", content.getvalue())
    assert len(content.getvalue()) < 2**15
    no_room(monkeypatch, LEAST_FREE_BYTES + 2**20)
    with pytest.raises(FormError, match="and 16,777,216 are to come"):
        unpack(folder, "plate.zip")
    assert files_in(folder) == ["plate.zip"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-30],
        lambda content: b"no archive",
        lambda content: content[:40] + b"x" * 9 + content[49:],
    ],
)
def test_half_an_archive_is_refused_and_leaves_nothing(inbox: Path, damage: Callable[[bytes], bytes]) -> None:
    folder = new_upload(inbox, "p").folder
    archive = folder / zipped(folder, "images/a-long-name-of-an-image.tif")
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(FormError, match="is damaged, only half there or has a password"):
        unpack(folder, "plate.zip")
    assert files_in(folder.parent) == ["p/plate.zip"]


def test_an_archive_that_has_a_file_twice_or_none_or_one_that_is_there_is_refused(inbox: Path) -> None:
    folder = new_upload(inbox, "p").folder
    for names, words in (
        (("a.tif", "./a.tif"), "twice"),
        ((".DS_Store",), "holds no file"),
        (("a.tif", "a.tif/b"), "same name"),
    ):
        with pytest.raises(FormError, match=words):
            unpack(folder, zipped(folder, *names))
    send(folder, "images/a.tif")
    with pytest.raises(FormError, match="holds images, which is there already"):
        unpack(folder, zipped(folder, "images/b.tif", "labels/b.tif"))
    assert files_in(folder) == ["images/a.tif", "plate.zip"]


def test_an_upload_is_no_plate_for_the_inbox_whatever_is_in_it(inbox: Path, store: Path) -> None:
    folder = find(inbox, whole(inbox))
    (folder / "DONE").touch()
    assert inboxes.entries(inbox) == []
    assert inboxes.new_entries(inbox, store, 0) == []
    assert inboxes.no_plates_in(inbox, set()) == []
    assert plates_in(inbox).folder_names == set()


def test_a_plate_is_handed_over_whole_under_its_name(inbox: Path, store: Path) -> None:
    upload = whole(inbox, "my-plate")
    plate = hand_over(inbox, upload, store)
    assert plate == inbox / "my-plate"
    # Without a time of quiet.
    arrival = look_at(plate, 3600)
    assert isinstance(arrival, Arrival)
    assert [entry.name for entry in inboxes.new_entries(inbox, store, 3600)] == ["my-plate"]
    with pytest.raises(FormError, match="There is no upload"):
        hand_over(inbox, upload, store)
    assert all_uploads(inbox) == []


def test_a_plate_that_waits_in_the_inbox_is_not_replaced(inbox: Path, store: Path) -> None:
    hand_over(inbox, whole(inbox), store)
    upload = whole(inbox)
    with pytest.raises(FormError, match="A plate p lies in the inbox, in the folder p, and wasn't imported yet"):
        hand_over(inbox, upload, store)
    (inbox / "p").rename(inbox / "batch 3")
    with pytest.raises(FormError, match="in the folder batch 3, and wasn't imported yet"):
        hand_over(inbox, upload, store)
    (inbox / "batch 3/plate.json").unlink()
    (inbox / "batch 3").rename(inbox / "p")
    with pytest.raises(FormError, match="in the folder p, and wasn't imported yet"):
        hand_over(inbox, upload, store)
    assert find(inbox, upload).exists()


def test_a_new_version_takes_the_place_of_an_imported_one_which_is_kept_for_a_while(inbox: Path, store: Path) -> None:
    hand_over(inbox, whole(inbox), store)
    import_all(inbox, store)
    upload = whole(inbox)
    send(find(inbox, upload), "images/b.tif")
    plate = hand_over(inbox, upload, store)
    assert files_in(plate) == ["DONE", "images/a.tif", "images/b.tif", "plate.json"]
    assert files_in(inbox / ".uploads" / upload / ".replaced/p") == ["DONE", "images/a.tif", "plate.json"]
    assert [entry.name for entry in inboxes.new_entries(inbox, store, 3600)] == ["p"]
    assert all_uploads(inbox) == []
    assert old_uploads(inbox, 0) == [inbox / ".uploads" / upload]


def test_a_plate_that_was_refused_and_could_not_be_set_aside_is_not_replaced(inbox: Path, store: Path) -> None:
    arrival = judge(hand_over(inbox, whole(inbox), store), 0)
    assert isinstance(arrival, Arrival)
    inboxes.record(arrival, store, refused="for a test")
    with pytest.raises(FormError, match="wasn't imported yet"):
        hand_over(inbox, whole(inbox), store)


@pytest.mark.parametrize(
    ("name", "words"),
    [("images/.0123.part", "still being sent"), ("images/b.tif.part", "still being sent"), ("b.zip", "isn't unpacked")],
)
def test_half_a_plate_is_not_handed_over(inbox: Path, store: Path, name: str, words: str) -> None:
    upload = whole(inbox)
    (find(inbox, upload) / name).write_bytes(b"half")
    with pytest.raises(FormError, match=words):
        hand_over(inbox, upload, store)
    assert inboxes.entries(inbox) == []


@pytest.mark.parametrize("name", ["../p", "a/b", "ü", ".uploads", "-p", "x" * 101])
def test_a_plate_whose_name_is_no_name_is_not_handed_over(inbox: Path, store: Path, name: str) -> None:
    with pytest.raises(FormError, match="can't be the name of a plate"):
        hand_over(inbox, whole(inbox, name), store)
    assert inboxes.entries(inbox) == []


@pytest.mark.parametrize("name", ["rejected", "to_annotate", "Recycler", "desktop.ini"])
def test_a_plate_whose_name_the_inbox_would_ignore_is_not_handed_over(inbox: Path, store: Path, name: str) -> None:
    with pytest.raises(FormError, match=f"{name}: can't be the name of a plate, since the inbox uses or ignores it"):
        hand_over(inbox, whole(inbox, name), store)
    assert inboxes.entries(inbox) == []


def test_of_two_people_who_hand_over_one_name_at_once_the_second_is_told(
    inbox: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = whole(inbox), whole(inbox)
    looked = uploads._standing

    def overtaken(of: Path, name: str) -> list[Path]:
        standing = looked(of, name)
        monkeypatch.undo()
        hand_over(inbox, first, store)
        return standing

    monkeypatch.setattr(uploads, "_standing", overtaken)
    with pytest.raises(
        FormError, match=r"p: can't be moved into the inbox .* somebody else hands over a plate of this"
    ):
        hand_over(inbox, second, store)
    assert files_in(inbox / "p") == ["DONE", "images/a.tif", "plate.json"]
    assert find(inbox, second).is_dir()


def test_values_that_were_not_given_are_left_out_of_plate_json(inbox: Path) -> None:
    folder = new_upload(inbox, "p").folder
    write_plate_json(folder, {"name": "p", "channel": None, "objective": "", "z": 0, "labels_confirmed": False})
    content = json.loads((folder / "plate.json").read_text())
    assert content == {"name": "p", "z": 0, "labels_confirmed": False}
    assert files_in(folder) == ["plate.json"]


def server_folder(folder: Path) -> Path:
    for name in ("images/a.tif", "images/.DS_Store", "DONE", "images.ome.zarr/.zattrs", "plate.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_a_folder_below_the_inbox_or_a_named_one_is_taken_and_stays_as_it_is(
    inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ROOTS, f"{tmp_path / 'microscope'}:{tmp_path / 'share'}")
    for source in (inbox / "raw", tmp_path / "microscope/2026/raw", tmp_path / "share/raw"):
        server_folder(source)
        folder = new_upload(inbox, "p").folder
        take_folder(inbox, folder, str(source))
        assert files_in(folder) == ["images.ome.zarr/.zattrs", "images/a.tif", "plate.json"]
        write_plate_json(folder, {"name": "p"})
        send(folder, "images/a.tif", b"changed")
        assert [(source / name).read_text() for name in ("plate.json", "images/a.tif")] == [
            "plate.json",
            "images/a.tif",
        ]


def test_files_are_copied_where_they_cannot_be_linked(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = server_folder(inbox / "raw")

    def other_disk(*args: object, **options: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_disk)
    folder = new_upload(inbox, "p").folder
    take_folder(inbox, folder, str(source))
    assert (folder / "images/a.tif").read_text() == "images/a.tif"
    assert (folder / "images/a.tif").stat().st_nlink == 1


def test_any_other_folder_of_the_server_is_refused(
    inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ROOTS, str(tmp_path / "share"))
    outside = server_folder(tmp_path / "outside")
    (tmp_path / "share").mkdir()
    (tmp_path / "share/link").symlink_to(outside)
    (tmp_path / "sharelike").mkdir()
    of_others = new_upload(inbox, "of others").folder
    folder = new_upload(inbox, "p").folder
    for source in (
        *(outside, inbox, tmp_path / "share", tmp_path / "share/link", tmp_path / "share/../outside", of_others),
        *("/etc", "/", "", "nowhere", tmp_path / "sharelike", inbox / "nowhere"),
    ):
        with pytest.raises(FormError, match="is no folder that may be taken; allowed are folders below"):
            take_folder(inbox, folder, str(source))
    assert files_in(folder) == []


def test_links_and_half_copies_in_a_folder_of_the_server_are_refused(inbox: Path) -> None:
    folder = new_upload(inbox, "p").folder
    for number, (name, make) in enumerate(
        (
            ("images/link.tif", lambda path: path.symlink_to("/etc/passwd")),
            ("more", lambda path: path.symlink_to("/etc")),
            ("images/pipe.tif", os.mkfifo),
            ("images/b.tif.part", Path.touch),
        )
    ):
        source = server_folder(inbox / f"raw {number}")
        make(source / name)
        with pytest.raises(FormError, match=f"{name}: is a "):
            take_folder(inbox, folder, str(source))
    (inbox / "empty").mkdir()
    with pytest.raises(FormError, match="holds no file"):
        take_folder(inbox, folder, str(inbox / "empty"))
    assert files_in(folder) == []


def test_uploads_are_listed_and_old_ones_found_and_removed(inbox: Path) -> None:
    upload = new_upload(inbox, "p")
    send(upload.folder, "images/a.tif", b"pixels")
    [listed] = all_uploads(inbox)
    assert (listed.id, listed.path, listed.files, listed.bytes) == (upload.id, f"{upload.id}/p", 1, 6)
    assert 0 <= listed.age_days < 0.1
    assert old_uploads(inbox, 1) == []
    assert old_uploads(inbox, -1) == [inbox / ".uploads" / upload.id]
    remove(inbox, upload.id)
    assert all_uploads(inbox) == []


def test_uploads_behind_a_link_are_refused(inbox: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (inbox / ".uploads").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FormError, match="is a link, and must be a folder"):
        new_upload(inbox, "p")


REQUEST = "0123456789abcdef"


@pytest.fixture
def sent(store: Path) -> Path:
    """A store that something was sent to annotation from."""
    (store / "send_to_annotation" / REQUEST).mkdir(parents=True)
    return store


def upload_of(inbox: Path, *names: str) -> str:
    """Put files into an upload; gives its id."""
    upload = new_upload(inbox, "returned")
    for name in names:
        with receiving(upload.folder, name) as file:
            file.write(b"{}")
    return upload.id


def test_corrected_labels_go_into_the_inbox_as_they_are_and_an_earlier_answer_stays(inbox: Path, sent: Path) -> None:
    name = f"NAME_annotation-{REQUEST}.geojson"
    first, second = (hand_over_labels(inbox, upload_of(inbox, name), sent) for _ in range(2))
    assert (first[0], first[1]) == (inbox / name, REQUEST)
    assert second[0].suffix == ".geojson"
    assert sorted(path.name for path in inbox.iterdir()) == sorted([".uploads", first[0].name, second[0].name])
    assert all_uploads(inbox) == []
    assert isinstance(judge(first[0], 0), inboxes.Returned)


def test_corrected_labels_in_several_files_become_one_folder_of_the_inbox(inbox: Path, sent: Path) -> None:
    names = [f"labels/{number}_annotation-{REQUEST}.tif" for number in (1, 2)]
    folder, _ = hand_over_labels(inbox, upload_of(inbox, *names), sent)
    assert folder == inbox / f"annotation-{REQUEST}"
    assert isinstance(judge(folder, 0), inboxes.Returned)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("labels.tif", "Nothing of it was sent by send_to_annotation"),
        (f"a_annotation-{'f' * 16}.tif", "was not sent from this installation"),
        (f"a_annotation-{REQUEST}.tif.part", "still being sent"),
    ],
)
def test_what_is_no_whole_answer_to_a_request_of_this_store_stays_where_it_is(
    inbox: Path, sent: Path, name: str, why: str
) -> None:
    upload = upload_of(inbox, name)
    with pytest.raises(FormError, match=why):
        hand_over_labels(inbox, upload, sent)
    assert [path.name for path in inbox.iterdir()] == [".uploads"]
    assert find(inbox, upload).is_dir()
