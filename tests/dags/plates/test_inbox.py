"""Plates that arrive in the inbox, as files on a real disk."""

import asyncio
import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import pytest

from nucleus_dags.plates import inbox, inbox_trigger, uploads
from nucleus_dags.plates.inbox import PATIENCE, Arrival, NoPlate, Returned, judge, look_at, new_entries
from nucleus_dags.plates.inbox_trigger import InboxTrigger
from tests.limits import within_limits


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("inbox", "store"):
        (tmp_path / name).mkdir()
    return tmp_path / "inbox", tmp_path / "store"


def make_plate(folder: Path, done: bool = False) -> Path:
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "a.tif").write_bytes(b"pixels")
    (folder / "plate.json").write_text("{}")
    if done:
        (folder / "DONE").touch()
    return folder


def the_arrival(folder: Path) -> Arrival:
    arrival = look_at(folder, 0)
    assert arrival is not None
    return arrival


def test_a_plate_has_arrived_when_nothing_of_it_changed_for_a_while(tmp_path: Path) -> None:
    plate = make_plate(tmp_path / "plate")
    assert look_at(plate, 60) is None
    time.sleep(0.3)
    assert look_at(plate, 0.2) is not None
    (plate / "images" / "b.tif").write_bytes(b"more")
    assert look_at(plate, 0.2) is None


def test_a_plate_has_not_arrived_sooner_because_the_clock_of_this_machine_is_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plate = make_plate(tmp_path / "plate")
    (tmp_path / "no plate").mkdir()
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3600)
    assert look_at(plate, 60) is None
    assert judge(tmp_path / "no plate", 60) is None


def test_a_plate_that_arrived_long_ago_has_arrived_though_the_clock_of_this_machine_is_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plate = make_plate(tmp_path / "plate")
    time.sleep(0.3)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 3600)
    assert look_at(plate, 0.2) is not None


def test_looking_at_the_clock_of_the_inbox_leaves_nothing_there(tmp_path: Path) -> None:
    look_at(make_plate(tmp_path / "plate"), 60)
    assert [path.name for path in tmp_path.iterdir()] == ["plate"]


def test_looking_at_the_clock_of_the_inbox_is_no_reason_to_look_again(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Path] = []

    def noted(entry: Path, quiet_for_s: float) -> Arrival | Returned | NoPlate | None:
        looks.append(entry)
        return judge(entry, quiet_for_s)

    monkeypatch.setattr(inbox_trigger, "judge", noted)
    box, store = folders
    make_plate(box / "plate")

    async def wait_for_it() -> None:
        async for _ in InboxTrigger(str(box), str(store), 60).run():
            pass

    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(wait_for_it(), 2))
    assert len(looks) <= 1


def test_a_damaged_record_of_an_arrival_counts_as_none(folders: tuple[Path, Path]) -> None:
    _, store = folders
    inbox.write_record(store / "arrivals" / "p" / "1.json", plate="ingest/p@0123456789ab")
    inbox.write_record(store / "arrivals" / "q" / "1.json", plate="ingest/q@0123456789ab")
    (store / "arrivals" / "p" / "1.json").write_text("")
    assert "ingest/p@0123456789ab" not in inbox.announced_plates(store)
    assert "ingest/q@0123456789ab" in inbox.announced_plates(store)


def test_a_copy_that_keeps_old_times_is_not_taken_for_complete(tmp_path: Path) -> None:
    plate = make_plate(tmp_path / "plate")
    for path in (plate / "plate.json", plate / "images" / "a.tif"):
        os.utime(path, (0, 0))
    assert look_at(plate, 60) is None


def test_a_plate_whose_images_are_a_link_to_a_folder_of_its_own_is_looked_at_with_what_is_there(tmp_path: Path) -> None:
    plate = make_plate(tmp_path / "plate")
    (plate / "images").rename(plate / "raw")
    (plate / "images").symlink_to("raw")
    (plate / "raw" / "itself").symlink_to(plate / "raw")
    before = the_arrival(plate)
    (plate / "raw" / "a.tif").write_bytes(b"corrected")
    assert the_arrival(plate).fingerprint != before.fingerprint


def test_a_plate_that_links_to_all_of_the_machine_arrives_without_being_followed(tmp_path: Path) -> None:
    plate = make_plate(tmp_path / "plate")
    (plate / "images" / "all").symlink_to("/")
    with within_limits():
        before = the_arrival(plate)
    assert the_arrival(plate) == before


def test_what_systems_leave_in_a_plate_does_not_make_it_another_arrival(tmp_path: Path) -> None:
    plate = make_plate(tmp_path / "plate", done=True)
    before = the_arrival(plate)
    time.sleep(0.05)
    for name in ("Thumbs.db", "images/.DS_Store", "images/desktop.ini"):
        (plate / name).touch()
    (plate / "images" / "@eaDir").mkdir()
    (plate / "images" / "@eaDir" / "a.tif").touch()
    assert look_at(plate, 60) == before


