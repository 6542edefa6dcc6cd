"""What tasks do, in a biologist's words, as what a run does now."""

from __future__ import annotations

WORDS = {
    "announce": "announces annotated plates",
    "annotated_plates": "sorts out annotated plates",
    "answers": "looks for corrected labels",
    "approve": "waits for an approval",
    "assemble_plate": "puts the plate's label images and tables together",
    "augment": "cuts training crops and varies them",
    "baseline": "prepares the baseline without a network",
    "calibrate": "chooses thresholds on fields kept back from training",
    "change": "changes the gate",
    "check_form": "checks the form",
    "choice": "chooses fields to annotate",
    "choose_patches": "chooses patches to annotate",
    "close_run": "closes the run in MLflow",
    "comparison": "looks for plates to compare with",
    "decide": "decides whether the challenger may become champion",
    "drift": "compares the plate with training plates of its cell line",
    "fail_for_unchecked": "names plates that couldn't be checked",
    "find_arrivals": "looks into the inbox",
    "find_challenger": "looks up the challenger",
    "find_champion": "looks up the champion",
    "find_experiments": "looks for experiments that are done already",
    "find_model": "looks up the model",
    "find_stored": "looks for segmentations that are there already",
    "first_champion": "makes the first model the champion",
    "forgetting": "compares the versions on every plate",
    "ingest": "checks and imports plates",
    "ingest_test": "checks and imports test plates",
    "ingest_train": "checks and imports training plates",
    "inspect_plate": "looks at the files of a plate",
    "judge": "applies the gate to the challenger",
    "keep_record": "records which screening plates were imported",
    "keep_record_of_annotated": "records which annotated plates were imported",
    "keep_rejection": "keeps why the challenger was rejected",
    "learning_curves": "estimates what further annotation brings",
    "list_models": "lists the models",
    "models": "prepares the models",
    "models_to_find": "chooses the models",
    "name_challenger": "names the challenger",
    "networks_to_store": "looks for networks that aren't stored yet",
    "open_run": "opens the run in MLflow",
    "parts": "cuts the plate into parts",
    "plan": "checks the form and plans",
    "plan_drift": "plans comparisons with training plates",
    "plates": "looks for the plates",
    "plates_to_screen": "sorts out screening plates",
    "promote": "makes the challenger the champion",
    "promote_model": "makes the version the champion",
    "proposals": "prepares proposals for labels",
    "receive_annotation": "takes in corrected labels",
    "register_model": "registers the models in MLflow",
    "report": "draws curves and errors",
    "request": "prepares the request for annotation",
    "rois_are_made": "waits for all training crops",
    "score": "compares nuclei found with the labels",
    "segment": "finds nuclei",
    "segment_plate": "starts segmentations of screening plates",
    "segmentations_of": "chooses screening plates",
    "send_to_annotation": "writes files for the annotation tool",
    "show_drift": "tells of outliers",
    "show_plan": "shows the plan",
    "sort_out": "sorts out faulty plates",
    "store_networks": "stores the networks",
    "suffice": "says which models are good enough",
    "summary": "writes the summary",
    "tabulate": "makes tables and figures",
    "tell": "tells where the files are",
    "test_plates": "looks for the test plates",
    "train": "trains networks",
    "who_approves": "asks who approves",
}
"""By the id of the task. A test holds them against the DAGs."""


RUN_STATES = {"queued": "waits", "running": "runs", "success": "ended well", "failed": "failed"}
TASK_STATES = {
    "none": "to come",
    "scheduled": "waits to start",
    "queued": "waits to start",
    "running": "runs",
    "restarting": "starts again",
    "deferred": "waits",
    "awaiting_input": "waits for a person",
    "up_for_retry": "failed, is tried again soon",
    "up_for_reschedule": "waits",
    "success": "done",
    "failed": "failed",
    "upstream_failed": "not reached, since a step before failed",
    "skipped": "not needed",
    "removed": "not needed any more",
}


def run_state(state: str) -> str:
    """Say how a run is."""
    return RUN_STATES.get(state, state)


def task_state(state: str) -> str:
    """Say how a task is."""
    return TASK_STATES.get(state, state)


def in_words(task_id: str) -> str:
    """Say what a task does; of one that is no more in a DAG, its id."""
    return WORDS.get(task_id, task_id.replace("_", " "))
