// The form that describes an uploaded plate: it is checked by the DAG inspect_plate, and imported if nothing is refused.

import { ended, startAndShow, startDag, unpause } from "./airflow.js";
import { ask } from "./ask.js";

const { root } = document.body.dataset;
const form = document.getElementById("description");
const waiting = document.getElementById("waiting");
const here = form ?? waiting;
const problem = here.querySelector("[role=alert]");
const progress = here.querySelector("progress");
const said = document.getElementById("said");
const STATES = { queued: "waits for its turn", running: "is running" };

function busy(text) {
  said.textContent = text;
  progress.hidden = !text;
  for (const button of here.querySelectorAll("button")) button.disabled = Boolean(text);
}

function fail(error) {
  problem.textContent = error.message;
  busy("");
  for (const button of here.querySelectorAll("button")) button.hidden = false;
}

/** Give what the form says by keys of plate.json: numbers and lists of choices as such, other texts as they are typed. */
function values() {
  const found = {};
  for (const field of form.elements) {
    if (!field.name || field.closest("[hidden]")) continue;
    if (field.type === "checkbox") found[field.name] = field.checked;
    else if (field.value.trim() === "") continue;
    else if (field.tagName === "SELECT") found[field.name] = JSON.parse(field.value);
    else found[field.name] = typed(field.name, field.value.trim());
  }
  return found;
}

function typed(name, text) {
  return name === "pixel_size_um" && Number.isFinite(Number(text)) ? Number(text) : text;
}

/** Wait until the files were looked at; gives the run that did it. */
async function look(runId) {
  busy("The plate is checked …");
  await ended("inspect_plate", runId, (state) => busy(`The check ${STATES[state] ?? state} …`));
  return runId;
}

function show(runId) {
  location.href = `${root}/plates/-/uploads/${upload()}?run=${encodeURIComponent(runId)}`;
}

function upload() {
  return here.dataset.folder.split("/")[0];
}

async function importPlate(runId) {
  busy("The plate is handed over …");
  if (form.dataset.paused === "true") await unpause("ingest_plates");
  await ask("POST", `/plates/-/uploads/${upload()}/import`, { run: runId });
  await startAndShow("ingest_plates", {});
}

const before = form && JSON.stringify(values());

/** Check what the form says; then import the plate if it is asked for and nothing stands against it. */
async function check(thenImport) {
  problem.textContent = "";
  try {
    if (thenImport && form.dataset.clean === "true" && JSON.stringify(values()) === before) {
      await importPlate(form.dataset.run);
      return;
    }
    const run = await look(await startDag("inspect_plate", { folder: here.dataset.folder, values: values() }));
    const outcome = await ask("GET", `/plates/-/uploads/${upload()}/outcome?run=${encodeURIComponent(run)}`);
    if (thenImport && !outcome.refused && !outcome.needs_a_look) await importPlate(run);
    else show(run);
  } catch (error) {
    fail(error);
  }
}

/** Replicate and annotation are asked of plates with labels. */
function showWhatIsAsked() {
  document.getElementById("labelled").hidden = form.elements.namedItem("role").value === '"screen"';
}

if (form) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    check(true);
  });
  document.getElementById("check").addEventListener("click", () => check(false));
  form.elements.namedItem("role").addEventListener("change", showWhatIsAsked);
  showWhatIsAsked();
} else {
  const button = document.getElementById("look");
  button.addEventListener("click", async () => {
    try {
      show(await look(await startDag("inspect_plate", { folder: here.dataset.folder })));
    } catch (error) {
      fail(error);
    }
  });
  if (here.dataset.run) look(here.dataset.run).then(show, fail);
}
