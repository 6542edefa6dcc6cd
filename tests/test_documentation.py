"""The pages name only what is there, lead somewhere, and say nothing twice."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import yaml

from nucleus_dags.planning.experiments import read_matrix
from tasks.methods.fpn2_ws.method import BASE
from tasks.nuclei.plates.info import PlateInfo
from tasks.nuclei.scoring import score_instances
from tasks.recipes.install_base_model import install
from tests.fields import round_nuclei
from tests.repository import REPOSITORY

FOLDERS = ("dags", "images", "k8s", "tasks", "tests")
PAGES = sorted([*REPOSITORY.glob("*.md"), *(page for name in FOLDERS for page in (REPOSITORY / name).rglob("*.md"))])
README = (REPOSITORY / "README.md").read_text()

SECRET_IN_ARGUMENTS = re.compile(
    r"--[\w-]*(password|passwd|token|secret|credential)[\w-]*[ =]\S"  # --docker-password=
    r"|--from-literal\b|\bcurl\b.* (-u|--user)[ =]|\bAuthorization: |\bsshpass\b|\bdocker login .*-p"
)
"""Whoever sees the processes of a machine sees their arguments, and a shell keeps them."""
MOST_LINES = 120
VARIABLE = r"NUCLEUS_[A-Z][A-Z_]*[A-Z]"
PYTHON_PATH = (REPOSITORY, REPOSITORY / "dags", REPOSITORY / "tests/foreign_method")
LONG_SENTENCE = 60
"""Characters from which on two equal sentences are no chance."""


def named(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


every_page = pytest.mark.parametrize("page", PAGES, ids=named)


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"(?ms)^```.*?^```", "", re.sub(r"(?m)^ {4,}\S.*$", "", text)))


def code(text: str) -> list[str]:
    """What stands as code: lines of blocks, and between backticks, also over the end of a line."""
    blocks = re.findall(r"(?ms)^```\w*\n(.*?)^```", text)
    prose = re.sub(r"(?ms)^```.*?^```", "", text)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    lines += [line.strip() for line in re.findall(r"(?m)^ {4,}\S.*$", prose)]
    return lines + [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", prose)]


def anchors(page: Path) -> set[str]:
    """Those that GitHub and GitLab make of headings."""
    headings = re.findall(r"(?m)^#+ (.*)$", re.sub(r"(?ms)^```.*?^```", "", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@every_page
def test_no_page_has_a_person_put_a_secret_among_the_arguments_of_a_command(page: Path) -> None:
    assert [line for line in code(page.read_text()) if SECRET_IN_ARGUMENTS.search(line)] == []


@pytest.mark.parametrize(
    "command",
    [
        '--docker-username=NAME --docker-password="$(cat FILE)"',
        "kubectl create secret generic oidc --from-literal=client_secret=$SECRET",
        "curl -u anna:secret http://127.0.0.1:5000",
        "docker login registry.example.org -u NAME -p SECRET",
    ],
)
def test_such_a_command_would_be_noticed(command: str) -> None:
    assert SECRET_IN_ARGUMENTS.search(command)


@every_page
def test_every_link_and_anchor_of_a_page_leads_somewhere(page: Path) -> None:
    for address in re.findall(r"\]\(\s*([^)\s]+)\s*\)", without_code(page.read_text())):
        if re.match(r"[a-z]+:", address):
            continue
        path, _, anchor = unquote(address).partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), address
        assert target.is_relative_to(REPOSITORY), address
        if anchor:
            assert anchor in anchors(target), address


@every_page
def test_every_target_of_make_that_a_page_names_is_there(page: Path) -> None:
    targets = set(re.findall(r"(?m)^([a-z][a-z0-9-]*):", (REPOSITORY / "Makefile").read_text()))
    for line in code(page.read_text()):
        for words in re.findall(r"(?<![\w-])make((?: [a-z][a-z0-9-]*)+)", line):
            assert set(words.split()) <= targets, line


@every_page
def test_every_module_that_a_page_runs_is_there(page: Path) -> None:
    for line in code(page.read_text()):
        for module in re.findall(r"python[\d.]* -m ([A-Za-z_][\w.]*)", line):
            assert is_there(module.rstrip(".")), line


def is_there(module: str) -> bool:
    parts = Path(*module.split("."))
    if any((folder / parts.parts[0]).is_dir() for folder in PYTHON_PATH):
        return any((folder / parts).with_suffix(".py").exists() for folder in PYTHON_PATH)
    return importlib.util.find_spec(parts.parts[0]) is not None


@every_page
def test_every_file_of_the_repository_that_a_page_names_is_there(page: Path) -> None:
    files = rf"(?<![\w./<$~-])(?:{'|'.join(FOLDERS)})/[\w./-]+\.(?:py|sh|yaml|json|md|txt|lock)(?![\w/])"
    for line in code(page.read_text()):
        for name in re.findall(files, line):
            assert (REPOSITORY / name).exists() or (page.parent / name).exists(), line


def test_pages_and_code_name_the_same_variables_of_the_environment() -> None:
    in_pages = {name for page in PAGES for name in re.findall(VARIABLE, page.read_text())}
    assert in_pages == set(variables_of_code())


def variables_of_code() -> Iterator[str]:
    """What is set or read: texts of Python that are a name and no more, and any name in what isn't Python."""
    for folder in FOLDERS:
        for path in (path for path in (REPOSITORY / folder).rglob("*") if is_code(path)):
            names = set(re.findall(VARIABLE, path.read_text()))
            if names and path.suffix == ".py":
                nodes = ast.walk(ast.parse(path.read_text()))
                names &= {
                    node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)
                }
            yield from names


