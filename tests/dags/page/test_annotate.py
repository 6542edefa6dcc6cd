"""Annotation on the page: what was sent and came back, the queue, packages, returned corrections, and advice."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route

from nucleus_dags.manifest import manifest
from nucleus_dags.plates.skipped import skip
from tests.browser import choose_by_keyboard, tab_to
from tests.dags.page.registered_models import result
from tests.dags.page.sent_annotations import JPEG, add_answer, add_sent, export_of
from tests.dags.page.server_time import seconds_of_servers_for
from tests.dags.page.site import Site
from tests.dags.stored_plates import add_plate


@pytest.fixture
def plate(site: Site) -> str:
    return add_plate(site.home.store, "a", "screen")


def test_with_nothing_sent_it_is_said_what_to_do_first(site: Site) -> None:
    status, text = site.get("/annotate")
    assert (status, "Nothing was sent yet" in text) == (200, True)


def test_what_was_sent_is_listed_by_plate_with_what_came_back(site: Site, plate: str, browser: Page) -> None:
    store = site.home.store
    add_sent(store, 1, plate)
    answered = add_sent(store, 2, add_plate(store, "b", "screen"), patches=3, tool="label_tiff")
    add_answer(store, 3, answered, kept=60, split=2, added=5)
    browser.goto("/nuclei/annotate")
    of_a, of_b = browser.locator("tbody").all()
    assert "nothing came back yet" in of_a.inner_text()
    assert "60 kept, 2 split, 5 added" in of_b.inner_text()
    assert manifest()["annotation_tools"]["label_tiff"]["title"] in of_b.inner_text()
    browser.get_by_label("Plate").first.select_option("b")
    browser.get_by_role("button", name="Show").click()
    assert browser.locator("tbody").count() == 1


def test_the_counts_and_remarks_of_an_answer_are_shown_and_its_page_runs_nothing(
    site: Site, plate: str, browser: Page
) -> None:
    request = add_sent(site.home.store, 1, plate)
    answer = add_answer(site.home.store, 2, request, kept=60, changed=12, split=2, merged=1, deleted=3, added=5)
    browser.goto(f"/nuclei/annotate/{request}")
    assert browser.locator("tbody td").all_inner_texts()[1:8] == ["60", "12", "2", "1", "3", "5", "0"]
    assert "80 nuclei annotated in 2 fields." in browser.locator("li").all_inner_texts()
    response = browser.request.get(f"/nuclei/annotate/corrections/{answer}")
    assert response.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert "What was corrected" in response.text()


def test_the_package_is_downloaded_and_names_no_model(site: Site, plate: str, browser: Page, tmp_path: Path) -> None:
    request = add_sent(site.home.store, 1, plate)
    browser.goto(f"/nuclei/annotate/{request}")
    with browser.expect_download() as download:
        browser.get_by_role("link", name="Download the package").click()
    download.value.save_as(tmp_path / "package.zip")
    assert download.value.suggested_filename == f"corrected_cvat_annotation-{request}.zip"
    assert zipfile.ZipFile(tmp_path / "package.zip").namelist() == ["annotations.xml"]


@pytest.mark.parametrize("tool", manifest()["annotation_tools"])
def test_each_tool_has_its_steps(site: Site, plate: str, tool: str) -> None:
    text = site.get(f"/annotate/{add_sent(site.home.store, 1, plate, tool=tool)}")[1]
    steps = text.partition('<div class="steps">')[2].partition("</div>")[0]
    assert "<strong>" in steps
    assert "**" not in steps
    assert len(steps) > 100


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ("supervisely", ["Classes", "<code>Nucleus</code>", "<code>unsure</code>", "<code>Nucleus-processed</code>"]),
        ("label_tiff", ["Folders", "<code>labels</code>", "<code>unsure</code>"]),
        ("ome_zarr", ["Label images", "<code>nuclei</code>", "<code>unsure</code>"]),
        ("cellpose", ["has no classes"]),
    ],
)
def test_classes_are_named_as_in_the_tool(site: Site, plate: str, tool: str, words: list[str]) -> None:
    text = site.get(f"/annotate/{add_sent(site.home.store, 1, plate, tool=tool)}")[1]
    shown = text.partition('id="classes">')[2].partition("</p>")[0]
    assert [word for word in words if word not in shown] == []
    assert shown.count("<code>") == sum("<code>" in word for word in words)


def test_a_tool_that_does_not_show_patches_gets_none(site: Site, plate: str, browser: Page) -> None:
    browser.goto("/nuclei/annotate")
    patches = browser.get_by_label("Patches")
    browser.get_by_label("Plate", exact=True).fill("a")
    patches.fill("5")
    browser.get_by_role("button", name="Send", exact=True).click()
    assert "choose one of Supervisely, CVAT" in patches.evaluate("field => field.validationMessage")
    browser.get_by_label("Tool", exact=True).select_option("CVAT")
    assert patches.evaluate("field => field.validationMessage") == ""


def test_the_queue_shows_each_patch_with_its_reason(site: Site, plate: str, browser: Page) -> None:
    request = add_sent(site.home.store, 1, plate, patches=5)
    browser.goto(f"/nuclei/annotate/{request}")
    patches = browser.locator("section.patch")
    assert patches.count() == 5
    assert "at random" in patches.last.inner_text()
    assert "3 nuclei are seen by one segmentation <alone>." in patches.first.inner_text()
    first = patches.first.locator("img")
    assert first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 240
    assert browser.request.get(first.get_attribute("src") or "").body() == JPEG


def test_the_next_patches_are_sent_as_those_before_without_those_that_are_ticked(
    site: Site, plate: str, browser: Page
) -> None:
    chosen: dict[str, Any] = {"replicate": "technical", "label_set": "7", "nuclei_per_patch": 30}
    result(site.home.store, "segment/1", {"nuclear_diameter_px": 22.5})
    found: dict[str, Any] = {"segmentations": ["segment/1/plate"], "asked": "challenger"}
    request = add_sent(site.home.store, 1, plate, patches=3, **chosen, **found)
    skip(site.home.store, "a", ["f1_y0-100_x100-200"], ["f1"])
    browser.goto(f"/nuclei/annotate/{request}")
    assert "Skipped" in browser.locator("section.patch").first.inner_text()
    for box in browser.get_by_label("Skip it").all():
        box.check()
    browser.get_by_label("Patches").fill("7")
    browser.get_by_role("button", name="Send the next patches").click()
    browser.wait_for_url("**/nuclei/runs/send_to_annotation/**")
    runs = site.api.call("GET", "dags/send_to_annotation/dagRuns?order_by=-run_after")["dag_runs"]
    assert runs[0]["conf"] == {
        **{"plate": "a", "tool": "cvat", "role": "train", "target": "corrected", "patches": 7, "fields": 10},
        "skip": ["f2_y0-100_x200-300", "f3_y0-100_x300-400"],
        **{"proposals": "challenger", "nuclear_diameter_px": 22.5, **chosen},
    }


def test_fields_are_sent_by_a_short_form(site: Site, plate: str, browser: Page) -> None:
    browser.goto("/nuclei/annotate")
    browser.get_by_label("Plate", exact=True).fill("a")
    browser.get_by_label("Tool", exact=True).select_option("QuPath")
    browser.get_by_label("Patches").fill("")
    browser.get_by_role("button", name="Send", exact=True).click()
    browser.wait_for_url("**/nuclei/runs/send_to_annotation/**")
    runs = site.api.call("GET", "dags/send_to_annotation/dagRuns?order_by=-run_after")["dag_runs"]
    assert runs[0]["conf"] == {"plate": "a", "tool": "qupath", "fields": 10, "role": "train"}


def test_corrections_are_returned_and_fields_sent_with_the_keyboard_alone(
    site: Site, plate: str, browser: Page, tmp_path: Path
) -> None:
    export = export_of(add_sent(site.home.store, 1, plate), tmp_path / "task.zip")
    browser.goto("/nuclei/annotate")
    choose_by_keyboard(browser.get_by_label("Export of the tool"), export)
    tab_to(browser.get_by_role("button", name="Return it"))
    browser.keyboard.press("Enter")
    browser.get_by_role("status").filter(has_text="lies in the inbox").wait_for()
    for label, keys in (("Plate", "a"), ("Tool", "QuPath"), ("Fields", "7")):
        tab_to(browser.get_by_label(label, exact=True))
        browser.keyboard.type(keys)
    tab_to(browser.get_by_role("button", name="Send", exact=True))
    browser.keyboard.press("Space")
    browser.wait_for_url("**/nuclei/runs/send_to_annotation/**")
    runs = site.api.call("GET", "dags/send_to_annotation/dagRuns?order_by=-run_after")["dag_runs"]
    assert runs[0]["conf"] == {"plate": "a", "tool": "qupath", "fields": 7, "role": "train"}


def test_an_export_goes_into_the_inbox_as_it_is_and_waits_there(
    site: Site, plate: str, browser: Page, tmp_path: Path
) -> None:
    request = add_sent(site.home.store, 1, plate)
    export = export_of(request, tmp_path / "task 1.zip")
    browser.goto("/nuclei/annotate")
    for _ in range(2):
        browser.get_by_label("Export of the tool").set_input_files(export)
        browser.get_by_role("button", name="Return it").click()
        browser.get_by_role("status").filter(has_text="lies in the inbox").wait_for()
    # An earlier answer stays.
    first, second = sorted(path for path in site.home.inbox.glob("*.zip"))
    assert "task 1.zip" in (first.name, second.name)
    assert first.read_bytes() == second.read_bytes() == export.read_bytes()
    browser.reload()
    assert "task 1.zip waits in the inbox for ingest_plates" in browser.locator("tbody").inner_text()
    assert list((site.home.inbox / ".uploads").iterdir()) == []


@pytest.mark.parametrize(
    ("tool", "chosen", "files"),
    [
        ("label_tiff", "corrected", ["images/{}.tif", "labels/{}.tif", "unsure/{}.tif"]),
        ("ome_zarr", "corrected/{}.ome.zarr", ["{}.ome.zarr/.zattrs", "{}.ome.zarr/labels/nuclei/s0/0/0"]),
    ],
)
def test_a_folder_is_returned_whole_with_the_folders_in_it(
    site: Site, plate: str, browser: Page, tmp_path: Path, tool: str, chosen: str, files: list[str]
) -> None:
    request = add_sent(site.home.store, 1, plate, tool=tool)
    name = f"001_f_annotation-{request}"
    files = [file.format(name) for file in files]
    for file in files:
        path = tmp_path / "corrected" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"II*\0")
    browser.goto(f"/nuclei/annotate/{request}")
    browser.get_by_label("Export of the tool").set_input_files(tmp_path / "corrected" / files[0])
    browser.get_by_label("the whole folder").set_input_files(tmp_path / chosen.format(name))
    assert browser.get_by_label("Export of the tool").input_value() == ""
    browser.get_by_role("button", name="Return it").click()
    browser.get_by_role("status").filter(has_text="lies in the inbox").wait_for()
    returned = site.home.inbox / f"annotation-{request}"
    assert sorted(path.relative_to(returned).as_posix() for path in returned.rglob("*") if path.is_file()) == files


def test_what_is_returned_before_the_script_of_the_page_has_come_is_sent_when_it_has(
    site: Site, plate: str, browser: Page, tmp_path: Path
) -> None:
    export = export_of(add_sent(site.home.store, 1, plate), tmp_path / "task.zip")

    def once_submitted(script: Route) -> None:
        browser.wait_for_function("document.querySelector('form[data-submitted]')")
        script.continue_()

    browser.route("**/static/return_labels.js", once_submitted)
    browser.goto("/nuclei/annotate", wait_until="commit")
    browser.get_by_label("Export of the tool").set_input_files(export)
    browser.get_by_role("button", name="Return it").press("Enter")
    browser.get_by_role("status").filter(has_text="lies in the inbox").wait_for()
    assert [path.read_bytes() for path in site.home.inbox.glob("*.zip")] == [export.read_bytes()]


def test_a_form_without_a_file_says_what_is_to_be_chosen(site: Site, plate: str, browser: Page) -> None:
    browser.goto("/nuclei/annotate")
    browser.get_by_role("button", name="Return it").click()
    browser.get_by_role("alert").filter(has_text="Choose what the tool exported, or the folder").wait_for()


@pytest.mark.parametrize(
    ("request_key", "why"),
    [("f" * 16, "was not sent from this installation"), ("none", "Nothing of it was sent by send_to_annotation")],
)
def test_what_answers_no_request_is_refused_at_once_and_leaves_nothing(
    site: Site, plate: str, browser: Page, tmp_path: Path, request_key: str, why: str
) -> None:
    export = export_of(request_key, tmp_path / "export.zip")
    begun = browser.request.post("/nuclei/plates/-/uploads", data={"plate": "returned", "files": ["export.zip"]}).json()
    address = f"/nuclei/plates/-/uploads/{begun['id']}"
    assert browser.request.put(f"{address}/files?name=export.zip", data=export.read_bytes()).ok
    answer = browser.request.post("/nuclei/annotate/returned", data={"upload": begun["id"]})
    assert (answer.status, why in answer.json()["detail"]) == (422, True)
    assert browser.request.delete(address).ok
    assert [path.name for path in site.home.inbox.rglob("*")] == [".uploads"]


def test_an_answer_that_was_refused_says_why(site: Site, plate: str) -> None:
    request = add_sent(site.home.store, 1, plate)
    rejected = site.home.inbox / "rejected"
    rejected.mkdir()
    export_of(request, rejected / "e-20261101-101010.zip")
    (rejected / "e-20261101-101010.zip.txt").write_text("It is damaged.\n\nWhat came is e.\n")
    assert "e-20261101-101010.zip was refused:</span> It is damaged." in site.get(f"/annotate/{request}")[1]


def test_the_advice_on_going_on_is_shown_with_its_reasons(site: Site) -> None:
    values = {"U2OS": {"advice": "go on", "why": "The next hundred bring 0.02.", "at_random": ""}}
    result(site.home.store, "learning_curves/" + "a" * 16, {}, values=values)
    text = site.get("/annotate")[1]
    assert "U2OS: go on.</strong> The next hundred bring 0.02." in text
    assert "No patch of it that was drawn at random has come back yet." in text


@pytest.mark.parametrize(
    "address",
    [
        *("..%2f..%2flogin.json", ".", "nothing", "0000000000000001/package"),
        *("pictures/0000000000000001/..%2f..%2fpatches.jpg", "corrections/..", "curves/0000000000000001.png"),
    ],
)
def test_nothing_but_results_of_annotation_is_sent(site: Site, address: str) -> None:
    assert site.get(f"/annotate/{address}")[0] == 404


def test_500_plates_that_were_sent_take_the_server_less_than_a_second(site: Site) -> None:
    store = site.home.store
    for number in range(1, 501):
        request = add_sent(store, number, add_plate(store, f"p{number:03}", "screen"), patches=2)
        add_answer(store, 1000 + number, request, kept=60)
        if number % 50 == 0:
            export_of(request, site.home.inbox / f"e{number}.zip")
    for address in ("/annotate", f"/annotate/{request}"):
        site.get(address)  # What is in the store is read once.
        assert seconds_of_servers_for(site, address) < 1, address
