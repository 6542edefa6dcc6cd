"""Write down what tasks and methods say of themselves: `dags/nucleus_dags/manifest.json`.

    python -m tasks.manifest                    write it; after every change of a task or a method
    python -m tasks.manifest --check            only say whether it is current
    python -m tasks.manifest --output <file>    write another file, with the methods of installed packages too

DAGs import no task; what they know of them stands there: modules, resources, the JSON schema of the params, methods
with their settings, networks, initial weights and presets.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pydantic

from tasks import annotation, steps
from tasks.annotation.tools import TOOLS
from tasks.contract import BAD_INPUT, DONE, FAILED, NOTHING_TO_DO, Task
from tasks.files import written_whole
from tasks.methods.method import PRESETS, Method
from tasks.methods.registry import baseline_method, default_method, found_methods, place_of
from tasks.nuclei import own_proposals
from tasks.nuclei.errors import InputError
from tasks.nuclei.scoring import SHOWN_IOU_THRESHOLDS
from tasks.nuclei.tables import DOUBTFUL_BELOW
from tasks.nuclei.usability import MOST_MISSED
from tasks.store.ready_models import ready_models
from tasks.store.registered_model import REGISTERED_MODEL

STEPS = "## Send and return, step by step"
"""Heading of the part of tasks/annotation/README.md that has a paragraph for each tool."""
MANIFEST = Path(__file__).parents[1] / "dags/nucleus_dags/manifest.json"


def manifest(methods: Mapping[str, Method]) -> dict[str, Any]:
    """Give the content of the manifest."""
    trained = {name: method for name, method in methods.items() if method.has_networks}
    tasks = [*_tasks_of_steps(), *(importlib.import_module(method.training).TASK for method in trained.values())]
    content = {
        "exit_statuses": {"done": DONE, "failed": FAILED, "bad_input": BAD_INPUT, "nothing_to_do": NOTHING_TO_DO},
        "registered_model": REGISTERED_MODEL,
        "shown_iou_thresholds": SHOWN_IOU_THRESHOLDS,
        "most_missed": MOST_MISSED,
        "doubtful_below": DOUBTFUL_BELOW,
        "own_proposals": {"mark": own_proposals.MARK, "meaning": own_proposals.MEANING},
        "presets": PRESETS,
        "presets_of_augment": importlib.import_module("tasks.steps.augment").PRESETS,
        "default_method": default_method().name,
        "annotation_tools": _described_annotation_tools(),
        "tasks": {task.name: _described_task(task) for task in tasks},
        "methods": {name: _described_method(method) for name, method in trained.items()},
        "thresholds": {name: _thresholds(method) for name, method in methods.items()},
        "ready_models": {model.name: model.title for model in ready_models() if model.method.name in methods},
        "baseline": _described_baseline(baseline_method()),
    }
    read_back: dict[str, Any] = json.loads(json.dumps(content))
    return read_back


def _methods_for(file: Path) -> Mapping[str, Method]:
    """Give all methods that are found; for the file of the repository, without those of installed packages."""
    found = found_methods()
    if file.resolve() != MANIFEST.resolve():
        return found
    return {name: method for name, method in found.items() if place_of(method).startswith("tasks.methods.")}


def _tasks_of_steps() -> Iterator[Task[Any]]:
    for module in sorted(module.name for module in pkgutil.iter_modules(steps.__path__)):
        step = importlib.import_module(f"{steps.__name__}.{module}")
        if hasattr(step, "TASK"):
            yield step.TASK


def _described_annotation_tools() -> dict[str, Any]:
    steps = _annotation_steps()
    return {
        name: {
            "title": tool.title,
            "by_patches": tool.by_patches,
            "classes": tool.classes._asdict() if tool.classes else None,
            "steps": steps[name],
        }
        for name, tool in TOOLS.items()
    }


def _annotation_steps() -> dict[str, str]:
    """Give how a person works with each annotation tool, in Markdown: its paragraph of tasks/annotation/README.md."""
    _, _, steps = (Path(annotation.__path__[0]) / "README.md").read_text().partition(f"\n{STEPS}\n")
    # Its links lead to files beside it.
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", steps.partition("\n## ")[0])
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    by_first_word = {found[1]: one for one in paragraphs if (found := re.match(r"\*\*([\w-]+)", one))}
    return {name: by_first_word[re.split(r"[ ,]", tool.title)[0]] for name, tool in TOOLS.items()}


def _described_task(task: Task[Any]) -> dict[str, Any]:
    return {"module": task.module, "resources": asdict(task.resources), "params": _schema(task.params_type)}


def _described_method(method: Method) -> dict[str, Any]:
    return {
        "title": method.title,
        "task": method.task,
        "earlier_tasks": method.earlier_tasks,
        "settings": _schema(method.settings),
        "search": list(method.search),
        "networks": {
            networks.name: {"title": networks.title, "trainings": networks.trainings} for networks in method.networks
        },
        "initial_weights": {
            weights.name: {
                "title": weights.title,
                "file": weights.file,
                "is_whole": weights.is_whole,
                "params": weights.all_params,
                "network": weights.network,
                "as_it_is": weights.as_it_is._asdict() if weights.as_it_is else None,
            }
            for weights in method.initial_weights
        },
        "presets": {name: asdict(preset) for name, preset in method.presets.items()},
        "candidates": asdict(method.candidates) if method.candidates else None,
    }


def _thresholds(method: Method) -> dict[str, Any]:
    """Give the schemas of the settings that can be moved a little, in the order of the search."""
    properties = _schema(method.settings)["properties"]
    return {name: properties[name] for name in method.search if properties[name]["type"] == "number"}


def _described_baseline(method: Method) -> dict[str, Any]:
    """Give how plates are segmented by the method that models are compared with."""
    model = {"method": method.name, "networks": [], "settings": method.settings().model_dump(mode="json")}
    return {"name": f"{method.name}, without a training", "model": model}


def _schema(model: type[pydantic.BaseModel]) -> dict[str, Any]:
    """Give the JSON schema of params, its texts in one line each."""
    schema = model.model_json_schema()
    for field, value in schema["properties"].items():
        if model.model_fields[field].title is None:
            # Pydantic makes a title of the name; here, a title says that the field is for people.
            value.pop("title", None)
        if "description" in value:
            value["description"] = " ".join(value["description"].split())
    return {name: schema[name] for name in ("properties", "required", "$defs") if name in schema}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.manifest", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=MANIFEST, help="file to write; default: in dags/")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if the file isn't current")
    args = parser.parse_args(argv)
    try:
        methods = _methods_for(args.output)
        content = manifest(methods)
    except InputError as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    if args.check:
        is_current = args.output.exists() and args.output.read_text() == text
        print(f"{args.output} is {'current' if is_current else 'not current; run python -m tasks.manifest'}.")
        return DONE if is_current else FAILED
    with written_whole(args.output) as beside:
        beside.write_text(text)
    print(f"{args.output}: {len(content['tasks'])} tasks, methods {', '.join(methods)}")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
