"""Names of what lies in the inbox."""

import pytest

from nucleus_dags.plates import names, no_plate
from tasks.nuclei.plates import file_kinds


def test_the_inbox_and_ingest_ignore_the_same_names_and_tell_the_same_copies_that_are_not_finished() -> None:
    assert {name for name in names.LEFT_BY_SYSTEMS if name[0] != "."} == file_kinds.LEFT_BY_SYSTEMS
    assert no_plate.HALF_COPIED == file_kinds.HALF_COPIED


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "@eaDir", "~$plate.xlsx", ".~lock.plate.ods#", "Icon\r"])
def test_what_systems_and_editors_leave_is_ignored_everywhere(name: str) -> None:
    assert names.is_ignored(name)
    assert file_kinds.is_left_by_a_system(name)
