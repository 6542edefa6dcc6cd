// Files that are sent into an upload, whatever they become there.

import { ask, Refused, send } from "./ask.js";

const AT_ONCE = 3;
const TRIES = 3;

/** Give what was chosen in a field as { path, file }: a folder's files with their paths, that of the folder first. */
export function chosenIn(input) {
  return [...input.files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
}

export function sizeInWords(bytes) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(bytes, 1)) / 3));
  return `${(bytes / 1000 ** power).toFixed(power > 1 ? 1 : 0)} ${units[power]}`;
}

export function total(files) {
  return files.reduce((sum, { file }) => sum + file.size, 0);
}

/** Begin an upload of { path, file }; gives the answer, and of these files those that are taken, with their paths there. */
export async function beginUpload(plate, files) {
  const begun = await ask("POST", "/plates/-/uploads", { plate, files: files.map(({ path }) => path) });
  const taken = files.map(({ file }, number) => ({ path: begun.paths[number], file })).filter(({ path }) => path);
  return { begun, taken };
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

/** Send files, some at once, and show in a progress bar and in words how far that is. */
export async function sendAll(upload, files, progress, said) {
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
