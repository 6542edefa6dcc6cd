"""The section Plates: the list, a plate's own page, and what lies in the inbox."""

from __future__ import annotations

import json
import os
import sqlite3
import time
import urllib.parse
import zipfile
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import tifffile
from playwright.sync_api import Page, expect

from nucleus_dags.manifest import manifest
from nucleus_dags.planning import retire_plate
from nucleus_dags.planning.retire_plate import BRING_BACK, RETIRE
from tests.browser import choose_by_keyboard, tab_to
from tests.dags.page.filled_store import (
    CHAMPION,
    add_drift,
    add_model,
    add_score,
    add_whole_plate,
    mlflow_beside,
    register_champion,
)
from tests.dags.page.inspections import run_next_inspection
from tests.dags.page.segmented import add_many
from tests.dags.page.sent_annotations import add_answer, add_sent
from tests.dags.page.site import Site
from tests.dags.stored_plates import add_plate
from tests.fields import round_nuclei

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


def row(text: str, plate: str) -> str:
    """Give the row of the list that is about a plate."""
    return next(part for part in text.split("<tr ") if f"/plates/{plate}/" in part)


def test_an_empty_installation_says_what_to_begin_with(site: Site) -> None:
    status, text = site.get("/plates")
    assert status == 200
    assert "There is no plate yet" in text
    assert "Add a plate" in text


def test_a_plate_is_listed_in_its_newest_version_with_the_number_of_versions(site: Site) -> None:
    add_whole_plate(site.home.store, "p", "train", fields=2)
    add_whole_plate(site.home.store, "p", "train", fields=3, digest="1" * 12, day=2)
    text = row(site.get("/plates")[1], "p")
    assert "/plates/p/111111111111/picture" in text
    assert '<td data-value="3">3</td>' in text
    assert '<td data-value="36">36</td>' in text
    assert '<td data-value="2">2</td>' in text
    assert "2026-11-02 00:00" in text


def test_the_list_is_filtered_by_role(site: Site) -> None:
    for name, role in (("a", "train"), ("b", "test"), ("c", "screen")):
        add_whole_plate(site.home.store, name, role)
    text = site.get("/plates?role=test")[1]
    assert [name in text for name in ("/plates/a", "/plates/b", "/plates/c")] == [False, True, False]
    assert "All 3" in text


def test_what_is_doubtful_or_left_out_stands_beside_a_plate(site: Site) -> None:
    left_out = [{"well": "B02", "problem": "images/x.tif: is damaged"}]
    add_whole_plate(site.home.store, "doubtful", "train", doubts=["labels/a.tif: two pieces"] * 13)
    add_whole_plate(site.home.store, "screened", "screen", left_out=left_out)
    text = site.get("/plates")[1]
    assert "13 doubts" in row(text, "doubtful")
    assert "1 field left out" in row(text, "screened")
    text = site.get("/plates/doubtful")[1]
    assert "no training uses the plate until they are corrected" in text
    assert "3 more" in text
    assert "well B02: images/x.tif: is damaged" in site.get("/plates/screened")[1]


def test_a_screening_plate_shows_how_many_nuclei_were_found_in_it_last(site: Site) -> None:
    add_many(site.home.store, results=2, plates=1, fields=2)
    assert "900<br>" in row(site.get("/plates")[1], "plate000")
    assert "/results/plate000/v2/0000000000000001" in site.get("/plates/plate000")[1]


def test_drift_is_that_of_the_latest_comparison(site: Site) -> None:
    plate = add_whole_plate(site.home.store, "p", "screen")
    add_drift(site.home.store, "0" * 16, plate, ["mean intensity 3,000; perhaps a longer exposure."])
    assert "1 outlier" in row(site.get("/plates")[1], "p")
    add_drift(site.home.store, "1" * 16, plate, [], segmentation="assemble_plate/x")
    os.utime(site.home.store / "drift" / ("1" * 16), (time.time() + 9,) * 2)
    assert "none" in row(site.get("/plates")[1], "p")
    assert "with the nuclei that a model found" in site.get("/plates/p")[1]
    assert site.get("/plates/p/000000000000/drift") == (200, f"<title>Drift</title><p>{plate}</p>")


