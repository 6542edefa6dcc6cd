// Forms that a template has written for one purpose: each field with a name is one of the DAG's form, empty ones are
// left out, and Airflow says what is wrong.

import { startsDag } from "./start.js";

/** Give a field's value as the DAG's form has it, or undefined for none. */
function valueOf(field) {
  if (field.type === "checkbox") return field.checked;
  const text = field.value.trim();
  if (text === "") return undefined;
  return field.type === "number" || field.dataset.number !== undefined ? Number(text) : text;
}

/** Collect the fields by name. Those with data-line, which are ticked, make a list. */
function valuesOf(form) {
  const conf = {};
  for (const field of form.elements) {
    if (!field.name) continue;
    if (field.dataset.line === undefined) {
      const value = valueOf(field);
      if (value !== undefined) conf[field.name] = value;
    } else if (field.checked) {
      (conf[field.name] ??= []).push(field.value);
    }
  }
  return conf;
}

for (const form of document.querySelectorAll("form[data-dag]:not([data-check])")) startsDag(form, valuesOf);
