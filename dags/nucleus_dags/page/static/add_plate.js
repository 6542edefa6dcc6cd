// Files of a plate: chosen or dropped, sent one by one, then looked at by the DAG inspect_plate.

import { startDag } from "./airflow.js";
import { ask, Refused, send } from "./ask.js";

const { root } = document.body.dataset;
const AT_ONCE = 3;
const TRIES = 3;

const form = document.getElementById("files");
const chosenText = document.getElementById("chosen");
const button = form.querySelector("button[type=submit]");
const problem = form.querySelector("[role=alert]");
const progress = form.querySelector("progress");
const said = document.getElementById("said");
const server = form.elements.namedItem("server_folder");

/** Files by the place where they were dropped: { path, file }. */
const chosen = { plate: [], labels: [] };

function sizeInWords(bytes) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(bytes, 1)) / 3));
  return `${(bytes / 1000 ** power).toFixed(power > 1 ? 1 : 0)} ${units[power]}`;
}

function total(files) {
  return files.reduce((sum, { file }) => sum + file.size, 0);
}

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
  const files = [...input.files];
  chosen[input.dataset.place] = files.map((file) => ({ path: file.webkitRelativePath || file.name, file }));
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

async function sendFile(upload, path, file, tell) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await send(`/plates/-/uploads/${upload}/files?name=${encodeURIComponent(path)}`, file, tell);
      return;
    } catch (error) {
      if (error instanceof Refused || attempt === TRIES) throw new Error(`${path}: ${error.message}`);
      await new Promise((resolve) => setTimeout(resolve, 1000 * attempt));
    }
  }
}

/** Send files, some at once, and show how far that is. */
async function sendAll(upload, files) {
  const bytes = total(files);
  const gone = files.map(() => 0);
  let next = 0;
  let done = 0;
  const show = () => {
    const sum = gone.reduce((a, b) => a + b, 0);
    progress.value = bytes ? sum / bytes : 1;
    said.textContent = `${done} of ${files.length} files, ${sizeInWords(sum)} of ${sizeInWords(bytes)}`;
  };
  const worker = async () => {
    while (next < files.length) {
      const number = next++;
      const { path, file } = files[number];
      await sendFile(upload, path, file, (loaded) => {
        gone[number] = Math.min(loaded, file.size);
        show();
      });
      gone[number] = file.size;
      done += 1;
      show();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

/** Send or take all files; gives the id of the upload and its folder. */
async function upload() {
  const files = together();
  const begun = await ask("POST", "/plates/-/uploads", { plate: nameOfPlate(), files: files.map(({ path }) => path) });
  try {
    if (files.length) {
      progress.hidden = false;
      const taken = files.map(({ file }, number) => ({ path: begun.paths[number], file })).filter(({ path }) => path);
      await sendAll(begun.id, taken);
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
