// Loaded before the page is shown: a form that somebody submits before its own script is there waits for it.

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches(":is(form[data-dag], form[data-return]):not([data-ready])")) return;
  event.preventDefault();
  form.dataset.submitted = "";
});