def test_a_file_that_rsync_is_still_writing_counts_though_it_is_hidden(tmp_path: Path) -> None:
    plate = make_plate(tmp_path / "plate")
    time.sleep(0.3)
    (plate / "images" / ".b.tif.x8Wq2e").write_bytes(b"half of the pix")
    assert look_at(plate, 0.2) is None


def test_a_file_done_says_that_all_is_there(tmp_path: Path) -> None:
    assert look_at(make_plate(tmp_path / "plate", done=True), 60) is not None


def test_a_file_done_that_is_older_than_another_file_is_of_an_earlier_copy(tmp_path: Path) -> None:
    plate = make_plate(tmp_path / "plate", done=True)
    time.sleep(0.05)
    (plate / "images" / "a.tif").write_bytes(b"corrected")
    assert look_at(plate, 60) is None
    (plate / "DONE").touch()
    assert look_at(plate, 60) is not None


def test_files_of_a_clock_that_is_ahead_arrive_too(tmp_path: Path) -> None:
    plate = make_plate(tmp_path / "plate")
    os.utime(plate / "images" / "a.tif", (4e9, 4e9))
    time.sleep(0.3)
    assert look_at(plate, 0.2) is not None


def test_a_plate_that_changes_or_goes_is_not_as_it_was_found(tmp_path: Path) -> None:
    arrival = the_arrival(make_plate(tmp_path / "plate"))
    assert inbox.is_as_found(arrival)
    (arrival.folder / "images" / "b.tif").write_bytes(b"more")
    assert not inbox.is_as_found(arrival)
    shutil.rmtree(arrival.folder)
    assert not inbox.is_as_found(arrival)


def test_without_plate_json_nothing_has_arrived(tmp_path: Path) -> None:
    plate = make_plate(tmp_path / "plate", done=True)
    (plate / "plate.json").unlink()
    assert look_at(plate, 0) is None


def test_a_handled_plate_is_not_new_and_a_changed_one_is(folders: tuple[Path, Path]) -> None:
    box, store = folders
    plate = make_plate(box / "plate", done=True)
    (arrival,) = new_entries(box, store, 60)
    inbox.record(arrival, store, plate="ingest/plate@0")
    assert new_entries(box, store, 60) == []
    (plate / "images" / "a.tif").write_bytes(b"corrected")
    assert [found.folder for found in new_entries(box, store, 0)] == [plate]


def test_a_plate_is_told_by_names_sizes_and_times_as_ever_so_that_known_ones_stay_known(
    tmp_path: Path,
) -> None:
    plate = make_plate(tmp_path / "plate")
    files = [(name, (plate / name).stat()) for name in ("images/a.tif", "plate.json")]
    state = json.dumps([[name, status.st_size, status.st_mtime_ns] for name, status in files])
    assert the_arrival(plate).fingerprint == hashlib.sha256(state.encode()).hexdigest()[:16]


def test_a_plate_that_was_told_of_is_known_whatever_folder_it_comes_in(folders: tuple[Path, Path]) -> None:
    box, store = folders
    inbox.record(the_arrival(make_plate(box / "plate")), store, plate="ingest/plate@0")
    assert "ingest/plate@0" in inbox.announced_plates(store)
    assert "ingest/plate@1" not in inbox.announced_plates(store)


def test_a_bad_plate_is_set_aside_with_the_reason_and_not_found_again(folders: tuple[Path, Path]) -> None:
    box, store = folders
    plate = make_plate(box / "plate", done=True)
    report = inbox.set_aside(the_arrival(plate), store, "images/a.tif: is damaged.")
    assert "images/a.tif: is damaged." in report.read_text()
    assert "move it back into the inbox, as plate/" in report.read_text()
    assert (report.with_suffix("") / "images" / "a.tif").read_bytes() == b"pixels"
    assert not plate.exists()
    assert new_entries(box, store, 0) == []


def test_a_bad_plate_that_may_not_be_moved_stays_until_it_changes(folder_of_a_user: Path) -> None:
    box, store = folder_of_a_user / "inbox", folder_of_a_user / "store"
    plate = make_plate(box / "plate", done=True)
    plate.chmod(0o555)
    report = inbox.set_aside(the_arrival(plate), store, "images/a.tif: is damaged.")
    assert "images/a.tif: is damaged." in report.read_text()
    assert "still in the inbox" in report.read_text()
    assert plate.exists()
    assert new_entries(box, store, 0) == []
    (plate / "images" / "a.tif").write_bytes(b"corrected")
    assert [arrival.folder for arrival in new_entries(box, store, 0)] == [plate]


