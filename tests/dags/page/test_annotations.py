"""What the inbox has of corrected labels, as files on a real disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nucleus_dags.page.annotations import find_sent
from tests.dags.page.sent_annotations import add_sent, export_of


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox/rejected").mkdir(parents=True)
    return tmp_path / "inbox"


def not_taken(store: Path, inbox: Path, request: str) -> list[str]:
    sent = find_sent(store, inbox, request)
    assert sent
    return sorted(one.name for one in sent.not_taken)


def test_a_link_that_leads_nowhere_hides_no_other_answer(tmp_path: Path, inbox: Path) -> None:
    request = add_sent(tmp_path, 1, "ingest/p@0123456789ab")
    export_of(request, inbox / "mine.zip")
    export_of(request, inbox / "rejected/bad.zip")
    for folder in (inbox, inbox / "rejected"):
        (folder / "a-link").symlink_to(tmp_path / "nowhere")
        (folder / "a-loop").symlink_to("a-loop")
    for name in ("bad.zip", "a-link", "a-loop"):
        (inbox / f"rejected/{name}.txt").write_text("Its labels are of another size.\n\nMore.")
    assert not_taken(tmp_path, inbox, request) == ["bad.zip", "mine.zip"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_hides_no_other_answer(tmp_path: Path, inbox: Path) -> None:
    request = add_sent(tmp_path, 1, "ingest/p@0123456789ab")
    export_of(request, inbox / "mine.zip")
    (inbox / "a").mkdir(mode=0)
    assert not_taken(tmp_path, inbox, request) == ["mine.zip"]


def test_what_is_copied_into_a_folder_below_the_answers_own_is_seen(tmp_path: Path, inbox: Path) -> None:
    request = add_sent(tmp_path, 1, "ingest/p@0123456789ab")
    (inbox / "export/ann").mkdir(parents=True)
    assert not_taken(tmp_path, inbox, request) == []
    (inbox / f"export/ann/f1_annotation-{request}.png").touch()
    assert not_taken(tmp_path, inbox, request) == ["export"]
