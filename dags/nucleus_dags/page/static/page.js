// What all pages share. Airflow shows them in a frame that may not lead the browser elsewhere.

/** Follow a link outside of this page: in Airflow's own window for its pages, else in a new tab. */
function leave(event) {
  const link = event.target.closest("a[data-leave]");
  if (!link || window.parent === window) return;
  event.preventDefault();
  const outside = window.parent.document.createElement("a");
  outside.href = link.href;
  if (new URL(link.href).origin !== location.origin) outside.target = "_blank";
  window.parent.document.body.append(outside);
  outside.click();
  outside.remove();
}

document.addEventListener("click", leave);
