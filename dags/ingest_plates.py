"""Import the plates that have arrived in the inbox, announce those with labels, and have screening plates segmented.

New plates are also compared with the training plates of their cell line.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from nucleus_dags.assets import ANNOTATED_PLATES, PLATE_ARRIVALS
from nucleus_dags.launchers import DEFAULT_ARGS, launch
from nucleus_dags.notes import failures, show_lines
from nucleus_dags.planning import drift, ingest_plates
from nucleus_dags.planning.ingest_plates import FoundAnswer, FoundArrival, FoundPlate, NewPlate, NewPlates
from nucleus_dags.planning.types import Params, RunsToClose, RunToOpen
from nucleus_dags.plates import inbox
from nucleus_dags.plates.stored import read_plate
from nucleus_dags.run_note import NotedFailure

DOC = """
Takes in plates. Copy or move a plate's folder into the inbox; that is all.

**Starts** when a plate has arrived whole: `plate.json` is there and either a file `DONE`, or no file has changed for a
minute. Looks by itself once an hour too.

**Good plates** are imported into the store, which keeps an immutable copy. Those with labels start `retrain_champion`,
those of role `screen` are segmented by `segment_plate`. The same plate again is nothing to do; a plate with corrected
labels is a new version of it, and the newest counts. The folder may be removed from the inbox then.

**Doubts:** a training plate whose labels may be wrong is imported, but nothing is trained on it until they are
corrected, or confirmed by `"labels_confirmed": true` in `plate.json`. The note of the run says what is doubtful, and
which faulty fields of a screening plate were left out.

**Drift:** every new plate is compared with the training plates of its cell line. Where its intensity, background, focus
or nuclei are outliers, the note of the run says so; the plots are in MLflow's experiment `plates`.

**Faulty plates** are moved to `rejected/` in the inbox, with a text beside them that says what to correct. One
that may not be moved, since it belongs to somebody else, stays, and only the text is there.

**Corrected labels** that `send_to_annotation` had sent out come back the same way: put what the annotation tool
exported into the inbox, whatever it is called. It becomes a plate with labels, and the note says what was corrected.

**What isn't a plate,** such as a folder with `plate.json.txt`, a plate one folder deeper or an archive, stays where it
is. When it hasn't changed for ten minutes, the note of a run says why it isn't a plate and what to do; once, and again
when it has changed.
"""


def _store() -> Path:
    return Path(os.environ["NUCLEUS_STORE"])


@task
def find_arrivals() -> list[FoundArrival]:
    """Give all that has arrived whole and wasn't handled; under `no_plates`, what isn't a plate."""
    found = inbox.new_entries(Path(os.environ["NUCLEUS_INBOX"]), _store(), inbox.quiet_s())
    get_current_context()["ti"].xcom_push("no_plates", ingest_plates.no_plates_in(found, _store()))
    return ingest_plates.arrivals_in(found)


@task
def answers(arrivals: list[FoundArrival]) -> list[Params]:
    """Give the corrected labels among what arrived."""
    return ingest_plates.answers_among(arrivals)


# Labels that couldn't be taken in must not keep plates from being imported.
@task(trigger_rule="all_done")
def plates(arrivals: list[FoundArrival] | None) -> list[FoundPlate]:
    """Give the plates that arrived or were made of corrected labels; under `without_plate`, labels that weren't."""
    if arrivals is None:
        raise NotedFailure("The inbox couldn't be looked at; the log of find_arrivals says why.")
    ti = get_current_context()["ti"]
    number = sum(found["request"] is not None for found in arrivals)
    # Of a part that failed there is None.
    received = ti.xcom_pull(task_ids="receive_annotation", map_indexes=list(range(number))) if number else []
    found, without_plate = ingest_plates.plates_to_import(_store(), arrivals, received)
    ti.xcom_push("without_plate", without_plate)
    return found


# What became of one plate must not keep the others from being told of.
@task(trigger_rule="all_done")
def sort_out(to_import: list[FoundPlate] | None, without_plate: list[FoundAnswer] | None) -> NewPlates:
    """Set faulty plates aside; give the new plates, those with labels and screening plates, and what was shown."""
    if to_import is None or without_plate is None:
        raise NotedFailure("The inbox couldn't be looked at; the log of find_arrivals says why.")
    ti = get_current_context()["ti"]
    no_plates = ti.xcom_pull(task_ids="find_arrivals", key="no_plates")
    if not to_import and not without_plate and not no_plates:
        nothing = "No plate has arrived whole that an earlier run hasn't handled."
        # Somebody who has added a plate looks at the run that was started for it, also where another one was faster.
        show_lines([*failures(), nothing])
        raise AirflowSkipException(nothing)
    # Of a part that failed there is None.
    results = ti.xcom_pull(task_ids="ingest", map_indexes=list(range(len(to_import)))) if to_import else []
    new = ingest_plates.sort_out(_store(), to_import, results, no_plates, without_plate)
    if new["unchecked"]:
        new["shown"] = [*failures(), "", *new["shown"]]
    show_lines(new["shown"])
    ingest_plates.record_told(_store(), no_plates, new["doubtful"])
    return new