def test_a_plate_shows_f1_of_the_champion_on_it_and_which_models_were_trained_on_it(site: Site) -> None:
    store = site.home.store
    scored = add_whole_plate(store, "scored")
    earlier = add_whole_plate(store, "corrected")
    add_whole_plate(store, "corrected", digest="1" * 12, day=2)
    add_whole_plate(store, "learnt", "train")
    add_model(store)
    add_score(store, "b" * 16, {scored: (0.951, 0.812), earlier: (0.7, 0.3)}, own=3)
    add_score(store, "c" * 16, {scored: (0.111, 0.111)}, {"method": "classical", "networks": [], "settings": {}})
    with mlflow_beside(site):
        register_champion(site, CHAMPION, trained_on={"learnt": "0" * 12})
        plates, scored_one, corrected, learnt, training = (
            site.get(f"/plates{path}")[1] for path in ("", "/scored", "/corrected", "/learnt", "?role=train")
        )
    assert "version 1" in plates
    # F1 of one plate is against labels that the champion proposed itself.
    mark, meaning = manifest()["own_proposals"].values()
    pages = (plates, scored_one, corrected, learnt, training)
    assert [text.count(f">{mark}</abbr>") for text in pages] == [2, 4, 0, 0, 0]
    assert [text.count(f">{mark}</span> {meaning}.") for text in pages] == [1, 1, 0, 0, 0]
    assert row(plates, "scored").count(f">{mark}</abbr>") == 2
    for shown in ("0.951", "0.931-0.951", "0.812"):
        assert shown in row(plates, "scored")
    assert "0.111" not in plates
    assert "not scored" in row(plates, "corrected")
    assert "hasn't been scored on this version" in corrected
    assert "0.700" in corrected
    assert "No registered model was trained on it" in corrected
    assert "version 1</a>, the champion, on its version <code>000000000000</code>" in learnt


def test_a_plate_says_in_which_runs_it_was_imported_and_segmented(site: Site) -> None:
    key = Path(add_whole_plate(site.home.store, "p")).name
    add_whole_plate(site.home.store, "other")
    segmented = site.api.trigger("segment_plate", {"plate": key})
    imported = site.api.trigger("ingest_plates", {})
    # The scheduler names a part of a mapped task when it runs it.
    with sqlite3.connect(site.home.database("airflow")) as database:
        named = "UPDATE task_instance SET rendered_map_index = 'p' WHERE run_id = ? AND task_id = 'find_arrivals'"
        assert database.execute(named, (imported,)).rowcount == 1
    text = site.get("/plates/p")[1]
    assert f"/runs/segment_plate/{urllib.parse.quote(segmented)}" in text
    assert f"/dags/ingest_plates/runs/{urllib.parse.quote(imported)}" in text
    assert "/runs/segment_plate/" not in site.get("/plates/other")[1]


def test_without_mlflow_all_is_shown_but_what_it_knows(site: Site) -> None:
    add_whole_plate(site.home.store, "p")
    for path in ("/plates", "/plates/p"):
        status, text = site.get(path)
        assert status == 200
        assert "doesn&#39;t answer" in text


def test_a_plates_page_shows_what_plate_json_says_its_fields_and_versions(site: Site) -> None:
    add_whole_plate(site.home.store, "p", origins={"drawn": 10, "corrected": 5}, label_sets={"anna": {"f": "x"}})
    add_whole_plate(site.home.store, "p", digest="1" * 12, day=2, confirmed_doubts=["labels/a.tif: two pieces"])
    status, text = site.get("/plates/p")
    assert status == 200
    for shown in ("20X", "0.65", "biological", "manual", "p_B07_s2", "64 x 80", "labels/a.tif: two pieces"):
        assert shown in text
    assert '/runs/start/segment_plate?plate=p"' in text
    text = site.get("/plates/p/000000000000")[1]
    assert "This is an earlier version" in text
    assert '/runs/start/segment_plate?plate=p%40000000000000"' in text
    assert "anna: of 1 field" in text
    assert "10 were drawn" in text


