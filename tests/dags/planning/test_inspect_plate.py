"""Which folder `inspect_plate` looks at."""

from pathlib import Path

import pytest

from nucleus_dags.errors import FormError
from nucleus_dags.forms.inspect_plate import inspect_plate_form
from nucleus_dags.forms.typed import problems
from nucleus_dags.planning.inspect_plate import inspection_of
from nucleus_dags.plates.uploads import new_upload
from tasks.steps.inspect_plate import Params


def test_the_folder_of_an_upload_and_the_values_are_the_params_of_the_task(tmp_path: Path) -> None:
    upload = new_upload(tmp_path, "my plate")
    form = {"folder": upload.path, "values": {"objective": "20X", "pixel_size_um": "0,3"}}
    assert problems(inspect_plate_form(), form) == []
    params = Params(**inspection_of(form, tmp_path))
    assert (params.folder, params.values) == (str(upload.folder), form["values"])


@pytest.mark.parametrize("folder", ["/etc", "..", "{id}", "{id}/", "{id}/other", "{id}/../p", "{id}/p/images", ""])
def test_any_other_folder_is_refused(tmp_path: Path, folder: str) -> None:
    upload = new_upload(tmp_path, "p")
    (upload.folder / "images").mkdir()
    with pytest.raises(FormError):
        inspection_of({"folder": folder.format(id=upload.id), "values": {}}, tmp_path)


def test_a_form_without_a_folder_says_so() -> None:
    assert problems(inspect_plate_form(), {}) == ["Folder: fill it in."]
