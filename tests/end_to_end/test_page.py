"""A person segments a plate, corrects it, trains a model and promotes it in a browser, from an empty installation.

With `NUCLEUS_PICTURES=<folder>`, it leaves the pictures of the pages there, as `make pictures` does for dags/README.md.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from playwright.sync_api import FrameLocator, Locator, Page, expect

from nucleus_dags.local.home import Home
from tests.browser import chromium_browser, complaints_of
from tests.end_to_end.laboratory import Laboratory, laboratory
from tests.synthetic_plates import make_synthetic_plate

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

FIELDS = 3
# Enough to see each step: how good the model gets is nothing that a page decides.
SMALL = {"rois": "60", "cycles": "4"}
MOST_WAIT_MS = 600_000
SENT_AT = re.compile(r"^\d{4}-\d\d-\d\d ")
CORRECTED = "screen-1-annotated"


@pytest.fixture
def system(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Laboratory]:
    """An empty installation."""
    monkeypatch.setenv("NUCLEUS_INBOX_QUIET_S", "5")
    with laboratory(Home(tmp_path_factory.mktemp("nucleus")).folder) as started:
        yield started


@pytest.fixture
def tab(system: Laboratory) -> Iterator[Page]:
    """A tab in which nobody is logged in yet."""
    with chromium_browser() as browser:
        context = browser.new_context(
            base_url=system.servers.airflow_url, viewport={"width": 1100, "height": 760}, accept_downloads=True
        )
        opened = context.new_page()
        opened.set_default_timeout(60_000)
        complaints = complaints_of(opened)
        yield opened
        context.close()
        # Before the login, Airflow's own page asks who it is, and is told that it isn't known.
        assert [words for words in complaints if "401" not in words] == []


@dataclass
class Hand:
    """A person's: it counts clicks, and takes pictures."""

    tab: Page
    clicks: int = 0

    @property
    def nuclei(self) -> FrameLocator:
        """The page in Airflow's frame."""
        return self.tab.frame_locator("iframe[title=Nuclei]")

    def click(self, role: str, name: str | re.Pattern[str]) -> None:
        self.nuclei.get_by_role(role, name=name).first.click()  # type: ignore[arg-type]
        self.clicks += 1

    def open(self, section: str) -> None:
        """Open a section, and wait for it: the page before may have links of the same names."""
        self.click("link", section)
        seen(self.nuclei.get_by_role("heading", name=section, exact=True))

    def choose(self, label: str, choice: str) -> None:
        self.nuclei.get_by_role("combobox", name=label).first.select_option(choice)
        self.clicks += 1

    def take_picture(self, name: str, height_px: int | None = None) -> None:
        """Leave a picture of what is seen, or of its upper part, if pictures are asked for."""
        if folder := os.environ.get("NUCLEUS_PICTURES"):
            self.tab.wait_for_timeout(500)
            shot = Image.open(io.BytesIO(self.tab.screenshot()))
            part = shot.convert("RGB").crop((0, 0, shot.width, height_px or shot.height))
            # 256 colours are enough, and a third of the size.
            part.quantize(256).save(Path(folder) / f"{name}.png", optimize=True)