def test_a_plates_page_sums_up_what_was_annotated_for_it_and_the_hours_saved(site: Site) -> None:
    store = site.home.store
    source = add_plate(store, "source", "screen")
    for name in ("corrected", "drawn"):
        add_whole_plate(store, name)
    first, second = (add_sent(store, number, source) for number in (1, 2))
    earlier = add_answer(store, 11, first, (0.5, 1, True), kept=20)
    os.utime(store / "receive_annotation" / earlier, (1, 1))
    # Holds what came back earlier.
    add_answer(store, 12, first, (0.5, 2, True), kept=60, split=2)
    add_answer(store, 13, second, (0.25, 1, True), kept=30, added=5)
    shown = " ".join(site.get("/plates/corrected")[1].partition('id="annotated">')[2].partition("</li>")[0].split())
    assert "2 answers" in shown
    assert [text for text in ("90 kept", "2 split", "5 added") if f"{text}</span>" not in shown] == []
    assert "took 45 min; drawing all by hand takes 3 h 0 min by the paper's pace: 2 h 15 min saved." in shown
    assert "annotated" not in site.get("/plates/drawn")[1].partition("<h2>Labels")[2].partition("</ul>")[0]
    add_answer(store, 14, add_sent(store, 3, source), kept=1)
    add_answer(store, 15, add_sent(store, 4, source), (1, 0.5, False), changed=1)
    shown = " ".join(site.get("/plates/corrected")[1].partition('id="annotated">')[2].partition("</li>")[0].split())
    assert "Corrections of 3 of them took 1 h 45 min, in part estimated" in shown


def test_a_plate_that_was_imported_long_ago_is_shown_too(site: Site) -> None:
    add_plate(site.home.store, "old", "train")
    assert site.get("/plates/old")[0] == 200
    assert site.get("/plates/old/000000000000/picture")[0] == 404


@pytest.mark.parametrize("path", ["/plates/none", "/plates/p/1", "/plates/p/..%2f..%2fsecret", "/plates/%2e%2e/x"])
def test_only_what_is_in_the_store_has_a_page(site: Site, path: str) -> None:
    add_whole_plate(site.home.store, "p")
    assert site.get(path)[0] == 404


def test_names_and_texts_of_files_are_no_html(site: Site) -> None:
    add_whole_plate(site.home.store, "p", "train", cell_line="<b>x</b>", doubts=["<script>alert(1)</script>"])
    for path in ("/plates", "/plates/p"):
        text = site.get(path)[1]
        assert "<b>x" not in text
        assert "<script>alert" not in text
        assert "&lt;b&gt;x" in text


def test_what_lies_in_the_inbox_is_shown_with_what_it_waits_for(site: Site) -> None:
    inbox = site.home.inbox
    for name in ("whole", "half", "done"):
        (inbox / name).mkdir()
    for name in ("whole", "done"):
        (inbox / name / "plate.json").write_text("{}")
        (inbox / name / "DONE").write_text("")
    (inbox / "half" / "a.tif").write_text("")
    text = site.get("/plates/-/inbox")[1]
    assert "It is whole; the next run of ingest_plates takes it in." in text
    assert "being copied" in text
    fingerprints = inbox_fingerprint(site, "done")
    record = site.home.store / "arrivals" / "done" / f"{fingerprints}.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"plate": "ingest/done@000000000000"}))
    assert ">done<" not in site.get("/plates/-/inbox")[1]


def inbox_fingerprint(site: Site, name: str) -> str:
    from nucleus_dags.plates.inbox import look_at

    arrival = look_at(site.home.inbox / name, 60)
    assert arrival is not None
    return arrival.fingerprint


def test_a_rejected_plate_is_shown_with_what_is_wrong_until_it_is_imported(site: Site) -> None:
    folder = site.home.inbox / "rejected"
    (folder / "bad-20261127-101500").mkdir(parents=True)
    (folder / "bad-20261127-101500.txt").write_text(
        "images/a.tif: <i>has</i> no label image.\n\nWhat came is bad-20261127-101500/ (or still in the inbox)."
    )
    (folder / "notes.txt").write_text("of a person")
    text = site.get("/plates/-/inbox")[1]
    assert "images/a.tif: &lt;i&gt;has&lt;/i&gt; no label image." in text
    assert "What came is" not in text
    assert "of a person" not in text
    assert "set aside 2026-11-27 10:15 UTC" in text
    record = site.home.store / "arrivals" / "bad" / "1.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"plate": "ingest/bad@000000000000"}))
    later = 1795860000
    os.utime(record, (later, later))
    assert "1 rejected plate that was imported later" in site.get("/plates/-/inbox")[1]


