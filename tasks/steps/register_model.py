"""Make trained networks and the settings of the segmentation one model, and register it in MLflow.

The model loads in a fresh process with nothing of this repository on the path: the code that it needs
lies beside the weights. It takes one image (y, x) or a list and gives label images.
"""

import json
import os
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tasks import libraries, tracking
from tasks.contract import PROCESSING, Outcome, Resources, Result, Task, Workspace, in_store
from tasks.methods.registry import place_of
from tasks.methods.saved_model import load_model, save_model
from tasks.methods.segmentation_params import SegmentationParams, depends_on
from tasks.nuclei.errors import InputError
from tasks.store.provenance import came_with_the_pipeline, plates_of_networks

LOADER = "tasks.methods.saved_model"
PACKAGES, MODULES = ("nuclei", "methods"), ("cores.py",)
"""What a model needs of `tasks`."""


class Params(SegmentationParams):
    pass


def run(params: Params, workspace: Workspace) -> Outcome:
    method = params.model.method
    data = workspace.output_dir / "segmenter"
    save_model(method, [workspace.input(path) for path in params.networks], params.settings, data)
    load_model(data).segment(np.zeros((64, 64), np.uint8))
    code = workspace.output_dir / "code"
    copied = _copy_code(place_of(method).partition(".")[0].partition(":")[0], code)
    tracking.save_model(
        workspace.output_dir / "model", data, copied, LOADER, [*libraries.of_models(), *method.libraries]
    )
    shutil.rmtree(data)
    shutil.rmtree(code)
    return Outcome({"model": "model"}, {}, {})


def _copy_code(package: str, folder: Path) -> list[Path]:
    """Copy what the model needs of this package, and the package of a method that is another one.

    Weights that come with a method aren't the model's.
    """
    ours = Path(__file__).parents[1]
    leave_out = shutil.ignore_patterns("__pycache__", "weights.h5")
    for part in PACKAGES:
        shutil.copytree(ours / part, folder / ours.name / part, ignore=leave_out)
    for part in MODULES:
        shutil.copyfile(ours / part, folder / ours.name / part)
    (folder / ours.name / "__init__.py").touch()
    if package == ours.name:
        return [folder / ours.name]
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise InputError(f"The code of the package {package} isn't found; its method must be in a package of files.")
    source = Path(spec.origin)
    if source.name == "__init__.py":
        shutil.copytree(source.parent, folder / package, ignore=leave_out)
        return [folder / ours.name, folder / package]
    shutil.copyfile(source, folder / source.name)
    return [folder / ours.name, folder / source.name]


def log_result(params: Params, result: Result, store: Path) -> None:
    """Register the model, in every MLflow run that asks for it; one that wasn't trained here is registered once."""
    if came_with_the_pipeline(params.networks, store) and tracking.is_registered(result.key):
        return
    tags = {"method": params.method}
    if "NUCLEUS_COMMIT" in os.environ:
        tags["commit"] = os.environ["NUCLEUS_COMMIT"]
    plates = sorted(plates_of_networks(params.networks, store))
    for plate in plates:
        name, _, digest = Path(plate).name.partition("@")
        tags[f"plate/{name}"] = digest
    run = tracking.Run()
    _log_origin(run, params, result, plates)
    needs = params.model.method.needs([in_store(store, path) for path in params.networks])
    sentences = [f"{params.model.method.title}."]
    if plates:
        sentences.append(f"Trained on {', '.join(Path(plate).name.partition('@')[0] for plate in plates)}.")
    if needs:
        sentences.append(f"A machine that uses it needs {needs}.")
    sentences.append("It takes one grey image (y, x), or a list of them, and gives label images.")
    run.register_model(store / result.outputs["model"], result.key, tags, " ".join(sentences))


def _log_origin(run: tracking.Run, params: Params, result: Result, plates: list[str]) -> None:
    """Keep what nobody searches by in one file of the MLflow run: where the model and all that made it lie."""
    content = {**params.model_dump(mode="json"), "store_path": result.outputs["model"], "plates": plates}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "origin.json"
        path.write_text(json.dumps(content, indent=1))
        run.log_artifact(path, "version")


TASK = Task(
    name="register_model",
    version=2,
    params_type=Params,
    run=run,
    log=log_result,
    depends_on=depends_on,
    resources=Resources(PROCESSING, memory_gib=4),
)

if __name__ == "__main__":
    sys.exit(TASK.main())
