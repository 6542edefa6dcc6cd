"""What all parts of the page share."""

import pytest
from playwright.sync_api import Browser, Page

from tests.dags.page.site import Site


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


def test_a_damaged_file_of_the_store_is_told_in_words(site: Site) -> None:
    folder = site.home.store / "assemble_plate/0123456789abcdef"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text('{"half')
    status, text = site.get("/results")
    assert status == 200
    assert "lost or damaged" in text
    assert "assemble_plate/0123456789abcdef/result.json" in text


def test_the_page_is_in_airflows_navigation(browser: Page) -> None:
    browser.goto("/")
    browser.get_by_role("link", name="Nuclei").first.click()
    frame = browser.frame_locator("iframe[title=Nuclei]")
    frame.get_by_role("heading", name="Plates").wait_for()
