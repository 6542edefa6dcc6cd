// What all forms that start a DAG do when they are submitted: <form data-dag="promote_model">.

import { startAndShow } from "./airflow.js";

/**
 * Let a form start its DAG. What stands against it is said in the form's element with the role alert.
 *
 * `valuesOf(form)` gives what is filled in, by the names of the DAG's form. `check(form)` says it beside the fields if
 * some of it is wrong, and throws then.
 */
export function startsDag(form, valuesOf, check = () => {}) {
  const button = form.querySelector("button[type=submit]");
  const problem = form.querySelector("[role=alert]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    problem.textContent = "";
    try {
      await check(form);
      await startAndShow(form.dataset.dag, valuesOf(form));
      // Who comes back to this page may start another run; until it is left, a second click would start one too.
      addEventListener("pagehide", () => { button.disabled = false; });
    } catch (error) {
      problem.textContent = error.message;
      button.disabled = false;
    }
  });
  form.dataset.ready = "";
  if (form.dataset.submitted !== undefined) form.requestSubmit();
}