def test_a_screening_plate_is_segmented_and_corrected_without_a_shell(
    system: Laboratory, tab: Page, tmp_path: Path
) -> None:
    made = make_synthetic_plate(tmp_path / "made", fovs=FIELDS, height_px=540, width_px=540)
    shutil.copytree(made / "images", tmp_path / "screen-1/images")
    hand = Hand(tab)
    log_in(hand, system)

    seen(hand.nuclei.get_by_text("There is no plate yet."))
    describe_plate(hand, tmp_path / "screen-1", {"Binning": "1 x 1"})
    hand.take_picture("add-a-plate")
    import_plate(hand)
    system.wait_until(lambda: system.run_ids("segment_plate") != [], "the plate is imported and segmented")
    (run_id,) = system.run_ids("segment_plate")
    hand.open("Runs")
    hand.take_picture("runs")
    system.finish_well("segment_plate", run_id)

    hand.open("Plates")
    seen(hand.nuclei.get_by_role("link", name="screen-1"))
    hand.take_picture("plates")
    hand.open("Results")
    hand.take_picture("results")
    hand.click("link", "screen-1")
    seen(hand.nuclei.locator("#map img").first)
    hand.take_picture("viewer")
    with tab.expect_download() as download:
        hand.click("link", "Masks")
    check_masks(Path(download.value.path()), made / "labels")
    print(f"{hand.clicks} clicks from the empty page to the masks of a screening plate")

    hand.open("Settings")
    hand.take_picture("settings")

    hand.open("Annotate")
    hand.nuclei.get_by_role("combobox", name="Plate").fill("screen-1")
    hand.choose("Tool", "supervisely")
    hand.nuclei.get_by_role("spinbutton", name="Patches").fill("3")
    hand.click("button", "Send")
    ended_well(hand)
    hand.open("Annotate")
    seen(hand.nuclei.get_by_text("nothing came back yet"))
    hand.take_picture("annotate")
    hand.click("link", SENT_AT)
    seen(hand.nuclei.get_by_role("heading", name="The queue"))
    hand.nuclei.get_by_role("heading", name="The queue").evaluate("heading => heading.scrollIntoView()")
    hand.take_picture("queue", height_px=500)

    hand.open("Annotate")
    hand.nuclei.get_by_role("combobox", name="Plate").fill("screen-1")
    hand.choose("Tool", "label_tiff")
    hand.nuclei.get_by_role("spinbutton", name="Fields").fill("2")
    hand.click("button", "Send")
    ended_well(hand)
    hand.open("Annotate")
    with tab.expect_download() as download:
        hand.click("link", "ZIP")
    whole, in_part = tmp_path / "whole", tmp_path / "in-part"
    shutil.unpack_archive(download.value.path(), whole, "zip")
    erased = [erase_first_nucleus(path) for path in sorted(whole.glob("labels/*.tif"))]
    shutil.copytree(whole, in_part)
    for folder in ("labels", "unsure"):
        sorted(in_part.glob(f"{folder}/*.tif"))[1].unlink()
    shutil.make_archive(str(in_part), "zip", in_part)
    # Of two fields the first one is returned as a ZIP, then both in the folder that was worked in.
    return_corrections(hand, system, "Export of the tool", in_part.with_suffix(".zip"), 1)
    see_counts(hand, answers=1, deleted=1, kept=erased[0] - 1)
    return_corrections(hand, system, "the whole folder", whole, 2)
    see_counts(hand, answers=2, deleted=2, kept=sum(erased) - 2)


def test_a_model_is_trained_compared_and_promoted_without_a_shell(
    system: Laboratory, tab: Page, tmp_path: Path
) -> None:
    hand = Hand(tab)
    log_in(hand, system)
    see_a_failed_run(hand)
    for seed, (role, title) in enumerate({"train": "Training", "test": "Test"}.items()):
        hand.open("Plates")
        made = make_synthetic_plate(tmp_path / role, role=role, random_seed=seed)
        plate = tmp_path / f"own-{role}"
        shutil.copytree(made / "images", plate / "images")
        shutil.copytree(made / "labels", plate / "labels")
        choices = {"Binning": "1 x 1", "Role": title, "Replicate": "Biological", "Annotation": "Manual"}
        describe_plate(hand, plate, choices)
        import_plate(hand)
        ended_well(hand)
    before = system.champion()

    hand.open("Runs")
    hand.click("link", "Train a nucleus segmentation model and score it")
    for name in ("own-train", "own-test"):
        hand.click("checkbox", name)
    hand.nuclei.get_by_text("Training", exact=True).click()
    for name, number in SMALL.items():
        hand.nuclei.locator(f"#field-{name}").fill(number)
    hand.click("button", "Start")
    seen(hand.nuclei.get_by_role("heading", name="Train a nucleus segmentation model and score it"))
    seen(hand.nuclei.get_by_text(re.compile("Loss of [34] of 4 epochs")))
    hand.take_picture("training")
    ended_well(hand)
    assert system.champion() == before, "a training by itself replaces no champion"

    hand.open("Models")
    hand.take_picture("models")
    hand.choose("with version", "2")
    hand.click("button", "Compare")
    seen(hand.nuclei.get_by_role("heading", name="Version 2 against version 1"))
    hand.click("link", "Version 2")
    hand.nuclei.get_by_label("Reason").fill("Trained on our own nuclei")
    hand.click("button", "Promote version 2")
    seen(hand.nuclei.get_by_role("link", name="All runs"))
    ended_well(hand)
    assert (before, system.champion()) == (1, 2)

    hand.open("Models")
    hand.click("link", "version 2")
    seen(hand.nuclei.get_by_role("heading", name="Why it is champion"))
    seen(hand.nuclei.get_by_text("Trained on our own nuclei"))
    print(f"{hand.clicks} clicks from two labelled plates to a champion that was trained on them")


