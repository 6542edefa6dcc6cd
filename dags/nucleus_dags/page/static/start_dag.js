// Forms that start a DAG: <form data-dag="promote_model">. Each field with a name is one of the DAG's form; empty ones
// are left out. What Airflow refuses is said in the form's element with the role alert.

import { showRun, startDag } from "./page.js";

/** Give a field's value as the DAG's form has it, or undefined for none. */
function valueOf(field) {
  if (field.type === "checkbox") return field.checked;
  const text = field.value.trim();
  if (text === "") return undefined;
  return field.type === "number" || field.dataset.number !== undefined ? Number(text) : text;
}

/** Collect the fields by name; of several with the same name, which are ticked, the values come in lines. */
export function confOf(form) {
  const conf = {};
  for (const field of form.elements) {
    if (!field.name) continue;
    if (field.dataset.line === undefined) {
      const value = valueOf(field);
      if (value !== undefined) conf[field.name] = value;
    } else if (field.checked) {
      conf[field.name] = conf[field.name] ? `${conf[field.name]}\n${field.value}` : field.value;
    }
  }
  return conf;
}

async function start(event) {
  event.preventDefault();
  const form = event.target;
  const button = form.querySelector("button[type=submit]");
  const problem = form.querySelector("[role=alert]");
  button.disabled = true;
  problem.textContent = "";
  try {
    showRun(form.dataset.dag, await startDag(form.dataset.dag, confOf(form)));
  } catch (error) {
    problem.textContent = error.message;
    button.disabled = false;
  }
}

for (const form of document.querySelectorAll("form[data-dag]")) form.addEventListener("submit", start);
