"""The one list of the tasks' libraries: what reads it, and that it is complete."""

import ast
import importlib.metadata
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tasks import libraries
from tests.repository import REPOSITORY

TASKS = REPOSITORY / "tasks"


def imported_packages(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_list_names_every_library_that_a_task_imports() -> None:
    # Third-party tools run in environments of their own.
    paths = [path for path in TASKS.rglob("*.py") if "adapters" not in path.parts]
    imported = {name for path in paths for name in imported_packages(path)} - set(sys.stdlib_module_names) - {"tasks"}
    assert {"numpy", "cv2"} < imported
    listed = {normal(name) for name in libraries.of_tasks()}
    distributions = importlib.metadata.packages_distributions()
    assert {
        name for name in imported if not listed & {normal(distribution) for distribution in distributions[name]}
    } == set()


def test_a_result_records_the_version_of_every_library() -> None:
    assert set(libraries.versions()) == {"python", *libraries.of_tasks()}


def test_a_registered_model_asks_for_what_segments_and_for_nothing_else() -> None:
    marked = set(libraries.of_models())
    assert {"numpy", "scipy", "tensorflow", "tf_keras"} < marked < set(libraries.of_tasks())
    assert not marked & {"filelock", "imgaug", "jinja2", "matplotlib", "mlflow", "pandas"}


def test_the_environment_and_the_images_of_tasks_are_made_from_the_list() -> None:
    for path in ("requirements.txt", "images/cpu/requirements.txt", "images/gpu/requirements.txt"):
        [included] = re.findall("^-r (.*)$", (REPOSITORY / path).read_text(), re.MULTILINE)
        assert (REPOSITORY / path).parent.joinpath(included).resolve() == TASKS / "requirements.txt"
