// Requests to this page's own server and to Airflow's API, by who is logged in. What is refused is thrown in its words.

const { root, airflow } = document.body.dataset;

/** The server doesn't want it; sending it again changes nothing. */
export class Refused extends Error {}

/** Send JSON, or nothing, to this page's server; gives the answer's JSON. */
export function ask(method, path, body) {
  return asked(method, `${root}${path}`, body);
}

/** Send JSON, or nothing, to Airflow's API, below /api/v2; gives the answer's JSON. */
export function askAirflow(method, path, body) {
  return asked(method, `${airflow}/api/v2${path}`, body);
}

/** Send a file with the number of bytes that have gone so far. */
export function send(path, file, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", `${root}${path}`);
    request.upload.addEventListener("progress", (event) => progress(event.loaded));
    request.addEventListener("error", () => reject(new Error("The connection broke off.")));
    request.addEventListener("load", () => {
      contentOf(new Response(request.responseText, { status: request.status })).then(resolve, reject);
    });
    request.send(file);
  });
}

async function asked(method, url, body) {
  const headers = { Accept: "application/json", "Content-Type": "application/json" };
  return contentOf(await fetch(url, { method, headers, body: body && JSON.stringify(body) }));
}

async function contentOf(answer) {
  // What came is the page of the login.
  if (answer.redirected) throw new Error("You are logged out; load the page again.");
  if (answer.ok) return answer.json();
  const { detail } = await answer.json().catch(() => ({}));
  throw new Refused(inWords(detail) || `The server answers with status ${answer.status}.`);
}

function inWords(detail) {
  // What Airflow says to those whose role is too low for something.
  if (detail === "Forbidden") return "Your account may not do this; ask an administrator for a role that may.";
  return Array.isArray(detail) ? detail.map((one) => one.msg).join(" ") : detail;
}
