"""The system's Chromium, which tests of pages use."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, sync_playwright

MOST_TABS = 100
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def chromium_browser() -> Iterator[Browser]:
    """A browser without a window. Where none is installed, the tests that need one are left out."""
    if CHROMIUM is None:
        pytest.skip("Chromium isn't installed here; Debian's package is called chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def complaints_of(tab: Page) -> list[str]:
    """Give a list to which whatever the console of a tab complains of is added."""
    complaints: list[str] = []
    tab.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints


def tab_to(control: Locator) -> None:
    """Press Tab until the keyboard acts on a control, as who has no mouse."""
    for _ in range(MOST_TABS):
        control.page.keyboard.press("Tab")
        if control.evaluate("control => control === document.activeElement"):
            return
    raise AssertionError(f"Tab doesn't lead to {control}.")


def choose_by_keyboard(control: Locator, path: Path) -> None:
    """Choose a file, or a folder, in the dialogue that the space bar opens."""
    tab_to(control)
    with control.page.expect_file_chooser() as chooser:
        control.page.keyboard.press("Space")
    chooser.value.set_files(path)