def test_a_plate_that_may_not_be_read_is_found_so_that_its_check_can_say_it(folder_of_a_user: Path) -> None:
    plate = make_plate(folder_of_a_user / "plate")
    plate.chmod(0)
    before = the_arrival(plate)
    plate.chmod(0o755)
    assert the_arrival(plate).fingerprint != before.fingerprint


def no_plate(entry: Path) -> NoPlate:
    judged = judge(entry, 0)
    assert isinstance(judged, NoPlate)
    return judged


def test_what_is_no_plate_is_told_of_only_when_it_has_not_changed_for_ten_times_as_long(tmp_path: Path) -> None:
    for entry in (tmp_path / "folder", tmp_path / "empty"):
        entry.mkdir()
    (tmp_path / "folder" / "a.tif").touch()
    (tmp_path / "file.zip").touch()
    (tmp_path / "link").symlink_to("nowhere")
    entries = inbox.entries(tmp_path)
    time.sleep(0.3)
    assert [judge(entry, 0.1) for entry in entries] == [None] * 4
    assert [type(judge(entry, 0.02)) for entry in entries] == [NoPlate] * 4
    (tmp_path / "folder" / "b.tif").touch()
    assert judge(tmp_path / "folder", 0.02) is None


def test_what_is_no_plate_is_new_once_in_each_state(folders: tuple[Path, Path]) -> None:
    box, store = folders
    folder = make_plate(box / "plate")
    (folder / "plate.json").rename(folder / "plate.json.txt")
    (found,) = new_entries(box, store, 0)
    assert isinstance(found, NoPlate)
    inbox.record(found, store, no_plate=found.reason)
    assert new_entries(box, store, 0) == []
    (folder / ".DS_Store").touch()
    assert new_entries(box, store, 0) == []
    (folder / "images" / "b.tif").touch()
    assert [type(entry) for entry in new_entries(box, store, 0)] == [NoPlate]
    (folder / "plate.json.txt").rename(folder / "plate.json")
    assert [type(entry) for entry in new_entries(box, store, 0)] == [Arrival]


def test_what_systems_leave_and_what_is_hidden_is_never_told_of(folders: tuple[Path, Path]) -> None:
    for name in ("@eaDir", "#recycle", ".snapshot", "lost+found", "rejected", ".Trashes", "$RECYCLE.BIN"):
        (folders[0] / name).mkdir()
    for name in ("desktop.ini", "Thumbs.db", ".DS_Store", "._plate", ".nfs0001"):
        (folders[0] / name).touch()
    assert new_entries(*folders, 0) == []


NAMES = {
    "not UTF-8": b"caf\xe9",
    "line break": b"two\nlines",
    "long": b"n" * 255,
    "markup": b"*<script>|`",
    "blank": b" ",
    "half a character": b"\xed\xa0\x80",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("is_plate", [True, False])
def test_names_of_every_kind_can_be_judged_recorded_and_handed_on(
    folders: tuple[Path, Path], name: bytes, is_plate: bool
) -> None:
    box, store = folders
    folder = box / os.fsdecode(name)
    make_plate(folder)
    if not is_plate:
        (folder / "plate.json").unlink()
    (found,) = new_entries(box, store, 0)
    inbox.record(found, store, plate="ingest/plate@0")
    assert ("ingest/plate@0" in inbox.announced_plates(store)) == isinstance(found, Arrival)
    assert new_entries(box, store, 0) == []
    if isinstance(found, Arrival):
        assert inbox.set_aside(found, store, "faulty").exists()
        json.dumps(str(folder), ensure_ascii=False).encode()


def test_names_that_differ_in_the_composition_of_accents_are_two_entries(folders: tuple[Path, Path]) -> None:
    for name in ("Zu\u0308rich", "Z\xfcrich"):
        make_plate(folders[0] / name)
    found = new_entries(*folders, 0)
    for entry in found:
        inbox.record(entry, folders[1], plate=entry.name)
    assert len({entry.record(folders[1]) for entry in found}) == 2
    assert new_entries(*folders, 0) == []


def test_an_entry_that_may_not_be_read_keeps_no_other_from_being_found(folder_of_a_user: Path) -> None:
    box, store = folder_of_a_user / "inbox", folder_of_a_user / "store"
    private = folder_of_a_user / "private"
    make_plate(private / "plate")
    make_plate(box / "readable")
    (box / "link").symlink_to(private / "plate")
    (box / "partly" / "closed").mkdir(parents=True)
    (box / "partly" / "closed").chmod(0)
    private.chmod(0)
    linked, partly, readable = new_entries(box, store, 0)
    for entry in (linked, partly):
        assert isinstance(entry, NoPlate)
        assert "can't be read by user 65534 (Permission denied)" in entry.reason
        inbox.record(entry, store, no_plate=entry.name)
    assert new_entries(box, store, 0) == [readable]
    assert isinstance(readable, Arrival)


async def first_event(box: Path, store: Path, change, quiet_for_s: float = 0.5) -> dict:
    """Start the trigger, make a change, and give what it tells first."""
    trigger = InboxTrigger(str(box), str(store), quiet_for_s)
    events = trigger.run()
    waiting = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0.5)
    change()
    event = await asyncio.wait_for(waiting, 30)
    await events.aclose()
    return event.payload


