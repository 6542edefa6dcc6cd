"""What becomes of what was found in the inbox, and what the note of `ingest_plates` says."""

from pathlib import Path
from typing import Any

from nucleus_dags.planning import ingest_plates
from nucleus_dags.planning.ingest_plates import NewPlates
from nucleus_dags.plates import inbox as inboxes
from tests.dags.stored_plates import add_plate

DOUBTS = [f"labels/{number}.tif: the labels seem to be transposed" for number in range(7)]
LEFT_OUT = [
    {"fov": "x_B07", "file": "images/x_B07.tif", "well": "B07", "site": 1, "problem": "images/x_B07.tif: is cut"}
]


def arrive(inbox: Path, name: str, *others: str) -> None:
    for file in ("plate.json", *others):
        (inbox / name / file).parent.mkdir(parents=True, exist_ok=True)
        (inbox / name / file).touch()


def ingested(plate: str, **counts: int) -> dict[str, Any]:
    return {"outputs": {"plate": plate}, "counts": {"fovs": 2, "nuclei": 50, **counts}}


def sorted_out(inbox: Path, store: Path, *received: Any, **results: Any) -> NewPlates:
    """Do what the DAG does with what lies in the inbox, by the result of `ingest` for each folder.

    `received` are the results of `receive_annotation` for what is no plate.
    """
    found = inboxes.new_entries(inbox, store, 0)
    arrivals, no_plates = ingest_plates.arrivals_in(found), ingest_plates.no_plates_in(found, store)
    plates, without_plate = ingest_plates.plates_to_import(store, arrivals, received)
    given = [results[Path(plate["folder"]).name.split(".")[0]] for plate in plates]
    new = ingest_plates.sort_out(store, plates, given, no_plates, without_plate)
    ingest_plates.record_told(store, no_plates, new["doubtful"])
    return new


def announce(inbox: Path, store: Path, new: NewPlates) -> None:
    for found in new["annotated"] + new["to_screen"]:
        inboxes.record(ingest_plates.entry_of(found), store, plate=found["plate"])


def test_new_plates_are_sorted_by_what_is_done_with_them(inbox: Path, store: Path) -> None:
    roles = {"a": "train", "s": "screen", "t": "test"}
    for name in roles:
        arrive(inbox, name)
    results = {name: ingested(add_plate(store, name, role)) for name, role in roles.items()}
    new = sorted_out(inbox, store, **results)
    assert [found["plate"] for found in new["annotated"]] == ["ingest/a@000000000000", "ingest/t@000000000000"]
    assert [(found["plate"], found["nuclei"]) for found in new["to_screen"]] == [("ingest/s@000000000000", 50)]
    assert (new["doubtful"], new["unchecked"]) == ([], [])
    assert new["shown"] == [
        "3 new plates of 3 that arrived",
        "",
        *(f"- **{name}** is in the store, as ingest/{name}@000000000000." for name in roles),
    ]


def test_what_is_no_plate_is_told_of_in_the_first_line_and_with_its_reason_and_only_once(
    inbox: Path, store: Path
) -> None:
    arrive(inbox, "2026-11/a")
    (inbox / "caf\udce9.zip").touch()
    new = sorted_out(inbox, store)
    assert new["shown"] == [
        "No plate has arrived; not plates: `2026-11`, `caf\\xe9.zip`",
        "",
        "- `2026-11` isn't a plate: it holds a plate in its folder a/; move that folder into the inbox itself.",
        "- `caf\\xe9.zip` isn't a plate: it has a name in another encoding than UTF-8; rename it.",
    ]
    assert inboxes.new_entries(inbox, store, 0) == []


def test_many_images_by_themselves_have_one_line_and_other_entries_their_own(inbox: Path, store: Path) -> None:
    for number in range(10):
        (inbox / f"{number}.tif").touch()
    (inbox / "empty").mkdir()
    new = sorted_out(inbox, store)
    assert new["shown"] == [
        "No plate has arrived; not plates: `0.tif`, `1.tif`, `2.tif` and 8 more",
        "",
        "- `0.tif`, `1.tif`, `2.tif` and 7 more aren't plates: each is an image by itself; put the plate's images into "
        "images/ of a folder that has a plate.json.",
        "- `empty` isn't a plate: it is an empty folder; put the plate's plate.json and images/ there, or remove it.",
    ]
    assert inboxes.new_entries(inbox, store, 0) == []
    (inbox / "10.tif").touch()
    assert [entry.name for entry in inboxes.new_entries(inbox, store, 0)] == ["10.tif"]


