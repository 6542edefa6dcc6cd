"""SECURITY.md says what holds each promise, and packages are what they were."""

import re

import pytest

from tests.repository import REPOSITORY

TEXT = (REPOSITORY / "SECURITY.md").read_text()
PROMISES = TEXT.partition("## What is promised")[2].partition("## What isn't promised")[0]
TOOLS = REPOSITORY / "tasks/methods/external/adapters"
LOCKS = sorted(
    [REPOSITORY / "requirements.lock", *REPOSITORY.glob("images/*/requirements.lock"), *TOOLS.glob("*.lock")]
)


def test_every_promise_is_held_by_tests_that_are_there() -> None:
    rows = [line for line in PROMISES.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 10
    for row in rows:
        held_by = re.findall(r"`(tests/[\w/]+\.py)`", row.rpartition(" | ")[2])
        assert held_by, row
        for name in held_by:
            assert "def test_" in (REPOSITORY / name).read_text(), name


def test_the_bounds_in_the_text_are_those_of_the_code() -> None:
    from tasks.annotation import package
    from tasks.nuclei.plates.file_kinds import MAX_FIELD_BYTES
    from tasks.nuclei.plates.raster import MAX_FIELD_PIXELS
    from tasks.store.attempts import MOST_CRASHES

    assert f"at most {MAX_FIELD_PIXELS:,} px" in TEXT
    assert f"at most {MAX_FIELD_BYTES:,} bytes" in TEXT
    assert f"allowed are {package.MOST_FILES:,} files and {package.MOST_BYTES:,} bytes" in TEXT
    assert MOST_CRASHES == 3
    assert "after three crashes" in TEXT


@pytest.mark.parametrize("lock", sorted(LOCKS), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_package_is_named_with_its_hashes_which_are_required(lock) -> None:
    entries = re.split(r"\n(?=\S)", re.sub(r"(?m)^\s*#.*\n", "", lock.read_text()).strip())
    packages = [entry for entry in entries if "==" in entry.splitlines()[0]]
    assert len(packages) > 5
    assert [entry.splitlines()[0] for entry in packages if "--hash=sha256:" not in entry] == []
    for file in ("Makefile", "images/Dockerfile"):
        assert "--require-hashes" in (REPOSITORY / file).read_text(), file


@pytest.mark.parametrize("wanted", sorted(TOOLS.glob("*.txt")), ids=lambda path: path.stem)
def test_a_third_party_tool_is_installed_as_it_is_locked(wanted) -> None:
    lock = wanted.with_suffix(".lock").read_text()
    for package in re.findall(r"(?m)^[a-z0-9_]+==\S+$", wanted.read_text()):
        assert f"\n{package.replace('_', '-')} \\\n" in lock, package
    makefile = (REPOSITORY / "Makefile").read_text()
    recipe = makefile.partition("\ntool: ")[2].partition("\n\n")[0]
    assert "--no-deps --require-hashes" in recipe
    assert recipe.count("adapters/$(TOOL).lock") == 2
    [locked] = re.findall(r"(?m)^TOOLS = (.*)$", makefile)
    assert wanted.stem in locked.split()