def test_a_plate_says_of_each_label_set_how_its_labels_came(site: Site) -> None:
    counts = {"drawn": 1, "corrected": 4, "accepted": 43}
    sets = {"ben": {"a": "a.tif"}, "eva": {"a": "a.tif"}}
    origins = {"ben": counts}
    add_whole_plate(site.home.store, "p", label_sets=sets, origins={"drawn": 48}, origins_of_label_sets=origins)
    text = " ".join(site.get("/plates/p")[1].split())
    assert "ben: of 1 field; scored beside the others. Of its nuclei, 1 was drawn, 4 were corrected, 43 were" in text
    assert "eva: of 1 field; scored beside the others.</li>" in text
    assert "Of the nuclei, 48 were drawn: drawn by a person" in text


def test_a_list_of_500_plates_comes_within_a_second(site: Site) -> None:
    for number in range(500):
        path = add_whole_plate(site.home.store, f"p{number}", ("train", "test", "screen")[number % 3], fields=20)
        if number % 3 == 1:
            add_score(site.home.store, f"{number:016x}", {path: (0.9, 0.8)})
    site.get("/plates")
    started = time.monotonic()
    text = site.get("/plates")[1]
    assert time.monotonic() - started < 1
    assert "p499" in text


def test_plates_are_sorted_by_a_click_and_found_by_words(browser: Page, site: Site) -> None:
    for name, fields in (("b", 10), ("a", 9), ("c", 2)):
        add_whole_plate(site.home.store, name, fields=fields)
    browser.goto("/nuclei/plates")
    names = browser.locator("#plates tbody th")
    browser.get_by_role("button", name="fields").click()
    expect(names).to_have_text(["c", "a", "b"])
    browser.get_by_role("button", name="fields").press("Enter")
    expect(names).to_have_text(["b", "a", "c"])
    browser.get_by_label("Search").fill("A")
    expect(browser.locator("#plates tbody tr:visible th")).to_have_text(["a"])
    browser.get_by_label("Search").fill("nothing")
    expect(browser.get_by_text("No plate fits")).to_be_visible()
    browser.get_by_label("Search").fill("")
    browser.get_by_role("link", name="a", exact=True).click()
    expect(browser.get_by_role("heading", name="a", exact=True)).to_be_visible()
    expect(browser.get_by_alt_text("The middle of the first field")).to_have_js_property("naturalWidth", 80)


def test_a_narrow_screen_scrolls_no_page_sideways(browser: Page, site: Site) -> None:
    add_whole_plate(site.home.store, "a-plate-with-a-very-long-name-" * 3, doubts=["labels/" + "x" * 200])
    browser.set_viewport_size({"width": 390, "height": 800})
    for path in ("/nuclei/plates", "/nuclei/plates/" + "a-plate-with-a-very-long-name-" * 3):
        browser.goto(path, wait_until="networkidle")
        assert browser.evaluate("document.documentElement.scrollWidth") == 390


def make_stardist_plate(folder: Path, labels: Collection[int] = range(3)) -> Path:
    """Write three fields as OME-TIFF into images/, and label images of some into masks/."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number in range(3):
        image, label_image = round_nuclei(number, shape=(300, 320), nuclei=20)
        name = f"MCF10A_B0{number + 1}_s1.tif"
        size = {"axes": "YX", "PhysicalSizeX": 0.325, "PhysicalSizeXUnit": "µm"}
        size |= {"PhysicalSizeY": 0.325, "PhysicalSizeYUnit": "µm"}
        tifffile.imwrite(folder / "images" / name, image.astype(np.uint16), ome=True, metadata=size)
        if number in labels:
            tifffile.imwrite(folder / "masks" / name, label_image.astype(np.uint16))
    return folder


def begin_upload(browser: Page, folder: Path) -> None:
    browser.goto("/nuclei/plates")
    browser.get_by_role("link", name="Add a plate").click()
    browser.locator("#plate_folder").set_input_files(folder)
    browser.get_by_role("button", name="Upload and check").click()


def uploaded_files(site: Site) -> list[str]:
    """Give the files of all uploads, by their paths in their plates' folders."""
    area = site.home.inbox / ".uploads"
    return sorted("/".join(path.relative_to(area).parts[2:]) for path in area.rglob("*") if path.is_file())


