"""The container images: their libraries are those that everything is tested with."""

import re
from pathlib import Path

import pytest

from tests.repository import REPOSITORY

IMAGES = sorted(path.parent.name for path in REPOSITORY.glob("images/*/Dockerfile"))


def versions(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)(?:\[[a-z0-9,-]+\])?==([^ ;\\]+)", lock.read_text(), re.MULTILINE))


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_has_the_versions_of_the_lock(image: str) -> None:
    in_image = versions(REPOSITORY / "images" / image / "requirements.lock")
    tested = versions(REPOSITORY / "requirements.lock")
    assert len(in_image) > 50
    assert {name: version for name, version in in_image.items() if tested.get(name) != version} == {
        name: version for name, version in in_image.items() if image == "gpu" and name.endswith("-cu12")
    }


def test_only_the_gpu_image_has_cuda() -> None:
    with_cuda = {
        image
        for image in IMAGES
        if any("nvidia" in name for name in versions(REPOSITORY / "images" / image / "requirements.lock"))
    }
    assert with_cuda == {"gpu"}


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_is_built_in_stages_for_a_user_that_is_not_root_and_has_the_code_last(image: str) -> None:
    lines = (REPOSITORY / "images" / image / "Dockerfile").read_text().splitlines()
    assert sum(line.startswith("FROM python:3.12-slim-bookworm") for line in lines) == 2
    assert "USER 10001:10001" in lines
    assert "org.opencontainers.image.revision" in " ".join(lines)
    code = [number for number, line in enumerate(lines) if re.match("COPY (tasks|dags) ", line)]
    assert len(code) == (image != "mlflow")
    # Only words about the image follow.
    assert all(line.startswith(("ARG ", "LABEL ")) for number in code for line in lines[number + 1 :])
