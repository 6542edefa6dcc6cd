// Corrected labels: <form data-return>. The files go into an upload, which is then handed over to the inbox.

import { ask } from "./ask.js";
import { beginUpload, chosenIn, sendAll } from "./send_files.js";

async function giveBack(event) {
  event.preventDefault();
  const form = event.target;
  const [problem, said] = [form.querySelector("[role=alert]"), form.querySelector("[role=status]")];
  const [progress, button] = [form.querySelector("progress"), form.querySelector("button[type=submit]")];
  const files = inputsOf(form).flatMap(chosenIn);
  problem.textContent = files.length ? "" : "Choose what the tool exported, or the folder that you worked in.";
  said.textContent = "";
  if (!files.length) return;
  progress.hidden = false;
  button.disabled = true;
  let upload;
  try {
    const { begun, taken } = await beginUpload("returned", files);
    upload = begun.id;
    await sendAll(upload, taken, progress, said);
    const { name } = await ask("POST", "/annotate/returned", { upload });
    said.textContent = `${name} lies in the inbox. ingest_plates takes it in when it hasn't changed for some minutes.`;
    form.reset();
  } catch (error) {
    said.textContent = "";
    problem.textContent = error.message;
    if (upload) await ask("DELETE", `/plates/-/uploads/${upload}`).catch(() => {});
  }
  progress.hidden = true;
  button.disabled = false;
}

function inputsOf(form) {
  return [...form.querySelectorAll("input[type=file]")];
}

/** What is chosen in one field takes the place of what was chosen in the other. */
function choose(event) {
  for (const other of inputsOf(event.target.form)) if (other !== event.target) other.value = "";
}

for (const form of document.querySelectorAll("form[data-return]")) {
  form.addEventListener("submit", giveBack);
  form.addEventListener("change", choose);
  form.dataset.ready = "";
  if (form.dataset.submitted !== undefined) form.requestSubmit();
}
