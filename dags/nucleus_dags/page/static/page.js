// What all pages share. Airflow shows them in a frame that may not lead the browser elsewhere.

export const { root, airflow } = document.body.dataset;

/** Follow a link outside of this page: in Airflow's own window for its pages, else in a new tab. */
function leave(event) {
  const link = event.target.closest("a[data-leave]");
  if (!link || window.parent === window) return;
  event.preventDefault();
  const outside = window.parent.document.createElement("a");
  outside.href = link.href;
  if (new URL(link.href).origin !== location.origin) outside.target = "_blank";
  window.parent.document.body.append(outside);
  outside.click();
  outside.remove();
}

/** Start a DAG by Airflow's own API, with the rights of who is logged in; gives the id of its run, or throws its words. */
export async function startDag(dagId, conf) {
  const answer = await fetch(`${airflow}/api/v2/dags/${dagId}/dagRuns`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ logical_date: null, conf }),
  });
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(inWords(content.detail) || `Airflow answers with status ${answer.status}.`);
  return content.dag_run_id;
}

/** Go to the page of a run. */
export function showRun(dagId, runId) {
  location.href = `${root}/runs/${dagId}/${encodeURIComponent(runId)}`;
}

function inWords(detail) {
  return Array.isArray(detail) ? detail.map((one) => one.msg).join(" ") : detail;
}

document.addEventListener("click", leave);
