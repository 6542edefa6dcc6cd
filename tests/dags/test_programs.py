"""What programs.yaml says of the programs of others."""

from pathlib import Path

import pytest

from nucleus_dags.plan import FormError
from nucleus_dags.programs import chosen_programs
from tests.repository import REPOSITORY


def test_the_programs_that_come_with_the_pipeline_have_commands_that_train_and_segment() -> None:
    for name, commands in chosen_programs(["stardist", "cellpose"], Path("/programs")).items():
        assert set(commands) == {"segment", "train"}
        for command in commands.values():
            assert command[0] == f"/programs/{name}/bin/python"
            assert (REPOSITORY / command[1]).exists()
        assert (REPOSITORY / "tasks/methods/external/tools" / f"{name}.txt").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("other: {segment: [run]}", "have no program mine; there are stardist, cellpose, other"),
        ("mine: {train: [run]}", "mine must have the command segment"),
        ("mine: {segment: [run], predict: [run]}", "mine must have the command segment, and may have"),
        ("mine: {segment: run it}", "a command of mine is 'run it'; give a list of texts"),
        ("mine: {segment: [run, 3]}", r"a command of mine is \['run', 3\]"),
        ("", "have no program mine; there are stardist, cellpose"),
        ("mine: [", r"programs.yaml can't be read \(while parsing"),
        ("mine", "must name programs, each with its commands"),
    ],
)
def test_a_program_that_is_missing_or_badly_written_is_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "programs.yaml").write_text(content)
    with pytest.raises(FormError, match=message):
        chosen_programs(["mine"], tmp_path)


def test_a_laboratory_has_programs_of_its_own_and_may_change_those_that_come_with_the_pipeline(tmp_path: Path) -> None:
    (tmp_path / "programs.yaml").write_text(
        "mine: {segment: ['{programs}/find', '{images}']}\nstardist: {segment: [other]}"
    )
    assert chosen_programs(["mine", "stardist"], tmp_path) == {
        "mine": {"segment": [f"{tmp_path}/find", "{images}"]},
        "stardist": {"segment": ["other"]},
    }