def is_code(path: Path) -> bool:
    return path.suffix in (".py", ".sh", ".yaml") or path.name == "Dockerfile"


def test_no_sentence_stands_on_two_pages() -> None:
    sentences = Counter(sentence for page in PAGES for sentence in long_sentences(page))
    assert [sentence for sentence, pages in sentences.items() if pages > 1] == []


def long_sentences(page: Path) -> set[str]:
    cells = re.sub(r"[|\n]|\s- ", " ", page.read_text())
    sentences = re.split(r"(?<=[.:;])\s+", re.sub(r"\s+", " ", cells))
    return {sentence for sentence in sentences if len(sentence) >= LONG_SENTENCE}


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= MOST_LINES


def test_the_paper_is_cited_alike_in_the_readme_and_for_programs() -> None:
    cited = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(cited)
    paper, citation = cited["preferred-citation"], README.partition("## Citation")[2]
    assert f"https://doi.org/{paper['doi']}" in citation
    assert paper["title"] in citation
    position = [citation.find(author["family-names"]) for author in paper["authors"]]
    assert position == sorted(position)
    assert position[0] > 0


def test_the_figures_of_the_base_model_are_those_of_its_card() -> None:
    card = (BASE / "README.md").read_text()
    (row,) = re.findall(r"\| all \| 88 \|.*", card)
    f1 = re.findall(r" (\d\.\d{3}) \((\d\.\d{3}-\d\.\d{3})\)", row)
    (cost,) = re.findall(r"cost in use \| (\S+) CPU seconds a megapixel", card)
    assert f"| {f1[1][0]} | {f1[2][0]} | {cost} |" in README
    measured = (REPOSITORY / "tests/README.md").read_text()
    assert f"| {cost} | {f1[0][0]} | {f1[1][0]} ({f1[1][1]}) | {f1[2][0]} ({f1[2][1]}) |" in measured


def test_the_plate_json_and_the_matrix_that_users_copy_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (REPOSITORY / "dags/README.md").read_text()
    (plate_json,) = re.findall(r"(?ms)^    \{$.*?^    \}$", page)
    assert PlateInfo.model_validate_json(plate_json).role == "train"
    (matrix,) = re.findall(r"(?m)^    columns:\n(?:    .*\n)+", page)
    (tmp_path / "ours.yaml").write_text(textwrap.dedent(matrix))
    monkeypatch.setenv("NUCLEUS_EXPERIMENTS", str(tmp_path))
    assert len(read_matrix("ours").rows()) == 2 * 2 * 3


@pytest.mark.slow
def test_the_lines_of_python_in_the_readme_find_the_nuclei_of_a_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.chdir(tmp_path)
    install(tmp_path / "store")
    image, true_labels = round_nuclei(radius_px=14)
    np.save("image", image)
    (lines,) = re.findall(r"(?ms)^```python\n(.*?)^```", README)
    program = ["import numpy", "image = numpy.load('image.npy')", lines, "numpy.save('labels', label_image)"]
    ended = subprocess.run([sys.executable, "-c", "\n".join(program)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    label_image = np.load("labels.npy")
    assert label_image.dtype == np.int32
    assert score_instances(true_labels, label_image).true_iou.min() > 0.7
