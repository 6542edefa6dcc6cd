"""A person segments a plate, trains a model and promotes it in a browser, from an empty installation, without a shell.

With `NUCLEUS_PICTURES=<folder>`, it leaves the pictures of the pages there, as `make pictures` does for dags/README.md.
"""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import tifffile
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


@pytest.fixture
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    """An empty installation."""
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

    def take_picture(self, name: str) -> None:
        if folder := os.environ.get("NUCLEUS_PICTURES"):
            self.tab.wait_for_timeout(500)
            self.tab.screenshot(path=Path(folder) / f"{name}.png")


def test_a_screening_plate_is_segmented_without_a_shell(system: Laboratory, tab: Page, tmp_path: Path) -> None:
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
    hand.click("link", "screen-1")
    seen(hand.nuclei.locator("#map img").first)
    hand.take_picture("results")
    with tab.expect_download() as download:
        hand.click("link", "Masks")
    check_masks(Path(download.value.path()), made / "labels")
    print(f"{hand.clicks} clicks from the empty page to the masks of a screening plate")

    hand.open("Models")
    seen(hand.nuclei.get_by_text("champion").first)
    hand.take_picture("models")
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


def test_a_model_is_trained_compared_and_promoted_without_a_shell(
    system: Laboratory, tab: Page, tmp_path: Path
) -> None:
    hand = Hand(tab)
    log_in(hand, system)
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


def check_masks(path: Path, labels: Path) -> None:
    """Each field has a mask with about as many nuclei as were drawn."""
    with zipfile.ZipFile(path) as masks:
        found = {Path(name).name: int(tifffile.imread(masks.open(name)).max()) for name in masks.namelist()}
    drawn = {path.name: int(tifffile.imread(path).max()) for path in labels.iterdir()}
    assert len(drawn) == FIELDS
    assert found == pytest.approx(drawn, rel=0.2)
