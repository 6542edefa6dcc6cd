// Files of a plate: chosen or dropped, sent one by one, then looked at by the DAG inspect_plate.

import { startDag } from "./airflow.js";
import { ask } from "./ask.js";
import { beginUpload, chosenIn, sendAll, sizeInWords, total } from "./send_files.js";

const { root } = document.body.dataset;

const form = document.getElementById("files");
const chosenText = document.getElementById("chosen");
const button = form.querySelector("button[type=submit]");
const problem = form.querySelector("[role=alert]");
const progress = form.querySelector("progress");
const said = document.getElementById("said");
const server = form.elements.namedItem("server_folder");

/** Files by the place where they were dropped: { path, file }. */
const chosen = { plate: [], labels: [] };

function showChosen() {
  const parts = Object.entries(chosen).filter(([, files]) => files.length);
  chosenText.textContent = parts
    .map(([place, files]) => `${place === "labels" ? "Labels" : "Plate"}: ${files.length} files, ${sizeInWords(total(files))}`)
    .join(". ");
  button.disabled = !chosen.plate.length && !server.value.trim();
}

/** Give all files of what was dropped, folders with all that is in them. */
async function filesOf(entry, path = "") {
  const here = path + entry.name;
  if (entry.isFile) return [{ path: here, file: await new Promise((resolve, reject) => entry.file(resolve, reject)) }];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    // A reader gives some hundred entries at a time.
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length) return found;
    for (const inside of entries) found.push(...(await filesOf(inside, `${here}/`)));
  }
}

async function drop(event) {
  event.preventDefault();
  const area = event.currentTarget;
  area.classList.remove("over");
  // The list is emptied when this function waits. What doesn't come from a disk has no entry.
  const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
  const dropped = items.map((item) => item.webkitGetAsEntry() ?? item.getAsFile());
  const found = [];
  for (const one of dropped) {
    found.push(...(one instanceof File ? [{ path: one.name, file: one }] : await filesOf(one)));
  }
  chosen[area.dataset.place] = found;
  showChosen();
}

function choose(input) {
  chosen[input.dataset.place] = chosenIn(input);
  showChosen();
}

function isZip({ path }) {
  return path.toLowerCase().endsWith(".zip");
}

/** Give all files with their paths: labels that come by themselves lie in labels/, and their images in images/. */
function together() {
  if (!chosen.labels.length) return chosen.plate;
  return [...sideBySide("images", chosen.plate), ...sideBySide("labels", chosen.labels)];
}

/** Put files side by side into a folder. Their own folders, but for those that all lie in, begin their names. */
function sideBySide(folder, files) {
  let parts = files.map(({ path }) => path.split("/"));
  while (files.length && parts.every((names) => names.length > 1 && names[0] === parts[0][0])) {
    parts = parts.map((names) => names.slice(1));
  }
  return files.map(({ file }, number) => ({ path: `${folder}/${parts[number].join("_")}`, file }));
}

function nameOfPlate() {
  const given = server.value.trim().replace(/\/+$/, "").split("/").pop();
  if (!chosen.plate.length) return given;
  const [first] = chosen.plate;
  const folder = first.path.includes("/") ? first.path.split("/")[0] : "";
  if (folder && !["images", "labels", "masks"].includes(folder.toLowerCase())) return folder;
  return isZip(first) ? first.path.slice(0, -4) : "new-plate";
}

/** Send or take all files; gives the id of the upload and its folder. */
async function upload() {
  const files = together();
  const { begun, taken } = await beginUpload(nameOfPlate(), files);
  try {
    if (files.length) {
      progress.hidden = false;
      await sendAll(begun.id, taken, progress, said);
      for (const { path } of taken.filter(isZip)) {
        said.textContent = `${path} is being unpacked …`;
        await ask("POST", `/plates/-/uploads/${begun.id}/unpack`, { name: path });
      }
    } else {
      said.textContent = "The files are being taken …";
      await ask("POST", `/plates/-/uploads/${begun.id}/take`, { folder: server.value.trim() });
    }
  } catch (error) {
    await ask("DELETE", `/plates/-/uploads/${begun.id}`).catch(() => {});
    throw error;
  }
  return begun;
}

async function start(event) {
  event.preventDefault();
  button.disabled = true;
  problem.textContent = "";
  try {
    const { id, folder } = await upload();
    said.textContent = "All files are there; now they are looked at …";
    const run = await startDag("inspect_plate", { folder });
    location.href = `${root}/plates/-/uploads/${id}?run=${encodeURIComponent(run)}`;
  } catch (error) {
    problem.textContent = error.message;
    progress.hidden = true;
    said.textContent = "";
    button.disabled = false;
  }
}

/** Remove an upload at the second click: Airflow's frame shows no question of the browser's own. */
async function remove(event) {
  const asked = event.currentTarget;
  if (asked.dataset.sure) {
    await ask("DELETE", `/plates/-/uploads/${asked.dataset.upload}`);
    location.reload();
  } else {
    asked.dataset.sure = "yes";
    asked.textContent = "Remove its files for good";
  }
}

for (const area of document.querySelectorAll("[data-place].drop")) {
  area.addEventListener("dragover", (event) => {
    event.preventDefault();
    area.classList.add("over");
  });
  area.addEventListener("dragleave", () => area.classList.remove("over"));
  area.addEventListener("drop", drop);
}
for (const input of form.querySelectorAll("input[type=file]")) {
  input.addEventListener("change", () => choose(input));
  // What was chosen while this file was still being loaded.
  if (input.files.length) choose(input);
}
for (const one of document.querySelectorAll("button[data-upload]")) one.addEventListener("click", remove);
server.addEventListener("input", showChosen);
form.addEventListener("submit", start);
showChosen();
