"""Send fields of a plate with proposed labels to an annotation tool."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, get_current_context, task

from nucleus_dags.errors import FormError
from nucleus_dags.forms.send_to_annotation import send_to_annotation_form
from nucleus_dags.launchers import DEFAULT_ARGS, launch
from nucleus_dags.launchers.kinds import TRAIN
from nucleus_dags.launchers.task_operator import Result
from nucleus_dags.manifest import manifest
from nucleus_dags.notes import fail_with, show_lines
from nucleus_dags.planning import segment_plate, send_to_annotation
from nucleus_dags.planning.remarks import remarks_on_segmentations
from nucleus_dags.planning.train_models import refuse_unknown_fields
from nucleus_dags.planning.types import Params, PlateToImport
from nucleus_dags.plates.stored import newest_plates, read_plate

DOC = """
Makes training truth of a plate in two steps, as in the paper: a model proposes the nuclei, a person corrects them. That
took the paper's authors 2 hours where drawing took 12.

**Start:** the button *Trigger*, with the plate's name and the tool that you correct with. The plate needs no labels.

**What happens:** a model segments some fields. Where *Patches* is given, those patches of about 50 nuclei are chosen in
which it is least sure, or the version before it finds other nuclei, and one in five at random. A page, the *queue*,
shows each with the reason. What isn't worth annotating is named in *Skip* of the next run, and isn't offered again.
Images and proposals are packed as the tool reads them.

**Result:** an archive, in the folder `to_annotate` of the inbox; the note of the run says its name. It doesn't say
which model made the proposals, so that nobody is led by it. `tasks/annotation/README.md` says how to open it in each
tool.

**Coming back:** export the corrected labels with the tool and put what it gives you, as it is, into the inbox;
`ingest_plates` makes a plate with labels of it. What wasn't looked at, and nuclei of which nobody could say (class
`unsure`), are left out of training and scores. More may come later: it is added to what came before.
"""


def _store() -> Path:
    return Path(os.environ["NUCLEUS_STORE"])


def _inbox() -> Path:
    return Path(os.environ["NUCLEUS_INBOX"])


@task
def plan() -> list[PlateToImport]:
    """Find the plate; give it if it isn't in the store yet, and under their names what else there is to do."""
    context = get_current_context()
    dag_run, form, ti = context["dag_run"], context["params"], context["ti"]
    try:
        refuse_unknown_fields(dag_run.conf or {}, send_to_annotation_form())
        send_to_annotation.refuse_impossible(form)
        found = segment_plate.find_plate(form["plate"], _inbox(), _store())
    except FormError as error:
        fail_with(str(error))
    ti.xcom_push("models", send_to_annotation.models_to_find(form, dag_run.run_id))
    ti.xcom_push("found", found)
    return [{"folder": found["folder"]}] if "folder" in found else []


@task
def models(asked: list[Params]) -> list[Params]:
    """Hand on what asks for models: Airflow maps only over all that a task returns."""
    return asked


@task(trigger_rule="none_failed")
def networks_to_store(models: Any) -> list[Params]:
    """Give what puts the networks of a model into the store that isn't registered."""
    return [params for model in models or [] if model for params in model.get("to_store", [])]


# Without a plate to import, or a model to find, these are skipped.
@task(trigger_rule="none_failed")
def proposals(found: dict[str, str], ingested: Any, models: Any) -> list[Params]:
    """Choose the fields, and give the params of `segment` for them."""
    context = get_current_context()
    form, ti = context["params"], context["ti"]
    plate = found.get("plate") or next(iter(ingested))["outputs"]["plate"]
    stored, needs_labels = read_plate(_store(), plate), form["proposals"] == "labels"
    try:
        skipped = send_to_annotation.skipped_of(stored, _store(), form)
        fovs = send_to_annotation.chosen_fovs(stored, _store(), form["fields"], needs_labels, skipped.fields)
        ti.xcom_push("skipped", skipped._asdict())
        ti.xcom_push("plate", plate)
        ti.xcom_push("fovs", fovs)
        there = [model for model in models or [] if model]
        return send_to_annotation.segmentations_to_make(plate, there, fovs, form) if there else []
    except FormError as error:
        fail_with(str(error))


