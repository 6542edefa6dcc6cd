// DAGs and their runs, by Airflow's own API, with the rights of who is logged in.

import { askAirflow } from "./ask.js";

const EVERY_MS = 1500;

/** Start a DAG; gives the id of its run, or throws what is wrong with the form. */
export async function startDag(dagId, conf) {
  const run = await askAirflow("POST", `/dags/${dagId}/dagRuns`, { logical_date: null, conf });
  return run.dag_run_id;
}

/** Start a DAG, and go to the page of its run. */
export async function startAndShow(dagId, conf) {
  const runId = await startDag(dagId, conf);
  location.href = `${document.body.dataset.root}/runs/${dagId}/${encodeURIComponent(runId)}`;
}

export async function unpause(dagId) {
  await askAirflow("PATCH", `/dags/${dagId}?update_mask=is_paused`, { is_paused: false });
}

/** Wait until a run has ended; tells its state meanwhile. Throws what its note says if it failed. */
export async function ended(dagId, runId, tell) {
  for (;;) {
    const run = await askAirflow("GET", `/dags/${dagId}/dagRuns/${encodeURIComponent(runId)}`);
    tell(run.state);
    if (run.state === "failed") throw new Error(run.note || "The check failed; the log of its run says why.");
    if (run.state === "success") return;
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
}
