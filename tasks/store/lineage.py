"""Where a model comes from and what it was used for, both ways.

    python -m tasks.store.lineage --store F --model champion   which labels made this model, what did it segment?
    python -m tasks.store.lineage --store F --plate NAME       which models were made with it, which segmented it?

Follows the stored results from a registered version to its networks, the networks whose weights these began
with, their ROIs and plates. What was segmented is in MLflow (`MLFLOW_TRACKING_URI`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from tasks import tracking
from tasks.contract import BAD_INPUT, DONE, FAILED, ServiceError
from tasks.methods.method import RANDOM
from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside
from tasks.nuclei.plates.files import FROZEN_REPORT
from tasks.nuclei.plates.info import read_plate_info
from tasks.store.provenance import (
    Generation,
    came_with_the_pipeline,
    generations,
    holds_model,
    networks_of_model,
    trainings_of_networks,
)
from tasks.store.registered_model import REGISTERED_MODEL
from tasks.tracking import ModelVersion


def lineage_of_model(name: str, store: Path) -> list[str]:
    """Give lines on a registered version: how it was made, from which plates, and which plates it segmented."""
    model = tracking.find_model(name)
    if model is None:
        known = ", ".join(str(found.version) for found in tracking.all_models()) or "none"
        raise InputError(f"{REGISTERED_MODEL} has no {name}; there are the versions {known}.")
    lines = [_title(model), f"  made by DAG run {model.tags.get(tracking.DAG_RUN_TAG)}{_commit(model)}"]
    lines += [f"  {name.partition('/')[2]} UTC: {text}" for name, text in _promotions(model)]
    made_in = list(_generations(model, store))
    for number, generation in enumerate(made_in):
        began = "trained as" if number == 0 else "which began as"
        lines.append(f"  {began} {', '.join(generation.networks)}, on")
        lines += [f"    {_plate_line(plate, store)}" for plate in generation.plates]
    lines += _beginning(made_in[-1], store)
    used = [found for found in tracking.segmented_plates() if _is_by(found, model)]
    lines.append("  segmented" if used else "  segmented no plate")
    lines += [f"    {found.plate}@{found.digest} in DAG run {found.dag_run_id}" for found in used]
    return lines


def lineage_of_plate(name: str, store: Path) -> list[str]:
    """Give lines on each imported version of a plate: which models were made with it, and which segmented it."""
    versions = sorted(path.parent for path in store.glob(f"ingest/{name}@*/{FROZEN_REPORT}"))
    if not versions:
        raise InputError(f"{store} has no plate named {name}.")
    models, segmented = tracking.all_models(), tracking.segmented_plates()
    lines = []
    for folder in versions:
        plate = folder.relative_to(store).as_posix()
        lines.append(_plate_line(plate, store))
        made = [model for model in models if _was_made_with(plate, model, store)]
        lines.append("  made " + (", ".join(f"version {model.version}" for model in made) or "no model"))
        used = [found for found in segmented if f"{found.plate}@{found.digest}" == folder.name]
        lines += [f"  segmented by {found.model} in DAG run {found.dag_run_id}" for found in used]
    return lines


def _generations(model: ModelVersion, store: Path) -> Iterator[Generation]:
    return generations(networks_of_model(model.path, store), store)


def _was_made_with(plate: str, model: ModelVersion, store: Path) -> bool:
    if not holds_model(model.path, store):
        return False
    return any(plate in generation.plates for generation in _generations(model, store))


def _title(model: ModelVersion) -> str:
    names = ", ".join(alias for alias, version in tracking.aliases().items() if version == model.version)
    title = f"{REGISTERED_MODEL} version {model.version}, {model.path}"
    return f"{title} ({names})" if names else title


def _commit(model: ModelVersion) -> str:
    return f", commit {model.tags['commit']}" if "commit" in model.tags else ""


def _promotions(model: ModelVersion) -> list[tuple[str, str]]:
    """Give the promotions and the rejections of a version, with their times."""
    kept = [(name, text) for name, text in model.tags.items() if name.startswith(("promotion/", "rejection/"))]
    return sorted(kept, key=lambda one: one[0].partition("/")[2])


def _is_by(found: tracking.SegmentedPlate, model: ModelVersion) -> bool:
    return found.version == model.version


def _beginning(first: Generation, store: Path) -> list[str]:
    """Say which initial weights the first networks began from, unless from random ones."""
    kinds = sorted({str(training["initialisation"]) for training in trainings_of_networks(first.networks, store)})
    if came_with_the_pipeline(first.networks, store):
        return [f"    no plate of this store: the pipeline came with these weights, {', '.join(kinds)}; see their card"]
    return [f"  which began from the initial weights {kind}" for kind in kinds if kind != RANDOM]


def _plate_line(plate: str, store: Path) -> str:
    folder = inside(store, plate)
    if not (folder / FROZEN_REPORT).exists():
        return f"{plate}, which the store lacks"
    info, report = read_plate_info(folder), json.loads((folder / FROZEN_REPORT).read_text())
    counts = report["counts"]
    return f"{plate}: {info.cell_line}, {info.role}, {counts['nuclei']} labelled nuclei in {counts['fovs']} fields"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.store.lineage", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", required=True, type=Path, help="folder that holds all results")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", help="champion, challenger or the number of a version")
    which.add_argument("--plate", help="name of a plate")
    args = parser.parse_args(argv)
    try:
        lines = lineage_of_model(args.model, args.store) if args.model else lineage_of_plate(args.plate, args.store)
    except InputError as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    except ServiceError as error:
        print(error, file=sys.stderr)
        return FAILED
    print("\n".join(lines))
    return DONE


if __name__ == "__main__":
    sys.exit(main())