def test_a_training_plate_with_doubtful_labels_is_imported_and_not_announced_before_they_are_confirmed(
    inbox: Path, store: Path
) -> None:
    arrive(inbox, "a")
    path = add_plate(store, "a", "train", doubts=DOUBTS)
    new = sorted_out(inbox, store, a=ingested(path))
    assert new["annotated"] == []
    assert [found["plate"] for found in new["doubtful"]] == [path]
    assert new["shown"] == [
        "1 new plate of 1 that arrived; doubtful labels or images: `a`",
        "",
        "- **a** is in the store, as ingest/a@000000000000.",
        "- **a**: 7 doubts about its labels or images; no training uses the plate until they are corrected, or "
        'confirmed by `"labels_confirmed": true` in plate.json:',
        *(f"  - {doubt}" for doubt in DOUBTS[:5]),
        "  - and 2 more, in report.json of the imported plate",
    ]
    assert inboxes.new_entries(inbox, store, 0) == []

    (inbox / "a" / "plate.json").write_text("{}")
    confirmed = add_plate(store, "a", "train", "1" * 12, day=2, confirmed_doubts=DOUBTS)
    new = sorted_out(inbox, store, a=ingested(confirmed))
    assert [found["plate"] for found in new["annotated"]] == [confirmed]
    assert new["shown"][0] == "1 new plate of 1 that arrived"


def test_a_test_plate_with_doubtful_labels_is_announced_and_told_of(inbox: Path, store: Path) -> None:
    arrive(inbox, "t")
    new = sorted_out(inbox, store, t=ingested(add_plate(store, "t", "test", doubts=DOUBTS)))
    assert len(new["annotated"]) == 1
    assert new["shown"][0] == "1 new plate of 1 that arrived; doubtful labels or images: `t`"
    assert new["shown"][3].startswith("- **t**: 7 doubts about its labels or images; scores on the plate may be wrong")


def test_what_files_lack_is_told_of_and_what_single_nuclei_are_is_not(inbox: Path, store: Path) -> None:
    arrive(inbox, "a")
    warnings = [
        {"file": "images/1.tif", "problem": "states a pixel size of 1 pixel, which is no length"},
        {"file": "labels/1.tif", "label": 3, "problem": "2 pieces"},
    ]
    new = sorted_out(inbox, store, a=ingested(add_plate(store, "a", "train", warnings=warnings)))
    assert new["shown"][3:] == [
        "- **a**: look at these files:",
        "  - images/1.tif: states a pixel size of 1 pixel, which is no length",
    ]


def test_fields_that_were_left_out_are_counted_and_named(inbox: Path, store: Path) -> None:
    arrive(inbox, "s")
    path = add_plate(store, "s", "screen", left_out=LEFT_OUT, fovs=[{}] * 383)
    new = sorted_out(inbox, store, s=ingested(path))
    assert new["shown"][0] == "1 new plate of 1 that arrived; fields left out: `s`"
    assert new["shown"][3:] == [
        "- **s**: 1 of 384 fields was left out as faulty:",
        "  - well B07: images/x_B07.tif: is cut",
    ]


def test_files_that_are_no_fields_are_counted(inbox: Path, store: Path) -> None:
    arrive(inbox, "s")
    not_used = {"images of other channels": 384, "thumbnails": 2}
    new = sorted_out(inbox, store, s=ingested(add_plate(store, "s", "screen", not_used=not_used)))
    assert new["shown"][2:] == [
        "- **s** is in the store, as ingest/s@000000000000, without 384 images of other channels, 2 thumbnails."
    ]


def test_fields_that_came_twice_are_named(inbox: Path, store: Path) -> None:
    arrive(inbox, "a")
    copies = ["images/1.tif has the pixels of images/2.tif"]
    new = sorted_out(inbox, store, a=ingested(add_plate(store, "a", "train", copies=copies)))
    assert new["shown"][3:] == ["- **a**: look whether fields were saved twice:", f"  - {copies[0]}"]


def test_a_plate_that_comes_again_is_told_of_with_its_doubts_and_is_not_new(inbox: Path, store: Path) -> None:
    arrive(inbox, "t")
    path = add_plate(store, "t", "test", doubts=DOUBTS)
    announce(inbox, store, sorted_out(inbox, store, t=ingested(path)))
    (inbox / "t" / "images").mkdir()
    (inbox / "t" / "images" / "a.tif").touch()
    new = sorted_out(inbox, store, t=ingested(path))
    assert (new["annotated"], new["shown"][0]) == ([], "0 new plates of 1 that arrived; doubtful labels or images: `t`")
    assert inboxes.new_entries(inbox, store, 0) == []


