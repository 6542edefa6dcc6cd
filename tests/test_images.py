"""The container images: their libraries are those that everything is tested with."""

import re
from pathlib import Path

import pytest

from tests.repository import REPOSITORY

IMAGES = sorted(path.parent.name for path in REPOSITORY.glob("images/*/requirements.lock"))


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


def stages() -> list[tuple[str, list[str]]]:
    """The stages of the Dockerfile: the line that begins each, and the instructions after it."""
    text = re.sub(r"\\\n\s*|^#.*\n", "", (REPOSITORY / "images/Dockerfile").read_text(), flags=re.MULTILINE)
    _, *found = re.split(r"^(?=FROM )", text, flags=re.MULTILINE)
    return [(first, [line for line in rest if line]) for first, *rest in (stage.splitlines() for stage in found)]


def test_every_image_is_a_stage_on_one_base_that_has_its_packages() -> None:
    (packages, installs), (base, copies), *images, (last, _) = stages()
    assert packages == "FROM python:3.12-slim-bookworm AS packages"
    assert "COPY images/${IMAGE}/requirements.lock /requirements.lock" in installs
    assert base == "FROM python:3.12-slim-bookworm AS base"
    assert "COPY --from=packages /opt/venv /opt/venv" in copies
    names = re.findall(r"FROM (?:base|cpu) AS (\w+)", "\n".join(first for first, _ in images))
    assert sorted(names) == IMAGES
    assert last == "FROM ${IMAGE}"


def test_every_image_runs_as_a_user_that_is_not_root_and_names_its_commit() -> None:
    *earlier, (_, last) = stages()
    assert not any(line.startswith("USER ") for _, lines in earlier for line in lines)
    assert "USER 10001:10001" in last
    assert 'org.opencontainers.image.revision="${COMMIT}"' in last[-1]
    # Only words about the image follow the code.
    assert all(line.startswith(("ARG ", "ENV ", "LABEL ", "USER ")) for line in last)


def test_the_code_is_the_last_that_an_image_takes() -> None:
    copied = {
        first.split()[-1]: lines[-1] for first, lines in stages() if lines and re.match("COPY (tasks|dags) ", lines[-1])
    }
    assert copied == {"cpu": "COPY tasks /app/tasks", "airflow": "COPY dags /app/dags"}
    assert sum(bool(re.match("COPY (tasks|dags) ", line)) for _, lines in stages() for line in lines) == len(copied)


def test_make_and_the_checks_of_a_change_build_the_images_that_there_are() -> None:
    [made] = re.findall(r"^IMAGES = (.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    [checked] = re.findall(r"^for image in (.*); do$", (REPOSITORY / ".ci/run").read_text(), re.MULTILINE)
    assert sorted(made.split()) == IMAGES
    assert set(checked.split()) == set(IMAGES) - {"gpu"}
