"""What all parts of the page share."""

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.dags.page.segmented import Segmented
from tests.dags.page.site import Site
from tests.dags.page.whole_site import fill


def test_who_is_not_logged_in_is_sent_to_airflows_login_and_back(chromium: Browser, site: Site) -> None:
    tab = chromium.new_context(base_url=site.address).new_page()
    tab.goto("/nuclei/plates?role=train")
    name, password = site.login
    tab.get_by_role("textbox").first.fill(name)
    tab.get_by_role("textbox").nth(1).fill(password)
    tab.get_by_role("button", name="Sign in").click()
    tab.wait_for_url("**/nuclei/plates?role=train")
    tab.context.close()


def test_an_address_that_leads_nowhere_says_so(site: Site) -> None:
    status, text = site.get("/nowhere")
    assert status == 404
    assert "This isn't possible" in text


@pytest.mark.parametrize("address", ["/models/abc", "/results?page=x", "/results?page=0"])
def test_an_address_that_cannot_be_read_says_so(site: Site, address: str) -> None:
    status, text = site.get(address)
    assert status == 404
    assert "This isn't possible" in text
    assert "Input should be" in text


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    path.unlink()
    if how != "gone":
        path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "binary": bytes(range(256)) * 9}[how])


def test_whatever_file_is_lost_or_damaged_all_pages_are_shown_or_name_it(site: Site, tmp_path: Path) -> None:
    addresses = fill(site, Segmented(tmp_path / "segmented"))
    assert {address: site.get(address)[0] for address in addresses} == dict.fromkeys(addresses, 200)
    whole = shutil.copytree(site.home.store, tmp_path / "whole")
    # What the server has read, it remembers by the state of the file, so that copies are read anew.
    kinds = sorted({(path.suffix, path.parent.parent.name) for path in whole.rglob("*.*") if path.is_file()})
    for suffix, place in kinds:
        for how in ("gone", "cut", "empty", "binary"):
            shutil.rmtree(site.home.store)
            shutil.copytree(whole, site.home.store)
            damaged = [path for path in site.home.store.rglob(f"*{suffix}") if path.parent.parent.name == place]
            for path in damaged:
                damage(path, how)
            for address in addresses:
                status, text = site.get(address)
                said = f"{address}, with {damaged[0]} {how}: {status}, {text[:2000]}"
                assert status in (200, 404, 500), said
                assert status == 200 or "This isn't possible" in text, said
                assert status != 500 or any(path.name in text for path in damaged), said


def test_the_page_is_in_airflows_navigation(browser: Page) -> None:
    browser.goto("/")
    browser.get_by_role("link", name="Nuclei").first.click()
    frame = browser.frame_locator("iframe[title=Nuclei]")
    frame.get_by_role("heading", name="Plates").wait_for()
