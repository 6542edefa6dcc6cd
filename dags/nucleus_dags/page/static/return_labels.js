// Corrected labels: <form data-return>. The files go to an upload one by one, which is then handed over to the inbox.

import { ask, send } from "./ask.js";

async function sendAll(files, progress) {
  const paths = files.map((file) => file.webkitRelativePath || file.name);
  const upload = await ask("POST", "/plates/-/uploads", { plate: "returned", files: paths });
  const total = files.reduce((sum, file) => sum + file.size, 0);
  let done = 0;
  for (const [place, file] of files.entries()) {
    const path = upload.paths[place];
    if (path !== null) {
      const where = `/plates/-/uploads/${upload.id}/files?name=${encodeURIComponent(path)}`;
      await send(where, file, (sent) => { progress.value = total ? (done + sent) / total : 1; });
    }
    done += file.size;
  }
  return upload.id;
}

async function giveBack(event) {
  event.preventDefault();
  const form = event.target;
  const [problem, said] = [form.querySelector("[role=alert]"), form.querySelector("[role=status]")];
  const [progress, button] = [form.querySelector("progress"), form.querySelector("button[type=submit]")];
  const files = [...form.querySelector("input[type=file]").files];
  problem.textContent = said.textContent = "";
  progress.hidden = false;
  button.disabled = true;
  let upload;
  try {
    upload = await sendAll(files, progress);
    const { name } = await ask("POST", "/annotate/returned", { upload });
    said.textContent = `${name} lies in the inbox. ingest_plates takes it in when it hasn't changed for some minutes.`;
    form.reset();
  } catch (error) {
    problem.textContent = error.message;
    if (upload) await ask("DELETE", `/plates/-/uploads/${upload}`).catch(() => {});
  }
  progress.hidden = true;
  button.disabled = false;
}

for (const form of document.querySelectorAll("form[data-return]")) form.addEventListener("submit", giveBack);