def test_faulty_and_unchecked_plates_are_in_the_first_line_and_keep_no_other_from_being_told_of(
    inbox: Path, store: Path
) -> None:
    for name in ("a", "faulty", "lost"):
        arrive(inbox, name)
    refusal = {"refused": "plate.json: role is missing; add it."}
    new = sorted_out(inbox, store, a=ingested(add_plate(store, "a", "train")), faulty=refusal, lost=None)
    assert new["shown"][0] == "1 new plate of 3 that arrived; set aside: `faulty`; couldn't be checked: `lost`"
    assert new["shown"][3].startswith("- **faulty** was set aside: plate.json: role is missing; add it. See rejected/")
    assert new["unchecked"] == ["lost"]
    assert not (inbox / "faulty").exists()
    assert [entry.name for entry in inboxes.new_entries(inbox, store, 0)] == ["a", "lost"]


def test_a_faulty_plate_that_cannot_be_set_aside_is_told_of_and_keeps_no_other_from_being_told_of(
    inbox: Path, store: Path
) -> None:
    for name in ("a", "faulty"):
        arrive(inbox, name)
    (inbox / "rejected").touch()
    refusal = {"refused": "plate.json: role is missing; add it."}
    new = sorted_out(inbox, store, a=ingested(add_plate(store, "a", "train")), faulty=refusal)
    assert len(new["annotated"]) == 1
    assert new["shown"][-1] == (
        "- **faulty** was refused: plate.json: role is missing; add it. The inbox can't be written (File exists), so "
        "it stays there and has no report."
    )
    assert [entry.name for entry in inboxes.new_entries(inbox, store, 0)] == ["a"]


def test_a_plate_that_changed_while_it_was_checked_stays(inbox: Path, store: Path) -> None:
    arrive(inbox, "a")
    arrivals = ingest_plates.arrivals_in(inboxes.new_entries(inbox, store, 0))
    (inbox / "a" / "plate.json").write_text("{}")
    plates, _ = ingest_plates.plates_to_import(store, arrivals, [])
    new = ingest_plates.sort_out(store, plates, [{"refused": "cut short"}], [])
    assert new["shown"] == [
        "0 new plates of 1 that arrived",
        "",
        "- **a** has changed meanwhile; it is checked again when it is quiet.",
    ]
    assert (inbox / "a").exists()


def test_other_plates_in_the_folder_of_a_plate_are_told_of(inbox: Path, store: Path) -> None:
    arrive(inbox, "a", "old/plate.json")
    new = sorted_out(inbox, store, a=ingested(add_plate(store, "a", "train")))
    assert new["shown"][-1] == "- **a** holds other plates, `old`; to import them, move them into the inbox."


REQUEST = "annotation-0123456789abcdef"
RECEIVED = {"outputs": {"plate": "receive_annotation/fedcba9876543210/plate"}, "values": {"remarks": ["7 corrected"]}}


def test_corrected_labels_become_a_plate_and_the_note_says_what_was_corrected(inbox: Path, store: Path) -> None:
    (inbox / f"export.{REQUEST}.zip").touch()
    new = sorted_out(inbox, store, RECEIVED, export=ingested(add_plate(store, "a", "train")))
    assert [found["plate"] for found in new["annotated"]] == ["ingest/a@000000000000"]
    assert "  - 7 corrected" in new["shown"]
    announce(inbox, store, new)
    assert inboxes.new_entries(inbox, store, 0) == []


def test_corrected_labels_are_imported_as_what_was_made_of_them(inbox: Path, store: Path) -> None:
    arrive(inbox, "plate")
    (inbox / f"export.{REQUEST}.zip").touch()
    arrivals = ingest_plates.arrivals_in(inboxes.new_entries(inbox, store, 0))
    assert ingest_plates.answers_among(arrivals) == [
        {"folder": str(inbox / f"export.{REQUEST}.zip"), "request": REQUEST.removeprefix("annotation-")}
    ]
    plates, without_plate = ingest_plates.plates_to_import(store, arrivals, [RECEIVED])
    assert without_plate == []
    assert [ingest_plates.folder_of(plate) for plate in plates] == [
        {"folder": str(store / "receive_annotation/fedcba9876543210/plate")},
        {"folder": str(inbox / "plate")},
    ]


def test_refused_labels_are_set_aside_with_the_reason_and_keep_no_plate_from_being_imported(
    inbox: Path, store: Path
) -> None:
    arrive(inbox, "a")
    (inbox / f"export.{REQUEST}.zip").touch()
    new = sorted_out(inbox, store, {"refused": "It is half a file."}, a=ingested(add_plate(store, "a", "train")))
    assert len(new["annotated"]) == 1
    (report,) = (inbox / "rejected").glob("*.txt")
    assert "It is half a file." in report.read_text()
    assert report.with_suffix("").suffix == ".zip"


def test_labels_that_could_not_be_taken_in_are_tried_again(inbox: Path, store: Path) -> None:
    (inbox / f"export.{REQUEST}.zip").touch()
    new = sorted_out(inbox, store, None)
    assert new["unchecked"] == [f"export.{REQUEST}.zip"]
    assert len(inboxes.new_entries(inbox, store, 0)) == 1