@task(outlets=[ANNOTATED_PLATES], map_index_template="{{ plate_name }}")
def announce(found: NewPlate) -> None:
    """Tell of one plate."""
    context = get_current_context()
    plate = read_plate(_store(), found["plate"])
    context["plate_name"] = plate.name  # type: ignore[typeddict-unknown-key]
    context["outlet_events"][ANNOTATED_PLATES].extra = {
        "plate": plate.name,
        "digest": plate.path.rpartition("@")[2],
        "cell_line": plate.cell_line,
        "role": plate.role,
        "fovs": found["fovs"],
        "nuclei": found["nuclei"],
    }


@task
def items(plates: list[NewPlate]) -> list[NewPlate]:
    """Hand on a list: Airflow maps only over what a task returns as a whole."""
    return plates


@task
def segmentations_of(plates: list[NewPlate]) -> list[dict[str, Any]]:
    """Give the DAG run of `segment_plate` for each screening plate."""
    keys = [Path(found["plate"]).name for found in plates]
    # Airflow takes no @ in the id of a run.
    return [{"conf": {"plate": key}, "trigger_run_id": f"arrived__{key.replace('@', '__')}"} for key in keys]


@task(trigger_rule="none_failed")
def keep_record(plates: list[NewPlate] | None) -> None:
    """Only now these plates count as handled: broken off before, they are told of again."""
    for found in plates or []:
        inbox.record(ingest_plates.entry_of(found), _store(), plate=found["plate"])


@task
def fail_for_unchecked(plates: list[str]) -> None:
    """Let the run fail for plates that couldn't be checked: somebody must see it."""
    if plates:
        raise NotedFailure(f"These plates couldn't be checked: {', '.join(plates)}.")


@task
def plan_drift(new: NewPlates) -> RunToOpen:
    """Choose what each new plate is compared with; give the params of `open_run`."""
    context = get_current_context()
    plates = [found["plate"] for found in new["annotated"] + new["doubtful"] + new["to_screen"]]
    comparisons = drift.comparisons(_store(), plates)
    if not comparisons:
        raise AirflowSkipException("No new plate has another training plate of its cell line to be compared with.")
    context["ti"].xcom_push("comparisons", comparisons)
    return drift.run_of_arrivals(comparisons, context["dag_run"].run_id)


@task
def show_drift(
    shown: list[str], mlflow_run_id: str, opened: list[drift.OpenedComparison] | None, drifted: Any
) -> list[RunsToClose]:
    """Add outliers to the note. Gives the params of `close_run`."""
    runs, results = list(opened or []), list(drifted or [])
    show_lines(drift.note(_store(), shown, results, failed=len(runs) - len(results)))
    return drift.endings(mlflow_run_id, runs, results)


with DAG(
    dag_id="ingest_plates",
    description="Import the plates that have arrived",
    doc_md=DOC,
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("17 * * * *", timezone="UTC"), assets=[PLATE_ARRIVALS]),
    catchup=False,
    # Two at a time would find the same plates.
    max_active_runs=1,
    # A person unpauses it, since it sets plates aside and starts trainings.
    is_paused_upon_creation=True,
    default_args=DEFAULT_ARGS,
    tags=["nuclei"],
):
    arrivals: Any = find_arrivals()
    receive = launch(
        "receive_annotation",
        each=answers(arrivals),
        errors_handed_on="refusals",
        map_index_template="{{ task.each['folder'].rsplit('/', 1)[-1] }}",
    )
    to_import: Any = plates(arrivals)
    receive >> to_import
    ingest = launch(
        "ingest",
        each=to_import.map(ingest_plates.folder_of),
        errors_handed_on="refusals",
        map_index_template="{{ task.each['folder'].rsplit('/', 1)[-1] }}",
    )
    new: Any = sort_out(to_import, to_import["without_plate"])
    ingest >> new
    fail_for_unchecked(new["unchecked"])
    annotated: Any = items.override(task_id="annotated_plates")(new["annotated"])
    announce.expand(found=annotated) >> keep_record.override(task_id="keep_record_of_annotated")(annotated)

    to_screen: Any = items.override(task_id="plates_to_screen")(new["to_screen"])
    segment_plate = TriggerDagRunOperator.partial(
        task_id="segment_plate",
        trigger_dag_id="segment_plate",
        # Broken off and run again, it starts none twice.
        skip_when_already_exists=True,
    ).expand_kwargs(segmentations_of(to_screen))
    segment_plate >> keep_record(to_screen)

    # Beside the rest, so that a comparison that fails keeps no plate from being told of.
    planned: Any = plan_drift(new)
    open_run = launch(
        "open_run", settings=planned, known={"comparisons": planned["comparisons"]}, hand_on=drift.in_runs
    )
    mlflow_run_id = open_run.output["mlflow_run_id"]
    compare = launch("drift", each=open_run.output, map_index_template="{{ task.each['plate'].rsplit('/', 1)[-1] }}")
    # Teardowns run after a failure too.
    shown: Any = show_drift(new["shown"], mlflow_run_id, open_run.output, compare.output)
    close_run = launch("close_run", each=shown)
    shown.as_teardown(setups=open_run)
    close_run.as_teardown(setups=open_run)
