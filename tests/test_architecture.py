"""Who may import whom."""

import ast
import sys
from collections.abc import Container, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TypeGuard

import pytest

from tests.repository import REPOSITORY

STEPS = {path.stem for path in (REPOSITORY / "tasks/steps").glob("*.py") if "TASK = Task(" in path.read_text()}
METHODS = {path.parent.name for path in (REPOSITORY / "tasks/methods").glob("*/method.py")}


def python_files(*patterns: str) -> list[str]:
    paths = [path for pattern in patterns for path in sorted(REPOSITORY.glob(pattern))]
    return [path.relative_to(REPOSITORY).as_posix() for path in paths]


@cache
def syntax_of(path: str) -> ast.Module:
    return ast.parse((REPOSITORY / path).read_text())


@cache
def imports(path: str, top_level_only: bool = False) -> frozenset[str]:
    """Full names of the modules that a file imports; those only for type hints are left out."""
    return frozenset(name for node in _statements(syntax_of(path), top_level_only) for name in _imported(node))


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


def of_packages(names: frozenset[str], *packages: str) -> set[str]:
    return {name for name in names if any(f"{name}.".startswith(f"{package}.") for package in packages)}


def outside(names: frozenset[str], *packages: str) -> set[str]:
    """Names that are neither of these packages nor of the standard library."""
    return {name for name in names if name.split(".")[0] not in (*packages, *sys.stdlib_module_names)}


TASKS = python_files("tasks/**/*.py")


@pytest.mark.parametrize("path", python_files("dags/*.py"))
def test_a_dag_file_imports_airflow_and_the_dags_package_only(path: str) -> None:
    assert outside(imports(path), "airflow", "nucleus_dags") == set()


@pytest.mark.parametrize("path", python_files("dags/nucleus_dags/**/*.py"))
def test_the_dags_package_imports_airflow_and_the_standard_library_only(path: str) -> None:
    # Airflow and its provider bring them, but for authlib, which needs joserfc. psutil tells the servers' processes
    # from others of the same pid.
    allowed = {
        "access/auth_manager.py": ("fastapi",),
        "access/oidc.py": ("authlib", "fastapi", "httpx", "joserfc", "starlette"),
        "launchers/pods.py": ("kubernetes",),
        "forms/errors_plugin.py": ("starlette",),
        "forms/typed.py": ("jsonschema",),
        "local/airflow_plugins/known_hosts.py": ("starlette",),
        "local/processes.py": ("psutil",),
        "page/access.py": ("fastapi",),
        "page/add_plate.py": ("fastapi",),
        "page/annotate.py": ("fastapi",),
        "page/app.py": ("fastapi", "jinja2", "starlette"),
        "page/file_answers.py": ("fastapi",),
        "page/models.py": ("fastapi",),
        "page/note.py": ("markdown_it", "markupsafe"),
        "page/pictures.py": ("PIL", "imagecodecs", "numpy", "tifffile"),
        "page/plate_runs.py": ("sqlalchemy",),
        "page/airflow_runs.py": ("sqlalchemy",),
        "page/measured.py": ("sqlalchemy",),
        "page/plates.py": ("fastapi",),
        "page/plugin.py": ("starlette",),
        "page/results.py": ("fastapi",),
        "page/rendering.py": ("fastapi", "jinja2"),
        "page/runs.py": ("fastapi", "sqlalchemy"),
        "page/settings.py": ("fastapi",),
        "page/starting.py": ("fastapi", "sqlalchemy"),
        "planning/experiments.py": ("yaml",),
        "planning/experiments_schema.py": ("jsonschema",),
        "planning/gate.py": ("jsonschema", "yaml"),
        "planning/methods.py": ("jsonschema", "yaml"),
        "plates/inbox_trigger.py": ("watchfiles",),
    }
    here = path.removeprefix("dags/nucleus_dags/")
    assert outside(imports(path), "airflow", "nucleus_dags", *allowed.get(here, ())) == set()


@pytest.mark.parametrize("path", python_files("dags/**/*.py", "tasks/**/*.py"))
def test_only_tracking_imports_mlflow(path: str) -> None:
    assert path.startswith("tasks/tracking/") or of_packages(imports(path), "mlflow") == set()


@pytest.mark.parametrize("path", python_files("tasks/**/*.py"))
def test_no_module_of_the_tasks_but_recipes_imports_airflow_or_another_step(path: str) -> None:
    other_steps = [f"tasks.steps.{step}" for step in STEPS if step != Path(path).stem]
    allowed = path.startswith("tasks/recipes/")
    assert of_packages(imports(path), "airflow", "nucleus_dags", *(() if allowed else other_steps)) == set()


@pytest.mark.parametrize("path", [path for path in TASKS if not path.startswith("tasks/recipes/")])
def test_nothing_of_the_tasks_but_recipes_imports_a_recipe(path: str) -> None:
    assert of_packages(imports(path), "tasks.recipes") == set()


@pytest.mark.parametrize(
    "path",
    python_files(
        "tasks/*.py",
        "tasks/recipes/*.py",
        "tasks/steps/*.py",
        "tasks/store/*.py",
        "tasks/tracking/*.py",
        "tasks/methods/*.py",
        "tasks/methods/*/method.py",
        "tasks/methods/*/train.py",
    ),
)
def test_a_task_and_a_method_load_no_network_library_before_they_run(path: str) -> None:
    assert of_packages(imports(path, top_level_only=True), "tensorflow", "tf_keras", "segmentation_models") == set()


