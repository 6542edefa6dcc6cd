"""What all parts of the page share."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "binary": lambda content: bytes(range(256)) * 9,
}


@contextmanager
def damaged(paths: Sequence[Path], how: str) -> Iterator[None]:
    contents = {path: path.read_bytes() for path in paths}
    for path, content in contents.items():
        path.unlink()
        if how != "gone":
            path.write_bytes(DAMAGES[how](content))
    yield
    for path, content in contents.items():
        path.write_bytes(content)


def files_of_a_kind(store: Path) -> list[list[Path]]:
    """Group the files of a store by extension and, but for images, by task.

    Images come first: what the server has read of them once, it doesn't read again.
    """
    kinds: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for path in store.rglob("*.*"):
        # What is in an OME-Zarr is sent as it is.
        if path.is_file() and ".ome.zarr" not in str(path):
            task = path.relative_to(store).parts[0]
            kinds[(".tif", "") if path.suffix == ".tif" else (path.suffix, task)].append(path)
    return [kinds[kind] for kind in sorted(kinds, key=lambda kind: kind != (".tif", ""))]


@pytest.mark.long
def test_whatever_is_lost_or_damaged_each_page_is_shown_without_it_or_names_it(site: Site, tmp_path: Path) -> None:
    addresses = fill(site, Segmented(tmp_path / "segmented"))
    wrong = []
    for paths in files_of_a_kind(site.home.store):
        for how in ("gone", *DAMAGES):
            with damaged(paths, how):
                for address in addresses:
                    status, text = site.get(address)
                    is_said = status == 404 or any(str(path) in text for path in paths)
                    if status != 200 and not ("This isn't possible" in text and is_said):
                        wrong.append(f"{address}, {paths[0]} {how}: {status}, {text[-900:]}")
    assert wrong == []
    assert {address: site.get(address)[0] for address in addresses} == dict.fromkeys(addresses, 200)


def test_the_page_is_in_airflows_navigation(browser: Page) -> None:
    browser.goto("/")
    browser.get_by_role("link", name="Nuclei").first.click()
    frame = browser.frame_locator("iframe[title=Nuclei]")
    frame.get_by_role("heading", name="Plates").wait_for()