@task(trigger_rule="none_failed")
def choice(plate: str, segmented: Any, skipped: dict[str, Any]) -> list[Params]:
    """Give the params of `choose_patches`, if patches are to be chosen."""
    form = get_current_context()["params"]
    references = [known.path for known in newest_plates(_store(), "train")]
    cell_line = read_plate(_store(), plate).cell_line
    references = [path for path in references if read_plate(_store(), path).cell_line == cell_line]
    return send_to_annotation.choices(plate, list(segmented or []), references, skipped["patches"], form)


@task(trigger_rule="none_failed")
def request(plate: str, fovs: list[str], segmented: Any, chosen: Any) -> Params:
    """Give the params of `send_to_annotation`."""
    form = get_current_context()["params"]
    patches = next((result["outputs"]["patches"] for result in chosen or []), None)
    if form["patches"] and patches is None:
        fail_with("There are no patches to choose: all of these fields are annotated, or none has a nucleus.")
    return send_to_annotation.request_of(plate, fovs, list(segmented or []), patches, form)


# Where no patches are chosen, choose_patches is skipped.
@task(trigger_rule="none_failed_min_one_success")
def tell(segmented: Any, chosen: Any, sent: Result, skipped: dict[str, Any]) -> None:
    """Lay the archive out where people fetch it, with the queue of patches beside it, and say where."""
    archive = send_to_annotation.lay_out(_store() / sent["outputs"]["archive"], _inbox())
    pages = [_store() / result["outputs"]["page"] for result in chosen or []]
    queue = [send_to_annotation.lay_out(page, _inbox(), f"{archive.stem}.html") for page in pages]
    counts = sent["counts"]
    tool = manifest()["annotation_tools"][sent["params"]["tool"]]["title"]
    lines = [
        f"{counts['nuclei']} proposed nuclei in {counts['patches']} images of {counts['fovs']} fields for {tool}",
        "",
        f"Fetch {archive}, correct the labels with {tool}, and put what it exports into {archive.parent.parent}.",
        "Both is also done in a browser, under Annotate of the page Nuclei.",
        *(f"Which patches were chosen and why: {page}" for page in queue),
        *send_to_annotation.skipped_lines(skipped["fields"], skipped["patches"], len(pages)),
        "",
        *remarks_on_segmentations(segmented or []),
    ]
    show_lines(lines)


with DAG(
    dag_id="send_to_annotation",
    description="Have the labels of a plate corrected by a person",
    doc_md=DOC,
    schedule=None,
    params=send_to_annotation_form(),
    default_args=DEFAULT_ARGS,
    tags=["nuclei"],
):
    to_import: Any = plan()
    ingest = launch("ingest", each=to_import)
    model = launch("find_model", each=models(to_import["models"]), hand_on=send_to_annotation.found_model)
    # Of a model that isn't registered, the networks may not lie in the store yet.
    networks: Any = networks_to_store(model.output)
    store_networks = launch(TRAIN, task_id="store_networks", each=networks)
    to_segment: Any = proposals(to_import["found"], ingest.output, model.output)
    store_networks >> to_segment
    segment = launch(
        "segment",
        each=to_segment,
        map_index_template="{{ task.each['fovs'][0] }} and {{ task.each['fovs'] | length - 1 }} more",
    )
    choose = launch("choose_patches", each=choice(to_segment["plate"], segment.output, to_segment["skipped"]))
    send = launch(
        "send_to_annotation",
        settings=request(to_segment["plate"], to_segment["fovs"], segment.output, choose.output),
    )
    tell(segment.output, choose.output, send.output, to_segment["skipped"])
