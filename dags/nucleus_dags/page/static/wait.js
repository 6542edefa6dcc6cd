// Waiting for a run of Airflow, by its own API.

const { airflow } = document.body.dataset;

const EVERY_MS = 1500;
const ENDED = ["success", "failed"];

/** Wait until a run has ended; tells its state meanwhile. Throws what its note says if it failed. */
export async function ended(dagId, runId, tell) {
  for (;;) {
    const answer = await fetch(`${airflow}/api/v2/dags/${dagId}/dagRuns/${encodeURIComponent(runId)}`);
    if (!answer.ok) throw new Error(`Airflow doesn't say how the run ${runId} goes (status ${answer.status}).`);
    const run = await answer.json();
    tell(run.state);
    if (run.state === "failed") throw new Error(run.note || "The check failed; the log of its run says why.");
    if (ENDED.includes(run.state)) return;
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
}
