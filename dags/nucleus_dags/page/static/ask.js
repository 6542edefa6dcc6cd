// Requests to this page's own server that change something. What it refuses is thrown in its words.

const { root } = document.body.dataset;

async function wordsOf(answer) {
  const content = await answer.json().catch(() => ({}));
  const detail = content.detail;
  const words = Array.isArray(detail) ? detail.map((one) => one.msg).join(" ") : detail;
  return words || `The server answers with status ${answer.status}.`;
}

/** Send JSON, or nothing; gives the answer's JSON. */
export async function ask(method, path, body) {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(`${root}${path}`, { method, headers, body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(await wordsOf(answer));
  return answer.json();
}

/** Send a file with the number of bytes that have gone so far. */
export function send(path, file, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", `${root}${path}`);
    request.upload.addEventListener("progress", (event) => progress(event.loaded));
    request.addEventListener("error", () => reject(new Error("The connection broke off.")));
    request.addEventListener("load", async () => {
      if (request.status < 300) resolve();
      else reject(new Refused(await wordsOf(new Response(request.responseText, { status: request.status }))));
    });
    request.send(file);
  });
}

/** The server doesn't want it; sending it again changes nothing. */
export class Refused extends Error {}
