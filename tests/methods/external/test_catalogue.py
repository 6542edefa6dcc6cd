"""What tools.yaml says of third-party tools."""

from pathlib import Path

import pytest

from tasks.methods.external.catalogue import READY, Tool, tool_named
from tasks.nuclei.errors import InputError
from tests.repository import REPOSITORY


@pytest.fixture(autouse=True)
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a laboratory's tools."""
    monkeypatch.setenv("NUCLEUS_TOOLS", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", READY)
def test_the_tools_of_the_pipeline_have_commands_that_train_and_segment(name: str) -> None:
    tool = tool_named(name)
    assert tool.train is not None
    for command in (tool.segment, tool.train):
        assert command[0] == f"{{tools}}/{name}/bin/python"
        assert (REPOSITORY / command[1]).exists()
    assert (REPOSITORY / "tasks/methods/external/adapters" / f"{name}.txt").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("other: {segment: [run]}", "no third-party tool mine in .*; there are stardist, cellpose, other. Add its"),
        ("mine: {train: [run]}", "mine must have the command segment"),
        ("mine: {segment: [run], predict: [run]}", "mine must have the command segment, and may have"),
        ("mine: {segment: run it}", "a command of mine is 'run it'; give a list of texts"),
        ("mine: {segment: [run, 3]}", r"a command of mine is \['run', 3\]"),
        ("", "no third-party tool mine in .*; there are stardist, cellpose. Add its"),
        ("mine: [", r"tools.yaml can't be read \(while parsing"),
        ("mine", "must name tools, each with its commands"),
    ],
)
def test_a_tool_that_is_missing_or_badly_written_is_refused(content: str, message: str, tools: Path) -> None:
    (tools / "tools.yaml").write_text(content)
    with pytest.raises(InputError, match=message):
        tool_named("mine")


def test_a_laboratory_has_tools_of_its_own_and_may_change_those_of_the_pipeline(tools: Path) -> None:
    (tools / "tools.yaml").write_text("mine: {segment: ['{tools}/find', '{images}']}\nstardist: {segment: [other]}")
    assert tool_named("mine") == Tool("mine", ("{tools}/find", "{images}"))
    assert tool_named("stardist") == Tool("stardist", ("other",))
    assert tool_named("cellpose").train