@pytest.mark.slow
def test_a_plate_in_stardists_layout_is_dropped_described_and_imported(
    browser: Page, site: Site, tmp_path: Path
) -> None:
    add_whole_plate(site.home.store, "other", "train", cell_line="MCF10A")
    begin_upload(browser, make_stardist_plate(tmp_path / "my plate"))
    run_next_inspection(site)
    expect(browser.get_by_text("images/ and masks/, as for StarDist")).to_be_visible()
    expect(browser.get_by_label("Name")).to_have_value("my_plate")
    expect(browser.get_by_label("Role")).to_have_value('"train"')
    expect(browser.get_by_label("Pixel size, µm")).to_have_value("0.325")
    expect(browser.get_by_text("OME metadata of images/MCF10A_B01_s1.tif")).to_be_visible()
    expect(browser.locator("#cell_lines option")).to_have_attribute("value", "MCF10A")
    expect(browser.get_by_alt_text("with the outlines of its labels").first).not_to_have_js_property("naturalWidth", 0)
    browser.get_by_label("Cell line").fill("MCF10A")
    browser.get_by_label("Objective").fill("20X")
    for label, choice in (("Binning", "1 x 1"), ("Replicate", "Biological"), ("Annotation", "Manual")):
        browser.get_by_label(label).select_option(choice)
    browser.get_by_role("button", name="Unpause and import").click()
    assert run_next_inspection(site)["values"]["cell_line"] == "MCF10A"
    with browser.expect_navigation(url="**/nuclei/runs/ingest_plates/**"):
        pass
    folder = site.home.inbox / "my_plate"
    assert (folder / "DONE").exists()
    known = {"name": "my_plate", "role": "train", "cell_line": "MCF10A", "objective": "20X", "binning": 1}
    assert json.loads((folder / "plate.json").read_text()).items() >= known.items()
    assert uploaded_files(site) == []
    assert site.api.call("GET", "dags/ingest_plates")["is_paused"] is False
    assert "It is whole; the next run of ingest_plates takes it in." in site.get("/plates/-/inbox")[1]


def test_a_plate_is_retired_with_a_reason_and_shown_as_retired_until_it_is_brought_back(
    browser: Page, site: Site
) -> None:
    add_whole_plate(site.home.store, "p")
    for button, change in (("Retire it", RETIRE), ("Bring it back", BRING_BACK)):
        browser.goto("/nuclei/plates/p")
        browser.get_by_label("Reason").fill("Out of <focus>.")
        browser.get_by_role("button", name=button).click()
        browser.wait_for_url("**/nuclei/runs/retire_plate/**")
        started = site.api.call("GET", "dags/retire_plate/dagRuns?order_by=-run_after")["dag_runs"][0]
        assert started["conf"] == {"plate": "p", "change": change, "reason": "Out of <focus>."}
        retire_plate.change(site.home.store, started["conf"], "anna", NOON, started["dag_run_id"])
        browser.goto("/nuclei/plates")
        expect(browser.locator("#plates").get_by_text("retired")).to_have_count(1 if change == RETIRE else 0)
        browser.goto("/nuclei/plates/p")
        said = browser.get_by_text("It was retired by anna on 2026-11-27 12:00 UTC: Out of <focus>.")
        expect(said).to_have_count(1 if change == RETIRE else 0)


def test_a_retired_plate_is_not_offered_for_a_training(site: Site) -> None:
    for name in ("kept", "out-of-focus"):
        add_whole_plate(site.home.store, name, "train")
    form = {"plate": "out-of-focus", "change": RETIRE, "reason": "Out of focus."}
    retire_plate.change(site.home.store, form, "anna", NOON, "manual__1")
    text = site.get("/runs/start/train_models")[1]
    assert ("> kept</label>" in text, "out-of-focus" in text) == (True, False)


def test_a_plate_of_which_it_cannot_be_read_whether_it_is_retired_says_so(site: Site) -> None:
    add_whole_plate(site.home.store, "p")
    (site.home.store / "retired/p").mkdir(parents=True)
    (site.home.store / "retired/p/000001.json").write_text("{")
    assert "retired/p/000001.json in the store is damaged" in site.get("/plates/p")[1]


