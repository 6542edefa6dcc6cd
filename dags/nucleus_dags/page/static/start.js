// A form that starts a run: what is wrong is said beside the fields, all of it at once, before anything starts.

import { showRun, startDag } from "./page.js";

const form = document.querySelector("form[data-dag]");
const wrong = form.querySelector("[data-wrong]");

const READERS = {
  switch: (field) => field.querySelector("input").checked,
  choice: (field) => JSON.parse(field.querySelector("select").value),
  choices: (field) => [...field.querySelectorAll("input:checked")].map((one) => JSON.parse(one.value)),
  lines: (field) => control(field).value.split("\n").map((line) => line.trim()).filter(Boolean),
  long: text,
  text,
};

function control(field) {
  return field.querySelector("input, select, textarea");
}

function text(field) {
  return control(field).value.trim() || null;
}

/** Give what is filled in, by the names of the fields. Numbers are read by the server. */
function filled() {
  const fields = [...form.querySelectorAll("[data-field]")];
  return Object.fromEntries(fields.map((field) => [field.dataset.field, READERS[field.dataset.kind](field)]));
}

async function check() {
  const answer = await fetch(form.dataset.check, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(filled()),
  });
  if (!answer.ok) throw new Error(`The form can't be checked now: the server answers with status ${answer.status}.`);
  const { problems, estimate } = await answer.json();
  const shown = form.querySelector("[data-estimate]");
  if (shown) shown.textContent = estimate;
  return problems;
}

/** Say beside each field what is wrong in it, and go to the first. Gives how many fields are wrong. */
function show(problems) {
  let first = null;
  for (const field of form.querySelectorAll("[data-field]")) {
    const sentences = problems[field.dataset.field] ?? [];
    document.getElementById(`${field.dataset.field}-wrong`).textContent = sentences.join(" ");
    control(field)?.toggleAttribute("aria-invalid", sentences.length > 0);
    if (!sentences.length) continue;
    field.closest("details")?.setAttribute("open", "");
    first ??= control(field);
  }
  first?.focus();
  return Object.keys(problems).length;
}

async function start(event) {
  event.preventDefault();
  const button = form.querySelector("button:not([type=button])");
  button.disabled = true;
  wrong.textContent = "";
  try {
    const count = show(await check());
    if (!count) {
      showRun(form.dataset.dag, await startDag(form.dataset.dag, filled()));
      // Who comes back to this page may start another run; until it is left, a second click would start one too.
      addEventListener("pagehide", () => { button.disabled = false; });
      return;
    }
    wrong.textContent = count === 1 ? "Correct 1 field; nothing was started." : `Correct ${count} fields; nothing was started.`;
  } catch (error) {
    wrong.textContent = error.message;
  }
  button.disabled = false;
}

form.addEventListener("submit", start);
form.addEventListener("change", () => check().catch(() => {}));
