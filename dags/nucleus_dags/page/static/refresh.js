// Shows how things go on: asks for the changing part of a page every few seconds, while somebody looks at it.

import { unpause } from "./airflow.js";

const EVERY_MS = 5000;

function goesOn(part) {
  return part.querySelector("[data-goes-on]")?.dataset.goesOn === "yes";
}

async function refresh(part) {
  if (document.hidden) return;
  const answer = await fetch(part.dataset.refresh).catch(() => null);
  // The login has expired: what came is the page of the login.
  if (answer?.redirected) return location.reload();
  const text = answer?.ok ? await answer.text() : null;
  // What didn't change stays, with the place of the cursor and what is selected; so does a field that is being filled in.
  if (text === null || text === part.shown || part.contains(document.activeElement)) return;
  part.innerHTML = text;
  part.shown = text;
}

function unpauseBy(event) {
  const button = event.target.closest("[data-unpause]");
  if (!button) return;
  button.disabled = true;
  unpause(button.dataset.unpause).then(() => location.reload(), (error) => button.after(` ${error.message}`));
}

for (const part of document.querySelectorAll("[data-refresh]")) {
  setInterval(() => goesOn(part) && refresh(part), EVERY_MS);
}
document.addEventListener("click", unpauseBy);
