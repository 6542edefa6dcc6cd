"""The section Results: segmented plates with their outlines, tables and downloads."""

from __future__ import annotations

import io
import json
import os
import time
import urllib.error
import urllib.request
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from playwright.sync_api import Page, expect

from nucleus_dags.page.registered import Registry, Version
from nucleus_dags.page.result_remarks import remarks_of
from nucleus_dags.page.segmented_plates import segmented_plate
from tasks.store.registered_model import ReadyModelName
from tests.dags.page.registered_models import add_model, add_scores, add_test_plates, key_of, result
from tests.dags.page.segmented import (
    B07_1,
    B07_2,
    CHAMPION,
    D08_1,
    NUCLEI,
    SIDE_PX,
    Segmented,
    add_many,
    add_receipt,
)
from tests.dags.page.site import Site
from tests.dags.stored_plates import add_plate
from tests.stored_results import store_result

BASE = ReadyModelName(name="base", key="f" * 16)
RED_WORDS = "🔴 The model misses 62 % of the nuclei of its test plates."


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> Segmented:
    return Segmented(tmp_path_factory.mktemp("segmented"))


def got(site: Site, path: str) -> tuple[bytes, Any]:
    """Ask for a file below /nuclei/results; gives it and its headers."""
    request = urllib.request.Request(f"{site.address}/nuclei/results/{path}")
    request.add_header("Cookie", f"_token={site.token()}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read(), answer.headers


def of_field(result: str, what: str, field: str, **query: object) -> str:
    return f"{result}/{what}?field={quote(field)}" + "".join(f"&{name}={value}" for name, value in query.items())


def test_without_a_result_the_page_says_what_to_do_first(site: Site) -> None:
    status, text = site.get("/results")
    assert status == 200
    assert "There is no segmented plate yet" in text


def test_a_result_is_listed_by_plate_and_model_with_what_to_know_of_it(site: Site, segmented: Segmented) -> None:
    key = segmented.put(site.home.store)
    add_receipt(site.home.store, "manual__1", "assemble_plate", key)
    add_receipt(site.home.store, "manual__1", "find_model", "b" * 16, warning=RED_WORDS)
    _, text = site.get("/results")
    assert "/results/screen/v3" in text
    assert "/runs/segment_plate/manual__1" in text
    assert RED_WORDS.removeprefix("🔴 ") in text
    assert "1 of 3 label images look wrong" in text
    _, text = site.get("/results?plate=other")
    assert "/results/screen/v3" not in text


def test_a_model_that_mlflow_knows_to_be_of_no_use_is_told_of_in_words(segmented: Segmented, tmp_path: Path) -> None:
    key = segmented.put(tmp_path / "store")
    result = segmented_plate(tmp_path / "store", key)
    assert result is not None
    tags = {"key": CHAMPION.key, "fn_rate/all": "0.62"}
    version = Version(CHAMPION.version, (), datetime.now(UTC), "", "", tags)
    told = "The model misses 62 % of the nuclei of its test plates."
    assert told in [remark.text for remark in remarks_of(result, None, Registry((version,)))]
    good = replace(version, tags=tags | {"fn_rate/all": "0.05"})
    of_another_mlflow = replace(version, tags=tags | {"key": "0" * 16})
    for other in (good, of_another_mlflow):
        assert told not in [remark.text for remark in remarks_of(result, None, Registry((other,)))]


def test_a_result_of_a_plate_that_was_imported_anew_says_so(site: Site, segmented: Segmented) -> None:
    segmented.put(site.home.store)
    assert "earlier version of the plate" not in site.get("/results/screen/v3")[1]
    add_plate(site.home.store, "screen", "screen", digest="f" * 12, frozen_at="2999-01-01T00:00:00")
    assert "the one imported on 2999-01-01 counts" in site.get("/results/screen/v3")[1]


def test_what_is_not_known_while_mlflow_is_away_is_said(site: Site, segmented: Segmented) -> None:
    segmented.put(site.home.store)
    for path in ("/results", "/results/screen/v3"):
        assert "It isn't known whether" in site.get(path)[1]


def test_older_results_of_a_plate_and_a_model_are_folded_and_stay_to_be_seen(site: Site, segmented: Segmented) -> None:
    old = segmented.put(site.home.store)
    new = segmented.put(site.home.store, ome_zarr=True)
    segmented.put(site.home.store, model=BASE)
    os.utime(site.home.store / f"assemble_plate/{old}", (0, 0))
    _, text = site.get("/results")
    assert "2 results" in text
    assert "and 1 older result" in text
    _, text = site.get("/results/screen/v3")
    assert f"/results/screen/v3/{new}/nuclei.csv" in text
    assert "This isn&#39;t the newest" not in text
    status, text = site.get(f"/results/screen/v3/{old}")
    assert status == 200
    assert "This isn't the newest result" in text
    assert site.get("/results/screen/base")[0] == 200


def test_a_test_plate_that_was_only_scored_is_listed_with_the_way_to_its_outlines(site: Site) -> None:
    store = site.home.store
    for number in (1, 2):
        add_model(store, number)
        result(store, f"find_model/{number}", {}, values={"model": {"key": key_of(number), "version": number}})
    [plate] = add_test_plates(store, {"t1": "U2OS"})
    add_scores(store, 2, [plate])
    _, text = site.get("/results")
    assert "test plate; no tables" in text
    assert "/runs/start/segment_plate?plate=t1&amp;model=2" in text
    assert "model=1" not in text
    assert "test plate; no tables" not in site.get("/results?plate=t2")[1]
    result(store, f"segment/{key_of(7)}", {"plate": plate})
    made = {"segmentations": [f"segment/{key_of(7)}"], "model": {"version": 2, "key": key_of(2)}}
    counts = {"fovs": 1, "nuclei": 9, "wells": 1}
    result(store, f"assemble_plate/{key_of(8)}", made, {"assembled": "."}, counts=counts)
    assert "test plate; no tables" not in site.get("/results")[1]


@pytest.mark.parametrize(
    "path",
    [
        "/results/screen/v4",
        "/results/other/v3",
        "/results/screen/v3/0000000000000000",
        "/results/screen/v3/..%2f..%2fingest",
        "/results/screen/base/KEY",
        "/results/screen/v3/KEY/result.json",
        "/results/screen/v3/KEY/..%2fresult.json",
        "/results/screen/v3/KEY/image?field=..%2f..%2fplate",
        "/results/screen/v3/KEY/image?field=none",
        f"/results/screen/v3/KEY/truth?field={B07_1}",
        "/results/screen/v3/KEY/ome-zarr.zip",
    ],
)
def test_what_is_not_of_a_result_is_not_given(site: Site, segmented: Segmented, path: str) -> None:
    key = segmented.put(site.home.store)
    status, text = site.get(path.replace("KEY", key))
    assert status == 404
    assert "This isn't possible" in text


def test_a_result_that_names_a_file_elsewhere_is_not_shown(site: Site, segmented: Segmented, tmp_path: Path) -> None:
    key = segmented.put(site.home.store)
    result = site.home.store / f"assemble_plate/{key}/result.json"
    content = json.loads(result.read_bytes())
    content["params"]["segmentations"] = [f"segment/../../{tmp_path.name}"]
    result.write_text(json.dumps(content))
    assert site.get("/results/screen/v3")[0] == 404


def test_a_file_elsewhere_that_a_result_names_is_not_sent(site: Site, tmp_path: Path) -> None:
    store, key = site.home.store, "a" * 16
    (tmp_path / "secret.jpg").write_bytes(b"nobody's business")
    for path in (str(tmp_path / "secret.jpg"), os.path.relpath(tmp_path / "secret.jpg", store)):
        store_result(store, f"learning_curves/{key}", {}, {"figure": path})
        status, text = site.get(f"/annotate/curves/{key}.png")
        assert status >= 400
        assert "leads out of the store" in text
        assert "nobody's business" not in text


def test_names_are_shown_as_they_are(site: Site) -> None:
    _, text = site.get("/results?plate=" + quote('"><script>alert(1)</script>'))
    assert "<script>alert" not in text


def test_pictures_are_those_of_the_field_and_its_outlines(site: Site, segmented: Segmented) -> None:
    result = f"screen/v3/{segmented.put(site.home.store)}"
    image, headers = got(site, of_field(result, "image", B07_1))
    assert Image.open(io.BytesIO(image)).size == (SIDE_PX, SIDE_PX)
    assert headers["Cache-Control"] == "private, max-age=31536000, immutable"
    bright, _ = got(site, of_field(result, "image", B07_1, black=0, white=100))
    assert np.asarray(Image.open(io.BytesIO(bright))).mean() > np.asarray(Image.open(io.BytesIO(image))).mean()
    for field, colours in ((B07_1, {(255, 190, 0)}), (B07_2, {(255, 190, 0), (255, 60, 255)}), (D08_1, set())):
        outlines, headers = got(site, of_field(result, "outlines", field))
        assert headers["Cache-Control"] == "private, max-age=3600"
        pixels = np.asarray(Image.open(io.BytesIO(outlines)).convert("RGBA"))
        assert {tuple(colour) for colour in pixels[pixels[..., 3] > 0][:, :3].tolist()} == colours


def test_fields_say_what_makes_them_worth_looking_at(site: Site, segmented: Segmented) -> None:
    result = f"screen/v3/{segmented.put(site.home.store)}"
    fields = json.loads(got(site, f"{result}/fields")[0])
    assert [(field["name"], field["well"], field["nuclei"], field["doubtful"]) for field in fields] == [
        (B07_1, "B07", NUCLEI, 0),
        (B07_2, "B07", NUCLEI, 1),
        (D08_1, "D08", 0, None),
    ]
    assert [field["doubts"] for field in fields] == [[], ["looks like a mask"], []]
    assert fields[1]["confidence"] == pytest.approx((0.95 * (NUCLEI - 1) + 0.2) / NUCLEI, abs=1e-3)


def test_a_pixel_gives_the_row_of_its_nucleus(site: Site, segmented: Segmented) -> None:
    key = segmented.put(site.home.store)
    result = f"screen/v3/{key}"
    labels = tifffile.imread(site.home.store / f"assemble_plate/{key}/labels/{B07_2}.tif")
    y, x = np.argwhere(labels == 5)[0]
    nucleus = json.loads(got(site, of_field(result, "nucleus", B07_2, y=y, x=x))[0])
    assert (nucleus["label"], nucleus["area_px"], nucleus["doubtful"]) == ("5", str((labels == 5).sum()), True)
    assert float(nucleus["area_um2"]) == pytest.approx((labels == 5).sum() / 4)
    y, x = np.argwhere(labels == 0)[0]
    assert json.loads(got(site, of_field(result, "nucleus", B07_2, y=y, x=x))[0]) is None


def test_masks_are_downloaded_as_a_zip_of_the_label_images(site: Site, segmented: Segmented) -> None:
    key = segmented.put(site.home.store)
    content, headers = got(site, f"screen/v3/{key}/masks.zip")
    assert headers["Content-Disposition"] == 'attachment; filename="screen_v3_masks.zip"'
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == [f"masks/{name}.tif" for name in (B07_1, B07_2, D08_1)]
        stored = site.home.store / f"assemble_plate/{key}/labels/{B07_1}.tif"
        assert archive.read(f"masks/{B07_1}.tif") == stored.read_bytes()


def test_an_ome_zarr_plate_is_downloaded_whole(site: Site, segmented: Segmented, tmp_path: Path) -> None:
    key = segmented.put(site.home.store, ome_zarr=True)
    assert "ome-zarr.zip" in site.get("/results/screen/v3")[1]
    with zipfile.ZipFile(io.BytesIO(got(site, f"screen/v3/{key}/ome-zarr.zip")[0])) as archive:
        archive.extractall(tmp_path / "unzipped")
    label_image = zarr.open_array(tmp_path / "unzipped/screen.ome.zarr/B/07/0/labels/nuclei/s0", mode="r")
    np.testing.assert_array_equal(
        np.asarray(label_image), tifffile.imread(site.home.store / f"assemble_plate/{key}/labels/{B07_1}.tif")
    )


@pytest.mark.parametrize("name", ["nuclei.csv", "nuclei.parquet", "wells.csv"])
def test_tables_are_downloaded_whole_under_a_name_that_tells_them(site: Site, segmented: Segmented, name: str) -> None:
    key = segmented.put(site.home.store)
    content, headers = got(site, f"screen/v3/{key}/{name}")
    assert content == (site.home.store / f"assemble_plate/{key}/{name}").read_bytes()
    assert f'filename="screen_v3_{name}"' in headers["Content-Disposition"]


def test_a_picture_of_a_file_that_the_store_has_lost_says_so(site: Site, segmented: Segmented) -> None:
    # Of a model of its own: what the server has read already, it remembers.
    key = segmented.put(site.home.store, model=ReadyModelName(name="lost", key="e" * 16))
    (site.home.store / f"assemble_plate/{key}/labels/{B07_1}.tif").unlink()
    status, text = site.get(f"/results/screen/lost/{key}/outlines?field={B07_1}")
    assert status == 404
    assert f"labels/{B07_1}.tif" in text


@pytest.mark.parametrize(("name", "content"), [("cut", b"II*\0\x08\0"), ("zeros", bytes(1000)), ("empty", b"")])
def test_a_nucleus_of_a_damaged_label_image_says_so(
    site: Site, segmented: Segmented, name: str, content: bytes
) -> None:
    key = segmented.put(site.home.store, model=ReadyModelName(name=name, key="d" * 16))
    (site.home.store / f"assemble_plate/{key}/labels/{B07_1}.tif").write_bytes(content)
    status, text = site.get(f"/results/screen/{name}/{key}/nucleus?field={B07_1}&y=1&x=1")
    assert status == 500
    assert f"labels/{B07_1}.tif is damaged" in text


def test_who_is_not_logged_in_gets_no_picture(site: Site, segmented: Segmented) -> None:
    key = segmented.put(site.home.store)
    url = f"{site.address}/nuclei/results/screen/v3/{key}/thumbnail"
    with urllib.request.urlopen(url, timeout=60) as answer:
        assert "/auth/login" in answer.url
    picture, _ = got(site, f"screen/v3/{key}/thumbnail")
    assert Image.open(io.BytesIO(picture)).size == (160, 160)


def test_lists_of_many_results_come_quickly(site: Site) -> None:
    add_many(site.home.store, results=1000, plates=500, fields=384)
    for path in ("/results", "/results?page=20", "/results?plate=plate499"):
        started = time.monotonic()
        status, text = site.get(path)
        assert status == 200
        assert time.monotonic() - started < 5
    assert text.count("<tr>") == 3


def test_fields_are_looked_through_by_keys_and_nuclei_by_a_click(
    browser: Page, site: Site, segmented: Segmented
) -> None:
    segmented.put(site.home.store)
    browser.goto("/nuclei/results")
    browser.get_by_role("link", name="screen, v3").click()
    shown = browser.locator("#shown")
    expect(shown).to_contain_text(f"Field 1 of 3: {B07_1}, well B07, site 1: {NUCLEI} nuclei")
    expect(browser.locator("#doubts")).to_be_hidden()
    browser.keyboard.press("ArrowRight")
    expect(shown).to_contain_text(f"Field 2 of 3: {B07_2}")
    expect(shown).to_contain_text("1 of them doubtful")
    expect(browser.locator("#doubts")).to_have_text("This label image looks wrong: looks like a mask.")
    browser.keyboard.press("ArrowLeft")
    browser.keyboard.press("ArrowLeft")
    expect(shown).to_contain_text(f"Field 3 of 3: {D08_1}, well D08, site 1: 0 nuclei")
    browser.keyboard.press("o")
    expect(browser.locator("#outlines")).not_to_be_checked()
    browser.keyboard.press("o")
    browser.get_by_label("Order").select_option("doubts")
    expect(shown).to_contain_text(f"Field 1 of 3: {B07_2}")
    browser.get_by_label("Field or well").fill("D08")
    browser.get_by_label("Field or well").press("Enter")
    expect(shown).to_contain_text(D08_1)
    browser.wait_for_url(f"**field={D08_1}")
    browser.get_by_label("Order").select_option("most")
    click_on_a_nucleus(browser, site)
    expect(browser.locator("#nucleus dl")).to_contain_text("µm²")
    expect(browser.locator(".scale")).to_contain_text("µm")


def click_on_a_nucleus(browser: Page, site: Site) -> None:
    """Click where the first field has one: the field fills the height of the map."""
    (path,) = site.home.store.glob(f"assemble_plate/*/labels/{B07_1}.tif")
    labels = tifffile.imread(path)
    y, x = np.argwhere(labels == 1).mean(axis=0)
    expect(browser.locator("#shown")).to_contain_text(B07_1)
    box = browser.locator("img.pixels").first.bounding_box()
    assert box is not None
    scale = box["width"] / SIDE_PX
    browser.mouse.click(box["x"] + (x + 0.5) * scale, box["y"] + (y + 0.5) * scale)


def test_contrast_is_changed_by_sliders_and_back(browser: Page, site: Site, segmented: Segmented) -> None:
    segmented.put(site.home.store)
    browser.goto("/nuclei/results/screen/v3")
    levels, auto = browser.locator("#levels"), browser.get_by_label("Contrast of each field by itself")
    expect(levels).to_contain_text("white is")
    usual = levels.inner_text()
    browser.get_by_label("White").fill("300")
    expect(auto).not_to_be_checked()
    expect(levels).not_to_have_text(usual)
    assert "white=" in (browser.locator("img.pixels").first.get_attribute("src") or "")
    auto.check()
    expect(levels).to_have_text(usual)


def test_labels_of_a_plate_are_drawn_beside_what_was_found(browser: Page, site: Site, segmented: Segmented) -> None:
    segmented.put(site.home.store, name="tested", role="test")
    browser.goto("/nuclei/results/tested/v3")
    browser.get_by_label("Labels of the plate").check()
    expect(browser.locator("img.pixels[src*='/truth?']")).to_have_count(1)


def test_masks_are_saved_from_the_page_within_airflow(browser: Page, site: Site, segmented: Segmented) -> None:
    segmented.put(site.home.store)
    browser.goto("/plugin/nuclei")
    frame = browser.frame_locator("iframe[title=Nuclei]")
    frame.get_by_role("link", name="Results").click()
    frame.get_by_role("link", name="screen, v3").click()
    with browser.expect_download() as download:
        frame.get_by_role("link", name="Masks", exact=True).click()
    assert download.value.suggested_filename == "screen_v3_masks.zip"
    expect(frame.locator("#shown")).to_contain_text("Field 1 of 3")
