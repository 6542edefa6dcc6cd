"""What all parts of the page share."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.dags.page.filled_store import add_whole_plate
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


CONTROLS = "a[href], button, input:not([type=hidden]), select, textarea, summary"
OUT_OF_REACH = """(controls) => [...document.querySelectorAll(controls)].filter((one) => {
  if (!one.checkVisibility({ visibilityProperty: true }) || one.closest(".skip")) return false;
  one.scrollIntoView({ block: "center", inline: "center" });
  const { left, right, top, bottom } = one.getBoundingClientRect();
  const seen = document.elementFromPoint(left + Math.min(right - left, innerWidth) / 2, (top + bottom) / 2);
  return left < 0 || left >= innerWidth || !(one.contains(seen) || seen?.contains(one));
}).map((one) => one.outerHTML.slice(0, 200))"""
"""Controls that no finger reaches, also after all boxes that scroll were scrolled: they are outside, or something lies
over them."""
FOCUSED = """() => {
  const one = document.activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(one);
  const { left, right, top, bottom } = one.getBoundingClientRect();
  const isSeen = right > 0 && left < innerWidth && bottom > 0 && top < innerHeight && bottom > top;
  return { what: one.outerHTML.slice(0, 200), isBody: one === document.body, number: Number(one.dataset.number),
    isMarked: outlineStyle !== "none" && parseFloat(outlineWidth) >= 1 && isSeen };
}"""
"""What the keyboard acts on, its place among the controls, and whether a person sees that."""
NUMBERED = """(controls) => [...document.querySelectorAll(controls)].filter(
  (one) => one.checkVisibility({ visibilityProperty: true }) && !one.disabled && one.tabIndex >= 0
).map((one, number) => { one.dataset.number = number; return number; })"""


@pytest.fixture
def whole_pages(site: Site, tmp_path: Path) -> list[str]:
    """Addresses of all pages, with something of every kind on them, also what is long."""
    long_name = "a-plate-with-a-very-long-name-" * 3
    add_whole_plate(site.home.store, long_name, doubts=["labels/" + "x" * 200], cell_line="a_long_cell_line_" * 3)
    addresses = [*fill(site, Segmented(tmp_path / "segmented")), f"/plates/{long_name}", "/runs/start/train_models?"]
    pages = [one for one in addresses if site.get(one)[1].startswith("<!doctype html>\n<html")]
    assert len(pages) > 15
    return pages


def test_on_a_narrow_screen_no_page_scrolls_sideways_and_all_controls_are_in_reach(
    whole_pages: list[str], browser: Page
) -> None:
    browser.set_viewport_size({"width": 390, "height": 800})
    wrong = {}
    for address in whole_pages:
        browser.goto(f"/nuclei{address}", wait_until="networkidle")
        width = browser.evaluate("document.documentElement.scrollWidth")
        found = browser.evaluate(OUT_OF_REACH, CONTROLS)
        if width > 390 or found:
            wrong[address] = (width, found)
    assert wrong == {}


def test_the_keyboard_alone_reaches_all_controls_of_a_page_in_their_order_and_shows_where_it_is(
    whole_pages: list[str], browser: Page
) -> None:
    wrong = {}
    for address in whole_pages:
        browser.goto(f"/nuclei{address}", wait_until="networkidle")
        expected = browser.evaluate(NUMBERED, CONTROLS)
        reached, unmarked = [], []
        for _ in range(len(expected) + 20):
            browser.keyboard.press("Tab")
            focused = browser.evaluate(FOCUSED)
            if focused["isBody"]:
                break
            if focused["number"] is not None:
                reached.append(focused["number"])
            unmarked += [] if focused["isMarked"] else [focused["what"]]
        if list(dict.fromkeys(reached)) != expected or unmarked:
            wrong[address] = (set(expected) - set(reached), unmarked)
    assert wrong == {}


def test_the_page_is_in_airflows_navigation(browser: Page) -> None:
    browser.goto("/")
    browser.get_by_role("link", name="Nuclei").first.click()
    frame = browser.frame_locator("iframe[title=Nuclei]")
    frame.get_by_role("heading", name="Plates").wait_for()
