"""What people fill into the form of `train_models`: it does what it says, or is refused before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nucleus_dags.errors import FormError
from nucleus_dags.forms.train_models import train_models_form
from nucleus_dags.planning import train_models
from tests.dags.forms.filled import filled
from tests.situations.plain import plain_plate, write_info

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a plate that isn't there": ({"train_plates": ["c"]}, "No train plate named c: .* has a .train., b .test."),
    "a test plate for training": ({"train_plates": ["b"]}, "No train plate named b"),
    "a plate whose plate.json can't be read": ({"train_plates": ["broken"]}, "broken/plate.json can't be read"),
    "a setting that the method doesn't have": ({"min_score": 0.9}, "the methods chosen .* don't have this"),
    "third-party tools without one": ({"methods": ["external"]}, "choose at least one; there are stardist, cellpose"),
    "a tool without the method": ({"tool": ["stardist"]}, "the methods chosen .* don't have this"),
    "a tool that nobody knows": ({"methods": ["external"], "tool": ["stardust"]}, "there is no stardust"),
    "epochs of a tool": ({"methods": ["external"], "tool": ["stardist"], "cycles": 3}, "don't have this"),
    "initial weights of another method": ({"initialisation": "coco"}, "are of none of the methods"),
}


def planned(inbox: Path, form: dict[str, Any]) -> Any:
    return train_models.plan(filled(train_models_form(), **form), inbox, inbox.parent / "store", "manual__1")


@pytest.fixture
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUCLEUS_TOOLS", str(tmp_path / "tools"))
    for name, role in (("a", "train"), ("b", "test")):
        write_info(plain_plate(tmp_path / "inbox" / name), name=name, role=role)
    (tmp_path / "inbox/broken").mkdir()
    (tmp_path / "inbox/broken/plate.json").write_text('{"name": "broken", ')
    return tmp_path / "inbox"


def test_the_empty_form_takes_the_plates_that_there_are(inbox: Path) -> None:
    plan = planned(inbox, {})
    assert [Path(plate["folder"]).name for plate in plan["train_plates"] + plan["test_plates"]] == ["a", "b"]
    assert len(plan["left_out"]) == 1
    assert "broken/plate.json can't be read" in plan["left_out"][0]


@pytest.mark.parametrize(("form", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_form_is_refused(form: dict[str, Any], words: str, inbox: Path) -> None:
    with pytest.raises(FormError, match=words):
        planned(inbox, form)