@pytest.mark.slow
def test_a_plate_is_added_with_the_keyboard_alone(browser: Page, site: Site, tmp_path: Path) -> None:
    browser.goto("/nuclei/plates")
    tab_to(browser.get_by_role("link", name="Add a plate"))
    browser.keyboard.press("Enter")
    choose_by_keyboard(browser.locator("#plate_folder"), make_stardist_plate(tmp_path / "p"))
    tab_to(browser.get_by_role("button", name="Upload and check"))
    browser.keyboard.press("Space")
    run_next_inspection(site)
    browser.get_by_role("heading", name="What was recognised").wait_for()
    typed = {"Role": "Screening", "Cell line": "HeLa", "Objective": "20X", "Binning": "1"}
    for label, keys in typed.items():
        tab_to(browser.get_by_label(label))
        browser.keyboard.type(keys)
    tab_to(browser.get_by_role("button", name="import"))
    browser.keyboard.press("Enter")
    assert run_next_inspection(site)["values"].items() >= {"role": "screen", "cell_line": "HeLa", "binning": 1}.items()
    browser.wait_for_url("**/nuclei/runs/ingest_plates/**")
    assert (site.home.inbox / "p" / "DONE").exists()


@pytest.mark.slow
def test_what_would_be_refused_is_said_before_a_plate_is_imported(browser: Page, site: Site, tmp_path: Path) -> None:
    begin_upload(browser, make_stardist_plate(tmp_path / "p", labels=[0, 1]))
    run_next_inspection(site)
    expect(browser.get_by_text("This plate would be refused")).to_be_visible()
    expect(browser.get_by_text("images/MCF10A_B03_s1.tif: has no label image")).to_be_visible()
    upload = browser.url.partition("/uploads/")[2].partition("?")[0]
    run = urllib.parse.unquote(browser.url.partition("run=")[2])
    status, text = site.send("POST", f"/plates/-/uploads/{upload}/import", {"run": run})
    assert status == 422
    assert "would be refused" in text
    assert not (site.home.inbox / "p").exists()


def test_labels_that_lie_elsewhere_come_beside_their_images(browser: Page, site: Site, tmp_path: Path) -> None:
    plate = make_stardist_plate(tmp_path / "p")
    browser.goto("/nuclei/plates/-/add")
    browser.locator("#plate_files").set_input_files(sorted((plate / "images").iterdir()))
    browser.locator("#labels_folder").set_input_files(plate / "masks")
    expect(browser.get_by_text("Plate: 3 files")).to_be_visible()
    browser.get_by_role("button", name="Upload and check").click()
    browser.wait_for_url("**/uploads/**")
    names = [f"MCF10A_B0{number}_s1.tif" for number in (1, 2, 3)]
    assert uploaded_files(site) == [f"{part}/{name}" for part in ("images", "labels") for name in names]


def test_images_and_labels_in_folders_of_wells_keep_the_wells_in_their_names(
    browser: Page, site: Site, tmp_path: Path
) -> None:
    for part in ("images", "masks"):
        for well in ("A01", "B01"):
            (tmp_path / part / well).mkdir(parents=True)
            (tmp_path / part / well / "site1.tif").write_text(f"{part} {well}")
    browser.goto("/nuclei/plates/-/add")
    browser.locator("#plate_folder").set_input_files(tmp_path / "images")
    browser.locator("#labels_folder").set_input_files(tmp_path / "masks")
    browser.get_by_role("button", name="Upload and check").click()
    browser.wait_for_url("**/uploads/**")
    assert uploaded_files(site) == [
        f"{part}/{well}_site1.tif" for part in ("images", "labels") for well in ("A01", "B01")
    ]


def test_files_are_dropped(browser: Page, site: Site) -> None:
    browser.goto("/nuclei/plates/-/add")
    browser.evaluate(
        """() => {
          const dropped = new DataTransfer();
          for (const name of ["a.tif", "a_masks.tif"]) dropped.items.add(new File(["content"], name));
          const drop = new DragEvent("drop", { dataTransfer: dropped, cancelable: true });
          document.querySelector("fieldset[data-place=plate]").dispatchEvent(drop);
        }"""
    )
    expect(browser.get_by_text("Plate: 2 files, 14 bytes")).to_be_visible()
    browser.get_by_role("button", name="Upload and check").click()
    browser.wait_for_url("**/uploads/**")
    assert uploaded_files(site) == ["a.tif", "a_masks.tif"]


