"""The container images: their libraries are those that everything is tested with, and nobody can exchange them."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

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
    assert packages == "FROM ${BASE_IMAGE} AS packages"
    assert "COPY images/${IMAGE}/requirements.lock /requirements.lock" in installs
    assert base == "FROM ${BASE_IMAGE} AS base"
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


def kept_out(path: Path) -> bool:
    """Whether .dockerignore keeps a path out of the context: the last line that fits it or one of its folders says."""
    parents = [str(parent) for parent in (path, *path.parents)]
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    fitting = [
        line
        for line in lines
        if line and not line.startswith("#") and any(fnmatch(parent, line.removeprefix("!")) for parent in parents)
    ]
    return bool(fitting) and not fitting[-1].startswith("!")


@pytest.mark.parametrize("image", IMAGES)
def test_the_context_holds_each_file_that_an_image_copies(image: str) -> None:
    lines = (line for _, lines in stages() for line in lines)
    sources = [line.split()[1].replace("${IMAGE}", image) for line in lines if re.match("COPY (?!--from)", line)]
    copied = [
        [path for path in (REPOSITORY / source, *(REPOSITORY / source).rglob("*")) if path.is_file()]
        for source in sources
    ]
    assert all(copied)
    files = [path.relative_to(REPOSITORY) for paths in copied for path in paths if "__pycache__" not in path.parts]
    assert [path for path in files if kept_out(path)] == []


def test_the_context_holds_nothing_that_no_image_copies() -> None:
    assert all(
        kept_out(Path(path)) for path in (".git/config", "tests/conftest.py", "nucleus-data/store/plates/1", "k8s/x")
    )


def test_make_and_the_checks_of_a_change_build_the_images_that_there_are() -> None:
    [made] = re.findall(r"^IMAGES = (.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    checked = re.findall(r"^build (\w+)", (REPOSITORY / ".ci/run").read_text(), re.MULTILINE)
    assert sorted(made.split()) == IMAGES
    assert set(checked) == set(IMAGES) - {"gpu"}


def test_an_image_begins_from_a_base_with_its_digest_or_another_that_is_given_and_says_from_which() -> None:
    dockerfile = (REPOSITORY / "images/Dockerfile").read_text()
    [default] = re.findall(r"^ARG BASE_IMAGE=(.*)$", dockerfile, re.MULTILINE)
    assert re.fullmatch(r"python:3\.12-slim-bookworm@sha256:[0-9a-f]{64}", default)
    assert 'org.opencontainers.image.base.name="${BASE_IMAGE}"' in dockerfile
    for given, base in (((), default), (("BASE_IMAGE=other@sha256:1",), "other@sha256:1")):
        command = ["make", "--dry-run", "images", *given]
        made = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
        assert f"--build-arg BASE_IMAGE='{base}'" in made


BASE = f"python:3.12-slim-bookworm@sha256:{'0' * 64}"


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `make sbom` writes, by image."""
    folder = tmp_path_factory.mktemp("sbom")
    (folder / "mlflow.debian").write_text("libc6 2.36-9+deb12u13 amd64\ngcc-12-base 1:12.2.0-14 amd64\n")
    options = ["--base-image", BASE, "--commit", "c0ffee"]
    subprocess.run([sys.executable, REPOSITORY / "images/sbom.py", folder, *options, *IMAGES], check=True)
    return {image: json.loads((folder / f"nucleus-{image}.cdx.json").read_text()) for image in IMAGES}


def libraries_in(listed: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (component for component in listed["components"] if component["type"] == "library")


@pytest.mark.parametrize("image", IMAGES)
def test_the_list_of_what_is_in_an_image_has_every_package_of_its_lock_with_its_hashes(
    lists: dict[str, Any], image: str
) -> None:
    lock = REPOSITORY / "images" / image / "requirements.lock"
    of_python = [library for library in libraries_in(lists[image]) if library["purl"].startswith("pkg:pypi/")]
    assert {library["name"]: library["version"] for library in of_python} == versions(lock)
    hashes = [sha["content"] for library in of_python for sha in library["externalReferences"][0]["hashes"]]
    assert hashes == re.findall(r"--hash=sha256:([0-9a-f]{64})", lock.read_text())
    references = [component["bom-ref"] for component in lists[image]["components"]]
    assert len(set(references)) == len(references)


def test_the_list_of_what_is_in_an_image_has_the_debian_packages_that_the_image_names(lists: dict[str, Any]) -> None:
    found = [library["purl"] for library in libraries_in(lists["mlflow"]) if "pkg:deb/" in library["purl"]]
    assert found == [
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u13?arch=amd64",
        "pkg:deb/debian/gcc-12-base@1%3A12.2.0-14?arch=amd64",
    ]
    assert not any("pkg:deb/" in library["purl"] for library in libraries_in(lists["cpu"]))


def test_the_list_of_what_is_in_an_image_names_image_commit_base_and_each_package_as_others_do(
    lists: dict[str, Any],
) -> None:
    listed = lists["cpu"]
    assert (listed["bomFormat"], listed["specVersion"]) == ("CycloneDX", "1.6")
    assert listed["metadata"]["component"] == {"type": "container", "name": "nucleus-cpu", "version": "c0ffee"}
    assert [component["name"] for component in listed["components"] if component["type"] == "container"] == [BASE]
    numpy = versions(REPOSITORY / "images/cpu/requirements.lock")["numpy"]
    assert f"pkg:pypi/numpy@{numpy}" in {library["purl"] for library in libraries_in(listed)}
    assert len({content["serialNumber"] for content in lists.values()}) == len(lists)
