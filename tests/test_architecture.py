"""Who may import whom."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repository import REPOSITORY

STEPS = {path.stem for path in (REPOSITORY / "tasks/steps").glob("*.py")}


def python_files(*patterns: str) -> list[str]:
    paths = [path for pattern in patterns for path in sorted(REPOSITORY.glob(pattern))]
    return [path.relative_to(REPOSITORY).as_posix() for path in paths]


def imports(path: str, top_level_only: bool = False) -> set[str]:
    """Full names of the modules that a file imports; those only for type hints are left out."""
    tree = ast.parse((REPOSITORY / path).read_text())
    return {name for node in _statements(tree, top_level_only) for name in _imported(node)}


def _statements(node: ast.AST, top_level_only: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if top_level_only and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield child
        yield from _statements(child, top_level_only)


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute here"
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def of_packages(names: set[str], *packages: str) -> set[str]:
    return {name for name in names if any(f"{name}.".startswith(f"{package}.") for package in packages)}


def outside(names: set[str], *packages: str) -> set[str]:
    """Names that are neither of these packages nor of the standard library."""
    return {name for name in names if name.split(".")[0] not in (*packages, *sys.stdlib_module_names)}


@pytest.mark.parametrize("path", python_files("dags/*.py"))
def test_a_dag_file_imports_airflow_and_the_dags_package_only(path: str) -> None:
    assert outside(imports(path), "airflow", "nucleus_dags") == set()


@pytest.mark.parametrize("path", python_files("dags/nucleus_dags/**/*.py"))
def test_the_dags_package_imports_airflow_and_the_standard_library_only(path: str) -> None:
    # Airflow and its provider bring them. psutil tells the servers' processes from others of the same pid.
    allowed = {
        "inbox_trigger.py": ("watchfiles",),
        "pods.py": ("kubernetes",),
        "processes.py": ("psutil",),
        "programs.py": ("yaml",),
        "retraining.py": ("yaml",),
    }
    assert outside(imports(path), "airflow", "nucleus_dags", *allowed.get(Path(path).name, ())) == set()


@pytest.mark.parametrize("path", python_files("dags/**/*.py", "tasks/**/*.py"))
def test_only_tracking_imports_mlflow(path: str) -> None:
    assert path == "tasks/tracking.py" or of_packages(imports(path), "mlflow") == set()


@pytest.mark.parametrize("path", python_files("tasks/**/*.py"))
def test_no_module_of_the_tasks_imports_airflow_or_another_step(path: str) -> None:
    other_steps = [f"tasks.steps.{step}" for step in STEPS if step not in (Path(path).stem, "__init__")]
    assert of_packages(imports(path), "airflow", "nucleus_dags", *other_steps) == set()


@pytest.mark.parametrize(
    "path",
    python_files("tasks/*.py", "tasks/steps/*.py", "tasks/store/*.py", "tasks/methods/*.py", "tasks/methods/*/t*.py"),
)
def test_a_task_loads_no_network_library_before_it_runs(path: str) -> None:
    if path != "tasks/methods/shared/training.py" and not path.endswith("/targets.py"):
        heavy = ("tensorflow", "tf_keras", "segmentation_models")
        assert of_packages(imports(path, top_level_only=True), *heavy) == set()


@pytest.mark.parametrize("path", python_files("tasks/nuclei/**/*.py"))
def test_the_library_knows_nothing_of_tasks_methods_networks_airflow_or_the_command_line(path: str) -> None:
    names = imports(path)
    beyond = ("airflow", "nucleus_dags", "argparse", "subprocess", "signal", "jinja2")
    assert of_packages(names, *beyond, "tensorflow", "tf_keras", "segmentation_models") == set()
    assert {name for name in of_packages(names, "tasks") if not name.startswith("tasks.nuclei")} == set()


@pytest.mark.parametrize("path", python_files("tasks/nuclei/**/*.py"))
def test_the_library_neither_prints_nor_is_steered_by_the_environment(path: str) -> None:
    calls = [
        ast.unparse(node.func)
        for node in ast.walk(ast.parse((REPOSITORY / path).read_text()))
        if isinstance(node, ast.Call)
    ]
    assert "print" not in calls
    assert not {"os.getenv", "os.environ.get", "environ.get"} & set(calls)


def test_the_rules_see_an_import_inside_a_function_and_skip_one_for_type_hints(tmp_path: Path) -> None:
    file = tmp_path / "example.py"
    file.write_text("if TYPE_CHECKING:\n    import mlflow\ndef f():\n    from tasks.steps import score\n")
    assert imports(str(file)) == {"tasks.steps.score"}
    assert imports(str(file), top_level_only=True) == set()