def test_a_plate_is_taken_from_a_folder_that_the_server_can_see(browser: Page, site: Site) -> None:
    folder = make_stardist_plate(site.home.inbox / "microscope" / "p7")
    browser.goto("/nuclei/plates/-/add")
    browser.get_by_label("Or a folder that the server can see").fill(str(folder))
    browser.get_by_role("button", name="Upload and check").click()
    browser.wait_for_url("**/uploads/**")
    assert len(uploaded_files(site)) == 6
    assert browser.get_by_role("heading", name="p7").is_visible()


def test_a_folder_that_people_may_not_name_is_refused_in_words(site: Site) -> None:
    upload, _ = begun(site)
    status, text = site.send("POST", f"/plates/-/uploads/{upload}/take", {"folder": "/etc"})
    assert status == 422
    assert "is no folder that may be taken" in json.loads(text)["detail"]
    assert uploaded_files(site) == []


def begun(site: Site, *files: str) -> tuple[str, list[str | None]]:
    status, text = site.send("POST", "/plates/-/uploads", {"plate": "p", "files": files})
    assert status == 200
    answer = json.loads(text)
    return answer["id"], answer["paths"]


def test_a_zip_is_unpacked(site: Site, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for name in ("p/images/a.tif", "p/masks/a.tif", "p/.DS_Store"):
            archive.writestr(name, "content")
    upload, paths = begun(site, "p.zip")
    assert paths == ["p.zip"]
    content = (tmp_path / "p.zip").read_bytes()
    assert site.send("PUT", f"/plates/-/uploads/{upload}/files?name=p.zip", content)[0] == 200
    assert site.send("POST", f"/plates/-/uploads/{upload}/unpack", {"name": "p.zip"})[0] == 200
    assert uploaded_files(site) == ["images/a.tif", "masks/a.tif"]


def test_folders_around_a_plate_and_files_of_systems_are_left_out(site: Site) -> None:
    assert begun(site, "p/images/a.tif", "p/Thumbs.db", "p/labels/a.tif")[1] == ["images/a.tif", None, "labels/a.tif"]


def test_a_file_keeps_its_place_and_no_other(site: Site) -> None:
    upload, _ = begun(site, "images/a.tif")
    path = f"/plates/-/uploads/{upload}/files?name="
    assert site.send("PUT", f"{path}images/a.tif", b"x" * 3_000_000)[0] == 200
    for name in ("../a.tif", "/etc/passwd", "images/../../a.tif"):
        status, text = site.send("PUT", path + urllib.parse.quote(name, safe=""), b"x")
        assert status == 422
        assert "leads elsewhere" in json.loads(text)["detail"]
    for other in ("0" * 16, "..", "%2e%2e"):
        assert site.send("PUT", f"/plates/-/uploads/{other}/files?name=a.tif", b"x")[0] in (404, 405, 422)
    assert uploaded_files(site) == ["images/a.tif"]


def test_an_upload_that_was_not_imported_is_listed_and_removed(browser: Page, site: Site) -> None:
    begun(site, "a.tif")
    browser.goto("/nuclei/plates/-/add")
    browser.get_by_role("link", name="p", exact=True).click()
    expect(browser.get_by_text("The files weren't looked at yet")).to_be_visible()
    browser.go_back()
    browser.get_by_role("button", name="Remove").click()
    assert len(list((site.home.inbox / ".uploads").iterdir())) == 1
    browser.get_by_role("button", name="Remove its files for good").click()
    expect(browser.get_by_text("Begun and not imported")).to_have_count(0)
    assert "There is no upload" in site.get(f"/plates/-/uploads/{'0' * 16}")[1]


def test_only_what_a_run_of_the_upload_found_is_shown(site: Site) -> None:
    upload, _ = begun(site, "a.tif")
    for rest in ("outcome?run=..", "previews/1.png?run=x", "previews/..%2finspection.json?run=x"):
        assert site.get(f"/plates/-/uploads/{upload}/{rest}")[0] == 404
    assert site.send("POST", f"/plates/-/uploads/{upload}/import", {"run": "../.."})[0] == 404
