// Forms that are generated from a DAG's own (start_form.html.jinja): the server checks them first, and what is wrong is
// said beside the fields, all of it at once, before anything starts.

import { ask } from "./ask.js";
import { startsDag } from "./start.js";

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
function valuesOf(form) {
  const fields = [...form.querySelectorAll("[data-field]")];
  return Object.fromEntries(fields.map((field) => [field.dataset.field, READERS[field.dataset.kind](field)]));
}

/** Ask what is wrong, by field, and show how long a run will take. */
async function problemsOf(form) {
  const { problems, estimate } = await ask("POST", form.dataset.check, valuesOf(form));
  const shown = form.querySelector("[data-estimate]");
  if (shown) shown.textContent = estimate;
  return problems;
}

/** Say beside each field what is wrong in it, and go to the first; throws how many are wrong. */
async function check(form) {
  const problems = await problemsOf(form);
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
  const count = Object.keys(problems).length;
  if (count) throw new Error(`Correct ${count} ${count === 1 ? "field" : "fields"}; nothing was started.`);
}

for (const form of document.querySelectorAll("form[data-dag][data-check]")) {
  startsDag(form, valuesOf, check);
  form.addEventListener("change", () => problemsOf(form).catch(() => {}));
}