def test_the_trigger_tells_of_a_plate_that_was_there_already(folders: tuple[Path, Path]) -> None:
    make_plate(folders[0] / "plate")
    assert asyncio.run(first_event(*folders, lambda: None))["folder"] == "plate"


@pytest.mark.parametrize("polling", ["true", "false"])
def test_the_trigger_tells_of_a_plate_that_is_moved_in(
    folders: tuple[Path, Path], tmp_path: Path, polling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHFILES_FORCE_POLLING", polling)
    make_plate(tmp_path / "elsewhere")
    told = asyncio.run(first_event(*folders, lambda: (tmp_path / "elsewhere").rename(folders[0] / "moved")))
    assert told == {"folder": "moved", "fingerprint": the_arrival(folders[0] / "moved").fingerprint}


@pytest.mark.parametrize("polling", ["true", "false"])
def test_the_trigger_tells_of_plates_beside_a_folder_that_may_not_be_read(
    folder_of_a_user: Path, polling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHFILES_FORCE_POLLING", polling)
    box, store = folder_of_a_user / "inbox", folder_of_a_user / "store"
    make_plate(box / "private").chmod(0)
    inbox.record(the_arrival(box / "private"), store, refused="can't be read")
    told = asyncio.run(first_event(box, store, lambda: make_plate(box / "readable", done=True)))
    assert told["folder"] == "readable"


def test_the_trigger_waits_for_a_plate_that_is_being_copied(folders: tuple[Path, Path], tmp_path: Path) -> None:
    async def copied_slowly() -> dict:
        async def copy() -> None:
            for number in range(8):
                await asyncio.sleep(0.25)
                (folders[0] / "plate" / "images" / f"{number}.tif").write_bytes(b"pixels")

        make_plate(folders[0] / "plate")
        copying = asyncio.ensure_future(copy())
        told = await first_event(*folders, lambda: None)
        assert copying.done()
        return told

    assert asyncio.run(copied_slowly())["fingerprint"] == the_arrival(folders[0] / "plate").fingerprint


def test_the_trigger_is_silent_on_what_was_handled(folders: tuple[Path, Path]) -> None:
    inbox.record(the_arrival(make_plate(folders[0] / "handled", done=True)), folders[1], plate="ingest/handled@0")
    told = asyncio.run(first_event(*folders, lambda: make_plate(folders[0] / "new", done=True)))
    assert told["folder"] == "new"


def test_the_trigger_is_silent_on_an_upload_and_tells_of_it_when_it_is_handed_over(folders: tuple[Path, Path]) -> None:
    box, store = folders

    def upload() -> None:
        given = uploads.new_upload(box, "from a browser")
        make_plate(given.folder / "deeper", done=True)
        for name in ("images/a.tif", "DONE"):
            with uploads.receiving(given.folder, name) as file:
                file.write(b"pixels")
        uploads.write_plate_json(given.folder, {"name": "plate", "role": "screen"})
        uploads.hand_over(box, given.id, store)

    told = asyncio.run(first_event(box, store, upload, 60))
    assert told["folder"] == "plate"


@pytest.mark.parametrize("name", [b"2026-11", b"caf\xe9"])
@pytest.mark.parametrize("polling", ["true", "false"])
def test_the_trigger_tells_of_what_is_no_plate_after_a_while(
    folders: tuple[Path, Path], name: bytes, polling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHFILES_FORCE_POLLING", polling)
    started = time.monotonic()
    told = asyncio.run(first_event(*folders, lambda: make_plate(folders[0] / os.fsdecode(name) / "plate"), 0.1))
    assert told == {"no_plates": {b"2026-11": "`2026-11`", b"caf\xe9": r"`caf\xe9`"}[name]}
    assert time.monotonic() - started > PATIENCE * 0.1
    json.dumps(told, ensure_ascii=False).encode()


def test_the_trigger_can_be_stored_and_made_again(folders: tuple[Path, Path]) -> None:
    trigger = InboxTrigger(str(folders[0]), str(folders[1]), 60)
    path, settings = trigger.serialize()
    assert path == f"{InboxTrigger.__module__}.InboxTrigger"
    assert json.loads(json.dumps(settings)) == settings
    assert vars(InboxTrigger(**settings))["quiet_for_s"] == 60
    shutil.rmtree(folders[0])