def see_a_failed_run(hand: Hand) -> None:
    """Promote a version that there isn't, and read why it can't be done."""
    hand.open("Runs")
    hand.click("link", "Make a registered version the champion, with a reason")
    hand.nuclei.locator("#field-version").fill("7")
    hand.nuclei.locator("#field-reason").fill("Better outlines on our plates")
    hand.click("button", "Start")
    expect(hand.nuclei.locator("[data-goes-on=no]")).to_be_attached(timeout=MOST_WAIT_MS)
    seen(hand.nuclei.get_by_text("has no version 7").first)
    hand.take_picture("failed-run")


def describe_plate(hand: Hand, folder: Path, choices: dict[str, str]) -> None:
    """Upload a plate and fill in what its files don't say."""
    hand.click("link", "Add a plate")
    hand.nuclei.locator("#plate_folder").set_input_files(folder)
    hand.clicks += 1
    hand.click("button", "Upload and check")
    seen(hand.nuclei.get_by_role("heading", name="What was recognised"))
    for label, text in (("Cell line", "MCF10A"), ("Objective", "20X"), ("Pixel size", "0.5")):
        hand.nuclei.get_by_label(label).fill(text)
    for label, choice in choices.items():
        hand.choose(label, choice)


def import_plate(hand: Hand) -> None:
    """Import it; the first time ingest_plates is unpaused by it."""
    hand.click("button", re.compile("^(Unpause and import|Import)$"))
    seen(hand.nuclei.get_by_role("link", name="All runs"))


def return_corrections(hand: Hand, system: Laboratory, field: str, answer: Path, versions: int) -> None:
    """Upload what was corrected, and wait until the plate that it belongs to has so many versions."""
    hand.open("Annotate")
    hand.click("link", SENT_AT)
    seen(hand.nuclei.get_by_role("heading", name="How to correct it"))
    hand.nuclei.get_by_label(field).set_input_files(answer)
    hand.click("button", "Return it")
    seen(hand.nuclei.get_by_role("status").filter(has_text="lies in the inbox"))
    imported = f"ingest/{CORRECTED}@*/report.json"
    system.wait_until(lambda: len(list(system.home.store.glob(imported))) == versions, "the answer is imported")
    for run_id in system.run_ids("ingest_plates"):
        system.finish_well("ingest_plates", run_id)


def see_counts(hand: Hand, answers: int, deleted: int, kept: int) -> None:
    """See on the page of the corrected plate what came back; the newest answer counts, and each came in by a run."""
    hand.open("Plates")
    hand.click("link", CORRECTED)
    seen(hand.nuclei.get_by_text(f"Annotation in all versions, 1 answer: {kept} kept, {deleted} deleted"))
    seen(hand.nuclei.get_by_text(f"{kept} labelled"))
    seen(hand.nuclei.get_by_text(f"{kept} were accepted"))
    expect(hand.nuclei.get_by_role("link", name="imported", exact=True)).to_have_count(answers)


def ended_well(hand: Hand) -> None:
    """Wait until the page of a run says, by itself, that it has ended, and that it did well."""
    expect(hand.nuclei.locator("[data-goes-on=no]")).to_be_attached(timeout=MOST_WAIT_MS)
    expect(hand.nuclei.get_by_text("Ended well", exact=True)).to_be_visible()


def seen(what: Locator) -> None:
    """Wait for something: the machine may be busy with what was started."""
    expect(what).to_be_visible(timeout=MOST_WAIT_MS)


def log_in(hand: Hand, system: Laboratory) -> None:
    hand.tab.goto("/plugin/nuclei")
    name, password = system.home.login()
    hand.tab.get_by_role("textbox").first.fill(name)
    hand.tab.get_by_role("textbox").nth(1).fill(password)
    hand.tab.get_by_role("button", name="Sign in").click()
    seen(hand.nuclei.get_by_role("heading", name="Plates"))


def erase_first_nucleus(path: Path) -> int:
    """Correct a label image as a person does in Fiji; gives how many nuclei it had."""
    labels = tifffile.imread(path)
    numbers = np.unique(labels[labels > 0])
    labels[labels == numbers[0]] = 0
    tifffile.imwrite(path, labels)
    return len(numbers)


def check_masks(path: Path, labels: Path) -> None:
    """Each field has a mask with about as many nuclei as were drawn."""
    with zipfile.ZipFile(path) as masks:
        found = {Path(name).name: int(tifffile.imread(masks.open(name)).max()) for name in masks.namelist()}
    drawn = {path.name: int(tifffile.imread(path).max()) for path in labels.iterdir()}
    assert len(drawn) == FIELDS
    assert found == pytest.approx(drawn, rel=0.2)
