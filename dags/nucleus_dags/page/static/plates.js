// Tables that sort by a click on a heading, a search among rows, and parts that are fetched after the page.

const inOrder = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

/** Value of a row in a column: that of data-value, or the text. */
function valueOf(row, column) {
  const cell = row.cells[column];
  return cell.dataset.value ?? cell.textContent.trim();
}

/** Compare two values as numbers, or else as texts with numbers in them. */
function compare(a, b) {
  const difference = Number(a) - Number(b);
  return a === "" || b === "" || Number.isNaN(difference) ? inOrder.compare(a, b) : difference;
}

/** Let a heading sort the rows of its table, first upwards, then downwards. */
function makeSortable(heading) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "sort";
  button.append(...heading.childNodes);
  heading.append(button);
  button.addEventListener("click", () => {
    const upwards = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of heading.parentElement.children) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", upwards ? "ascending" : "descending");
    const body = heading.closest("table").tBodies[0];
    const column = heading.cellIndex;
    const rows = [...body.rows].sort((a, b) => compare(valueOf(a, column), valueOf(b, column)));
    body.append(...(upwards ? rows : rows.reverse()));
  });
}

/** Show only the rows of a table whose names contain all words. */
function search(field) {
  const words = field.value.toLowerCase().split(/\s+/);
  let found = 0;
  for (const row of document.getElementById(field.dataset.filters).tBodies[0].rows) {
    row.hidden = !words.every((word) => row.dataset.words.toLowerCase().includes(word));
    found += !row.hidden;
  }
  document.getElementById("none-found").hidden = found > 0;
}

async function load(part) {
  const answer = await fetch(part.dataset.load);
  // The login has expired: what came is the page of the login.
  if (answer.redirected) return location.reload();
  const text = await answer.text();
  // What the server sends is a part of the page that it escaped, as the page itself.
  if (answer.ok) part.innerHTML = text;
  else part.textContent = "The inbox can't be looked at now.";
}

for (const heading of document.querySelectorAll("table[data-sortable] thead th")) makeSortable(heading);
for (const field of document.querySelectorAll("[data-filters]")) field.addEventListener("input", () => search(field));
for (const part of document.querySelectorAll("[data-load]")) load(part);
