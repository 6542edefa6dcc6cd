from pathlib import Path

import pytest

from nucleus_dags.local import demo
from nucleus_dags.local.home import Home


def add_plate(folder: Path, name: str, role: str = "train") -> Path:
    for part in ("images", "labels"):
        (folder / name / part).mkdir(parents=True)
        (folder / name / part / "1.tif").write_bytes(b"")
    (folder / name / "plate.json").write_text(f'{{"name": "{name}", "role": "{role}"}}')
    return folder / name


def test_a_persons_plates_are_linked_into_the_inbox_and_chosen_by_role(home: Home, tmp_path: Path) -> None:
    add_plate(tmp_path / "mine", "a")
    add_plate(tmp_path / "mine", "b", "test")
    for _ in range(2):
        infos = demo.link_plates(tmp_path / "mine", home)
    assert demo.form_for(infos) == {"train_plates": ["a"], "test_plates": ["b"]}
    assert (home.inbox / "a" / "images" / "1.tif").exists()


def test_a_plate_of_the_inbox_is_not_replaced_by_another_of_its_name(home: Home, tmp_path: Path) -> None:
    add_plate(tmp_path / "mine", "a")
    add_plate(home.inbox, "a")
    with pytest.raises(demo.DemoError, match="is there already and is another plate"):
        demo.link_plates(tmp_path / "mine", home)


def test_a_folder_without_plates_is_refused(home: Home, tmp_path: Path) -> None:
    with pytest.raises(demo.DemoError, match="has no plate"):
        demo.link_plates(tmp_path, home)


def test_only_the_plate_is_copied_from_its_folder(home: Home, tmp_path: Path) -> None:
    plate = add_plate(tmp_path / "mine", "a")
    (plate / "result.json").touch()
    demo.copy_plate(plate, home.inbox / "a")
    assert {path.name for path in (home.inbox / "a").iterdir()} == {"plate.json", "images", "labels"}