@pytest.mark.parametrize("path", [path for path in TASKS if not set(Path(path).parts) & METHODS])
def test_a_method_is_named_in_its_own_folder_alone(path: str) -> None:
    texts = {node.value for node in ast.walk(syntax_of(path)) if _is_text(node)}
    assert texts & METHODS == set()
    assert of_packages(imports(path), *(f"tasks.methods.{method}" for method in METHODS)) == set()


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_method_imports_no_other_method(method: str) -> None:
    others = [f"tasks.methods.{other}" for other in METHODS - {method}]
    for path in python_files(f"tasks/methods/{method}/**/*.py"):
        assert of_packages(imports(path), *others) == set(), path


def test_no_modules_of_the_tasks_import_each_other_in_a_circle() -> None:
    files = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in TASKS}
    graph = {
        name: {_module(found, files) for found in imports(path, True)} & set(files) for name, path in files.items()
    }
    assert list(TopologicalSorter(graph).static_order())


def _module(name: str, modules: Container[str]) -> str:
    """Give the module of an imported name, which may be a module itself."""
    return name if name in modules else name.rpartition(".")[0]


def _is_text(node: ast.AST) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


@pytest.mark.parametrize("path", python_files("tasks/nuclei/**/*.py"))
def test_the_library_knows_nothing_of_tasks_methods_networks_airflow_or_the_command_line(path: str) -> None:
    names = imports(path)
    beyond = ("airflow", "nucleus_dags", "argparse", "subprocess", "signal", "jinja2")
    assert of_packages(names, *beyond, "tensorflow", "tf_keras", "segmentation_models") == set()
    assert {name for name in of_packages(names, "tasks") if not name.startswith("tasks.nuclei")} == set()


@pytest.mark.parametrize("path", python_files("tasks/annotation/**/*.py"))
def test_codecs_of_annotation_tools_know_the_library_alone_and_no_library_of_the_tools(path: str) -> None:
    names = imports(path)
    beyond = ("airflow", "nucleus_dags", "argparse", "subprocess", "signal", "jinja2", "tensorflow", "tf_keras")
    of_tools = ("supervisely", "cvat_sdk", "datumaro", "cellpose", "label_studio_sdk", "napari", "torch")
    assert of_packages(names, *beyond, *of_tools) == set()
    own = ("tasks.nuclei.", "tasks.annotation.")
    assert {name for name in of_packages(names, "tasks") if not name.startswith(own)} == set()


@pytest.mark.parametrize("path", python_files("tasks/nuclei/**/*.py", "tasks/annotation/**/*.py"))
def test_the_library_neither_prints_nor_is_steered_by_the_environment(path: str) -> None:
    calls = [ast.unparse(node.func) for node in ast.walk(syntax_of(path)) if isinstance(node, ast.Call)]
    assert "print" not in calls
    assert not {"os.getenv", "os.environ.get", "environ.get"} & set(calls)


@pytest.mark.parametrize("path", python_files("dags/**/*.py", "tasks/**/*.py"))
def test_only_what_flushes_gives_files_and_folders_their_names(path: str) -> None:
    # What a third-party tool moves lies in a folder that is sealed later.
    allowed = {"files.py": 1, "methods/external/adapters/run_cellpose.py": 1}
    here = path.removeprefix("tasks/").removeprefix("dags/nucleus_dags/")
    assert len(_renames(syntax_of(path))) == allowed.get(here, 0)


def _renames(tree: ast.AST) -> list[str]:
    """Give the calls that rename a file or a folder; those of texts, tables and dataclasses have other arguments."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    of_paths = [c for c in calls if _name_of(c) in ("rename", "replace") and len(c.args) == 1 and not c.keywords]
    of_modules = [c for c in calls if ast.unparse(c.func) in ("os.rename", "os.replace", "shutil.move")]
    return [ast.unparse(call) for call in of_paths + of_modules]


def _name_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def test_the_rule_sees_every_way_to_rename() -> None:
    renames = ["path.rename(other)", "path.replace(other)", "os.rename(a, b)", "os.replace(a, b)", "shutil.move(a, b)"]
    others = ["text.replace('a', 'b')", "table.rename(columns=names)", "dataclasses.replace(plate, fovs=())"]
    assert sorted(_renames(ast.parse("\n".join(renames + others)))) == sorted(renames)


@pytest.mark.parametrize("path", TASKS)
def test_label_images_are_resized_in_one_place_alone(path: str) -> None:
    resized = [] if path == "tasks/nuclei/resizing.py" else _nearest(syntax_of(path))
    assert resized == []


def _nearest(tree: ast.AST) -> list[str]:
    """Give what resizes without mixing values, as only label images are: OpenCV's names, and the order 0 of SciPy."""
    attributes = [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    names = [name for name in attributes if name.startswith("INTER_NEAREST")]
    orders = [node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "order"]
    return names + [ast.unparse(node) for node in orders if ast.unparse(node.value) == "0"]


def test_the_rule_sees_what_resizes_without_mixing() -> None:
    seen = ["cv2.resize(a, b, interpolation=cv2.INTER_NEAREST)", "ndimage.zoom(a, 2, order=0)"]
    others = ["cv2.resize(a, b, interpolation=cv2.INTER_AREA)", "ndimage.zoom(a, 2, order=1)"]
    assert _nearest(ast.parse("\n".join(seen + others))) == ["INTER_NEAREST", "order=0"]


@pytest.mark.parametrize("path", TASKS)
def test_only_the_module_of_locks_knows_what_locks(path: str) -> None:
    assert path == "tasks/locks.py" or of_packages(imports(path), "filelock", "fcntl") == set()


def test_the_rules_see_an_import_inside_a_function_and_skip_one_for_type_hints(tmp_path: Path) -> None:
    file = tmp_path / "example.py"
    file.write_text("if TYPE_CHECKING:\n    import mlflow\ndef f():\n    from tasks.steps import score\n")
    assert imports(str(file)) == {"tasks.steps.score"}
    assert imports(str(file), top_level_only=True) == set()
