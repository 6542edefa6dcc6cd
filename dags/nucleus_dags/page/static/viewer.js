// Looks at the fields of a segmented plate: image, outlines, contrast, and the row of the nucleus that is clicked on.

import { ask } from "./ask.js";

const { L } = window;
const { root } = document.body.dataset;
const viewer = document.getElementById("viewer");
const { address } = viewer.dataset; // below the root
const pixelSizeUm = Number(viewer.dataset.pixelSize);
const part = (id) => document.getElementById(id);

const STEPS = 1000; // of the sliders
const WIDEST_PX = 4;
const NOTHING = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEAAAAALAAAAAABAAEAAAIBAAA=";

const ORDERS = {
  name: () => 0,
  doubts: (field) => -field.doubts.length,
  fewest: (field) => field.nuclei,
  most: (field) => -field.nuclei,
  confidence: (field) => field.confidence ?? Infinity,
};

const map = L.map("map", {
  crs: L.CRS.Simple,
  minZoom: -6,
  maxZoom: 5,
  zoomSnap: 0.25,
  keyboard: false, // arrow keys lead to the next field
  attributionControl: false,
});
const image = L.imageOverlay(NOTHING, [[0, 0], [1, 1]], { className: "pixels" }).addTo(map);
const outlines = L.imageOverlay(NOTHING, [[0, 0], [1, 1]], { className: "pixels" }).addTo(map);
const truth = L.imageOverlay(NOTHING, [[0, 0], [1, 1]], { className: "pixels" });
image.setZIndex(1);
truth.setZIndex(2);
outlines.setZIndex(3);
const mark = L.circleMarker([0, 0], { radius: 12, color: "#fff", weight: 2, fill: false, interactive: false });

let fields = []; // in the order in which they are gone through
let at = 0;
let about = null; // size and intensities of the field that is shown
let widthPx = 1; // of outlines

function pathOf(what, parameters = {}, field = fields[at]) {
  return `${address}/${what}?${new URLSearchParams({ field: field.name, ...parameters })}`;
}

function url(...place) {
  return root + pathOf(...place);
}

/** Show a field by its place in the order. */
async function show(place) {
  at = (place + fields.length) % fields.length;
  const field = fields[at];
  say(field);
  const found = await ask("GET", pathOf("about"));
  if (field !== fields[at]) return; // another one was asked for meanwhile
  const isOfSameSize = about && about.height === found.height && about.width === found.width;
  about = found;
  const bounds = [[-about.height, 0], [0, about.width]];
  for (const layer of [image, outlines, truth]) layer.setBounds(bounds);
  if (!isOfSameSize) map.fitBounds(bounds);
  if (part("auto").checked) setSliders(about.usual);
  mark.remove();
  part("nucleus").innerHTML = '<p class="hint">Click on a nucleus to see its row of the table.</p>';
  drawImage();
  drawOutlines();
  const shown = new URL(location.href);
  shown.searchParams.set("field", field.name);
  history.replaceState(null, "", shown);
  readAhead(fields[(at + 1) % fields.length]);
}

/** Ask for the next field, so that it is there when it is wanted: the browser keeps what it got. */
function readAhead(field) {
  ask("GET", pathOf("about", {}, field));
  if (part("auto").checked) new Image().src = url("image", {}, field);
  new Image().src = url("outlines", { width: widthPx }, field);
}

function say(field) {
  const place = field.well ? `, well ${field.well}${field.site === null ? "" : `, site ${field.site}`}` : "";
  const doubtful = field.doubtful ? `, ${field.doubtful} of them doubtful` : "";
  const confidence = field.confidence === null ? "" : `, mean confidence ${field.confidence.toFixed(2)}`;
  const nuclei = field.nuclei === 1 ? "1 nucleus" : `${field.nuclei} nuclei`;
  part("shown").textContent = `Field ${at + 1} of ${fields.length}: ${field.name}${place}: ${nuclei}${doubtful}${confidence}`;
  part("doubts").hidden = !field.doubts.length;
  part("doubts").textContent = field.doubts.length ? `This label image looks wrong: ${field.doubts.join("; ")}.` : "";
}

function drawImage() {
  const levels = chosenLevels();
  part("levels").textContent = `Black is ${levels.black}, white is ${levels.white}.`;
  image.setUrl(part("auto").checked ? url("image") : url("image", levels));
}

/** Draw outlines so wide that they are seen at this zoom. */
function drawOutlines() {
  widthPx = Math.min(Math.max(Math.round(1.2 / 2 ** map.getZoom()), 1), WIDEST_PX);
  outlines.setUrl(url("outlines", { width: widthPx }));
  const wanted = part("truth")?.checked && fields[at].hasTruth;
  // Seen inside of the outlines above it where both are the same.
  if (wanted) truth.setUrl(url("truth", { width: 2 * widthPx }));
  toggle(truth, wanted);
  toggle(outlines, part("outlines").checked);
}

function toggle(layer, isShown) {
  if (isShown) layer.addTo(map);
  else layer.remove();
}

// The lower a slider, the finer: nuclei are often much fainter than the brightest speck.
function chosenLevels() {
  const [low, high] = about.range;
  const of = (id) => Math.round(low + (high - low) * (part(id).value / STEPS) ** 3);
  return { black: of("black"), white: of("white") };
}

function setSliders([black, white]) {
  const [low, high] = about.range;
  const place = (level) => STEPS * Math.cbrt((level - low) / Math.max(high - low, 1));
  part("black").value = place(black);
  part("white").value = place(white);
}

function inOrder(name) {
  const shown = fields[at];
  const of = ORDERS[name];
  fields.sort((one, other) => of(one) - of(other) || one.name.localeCompare(other.name, "en", { numeric: true }));
  return name === "name" ? fields.indexOf(shown) : 0;
}

function jumpTo(wanted) {
  const text = wanted.trim().toLowerCase();
  const isMeant = [(f) => f.name.toLowerCase() === text, (f) => f.well.toLowerCase() === text,
    (f) => f.name.toLowerCase().includes(text)];
  const found = text ? isMeant.map((is) => fields.findIndex(is)).find((place) => place >= 0) : undefined;
  part("jump").setCustomValidity(found === undefined ? `No field or well is called ${wanted}.` : "");
  part("jump").reportValidity();
  if (found !== undefined) show(found);
}

const pixelOf = ({ lat, lng }) => ({ y: Math.floor(-lat), x: Math.floor(lng) });

async function showNucleus({ latlng }) {
  const field = fields[at];
  const nucleus = await ask("GET", pathOf("nucleus", pixelOf(latlng)));
  if (field !== fields[at]) return; // another one is shown by now
  if (!nucleus) {
    mark.remove();
    part("nucleus").innerHTML = '<p class="hint">There is no nucleus here.</p>';
    return;
  }
  mark.setLatLng([-nucleus.centroid_y_px - 0.5, Number(nucleus.centroid_x_px) + 0.5]).addTo(map);
  const list = Object.assign(document.createElement("dl"), { className: "facts" });
  const row = [
    ["Label", nucleus.label],
    ["Area", `${Number(nucleus.area_um2).toFixed(1)} µm² (${nucleus.area_px} px)`],
    ["Confidence", nucleus.confidence ? Number(nucleus.confidence).toFixed(2) + (nucleus.doubtful ? ", doubtful" : "") : "none"],
    ["Mean intensity", Number(nucleus.mean_intensity).toFixed(0)],
    ["Touches the edge of the field", nucleus.touches_edge === "True" ? "yes" : "no"],
    ["Centre", `x ${Number(nucleus.centroid_x_px).toFixed(1)} px, y ${Number(nucleus.centroid_y_px).toFixed(1)} px`],
  ];
  for (const [name, value] of row) {
    list.append(Object.assign(document.createElement("dt"), { textContent: name }));
    list.append(Object.assign(document.createElement("dd"), { textContent: value }));
  }
  part("nucleus").replaceChildren(list);
}

/** A bar of a round length in µm. */
const ScaleBar = L.Control.extend({
  options: { position: "bottomleft" },
  onAdd(shown) {
    const bar = L.DomUtil.create("div", "scale");
    const draw = () => {
      const umOfScreenPx = pixelSizeUm / 2 ** shown.getZoom();
      const most = 120 * umOfScreenPx;
      const power = 10 ** Math.floor(Math.log10(most));
      const um = [5, 2, 1].map((times) => times * power).find((length) => length <= most);
      bar.style.width = `${um / umOfScreenPx}px`;
      bar.textContent = `${Number(um.toPrecision(1))} µm`;
    };
    shown.on("zoom viewreset", draw);
    shown.whenReady(draw);
    return bar;
  },
});

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=checkbox]), select")) return;
  const does = { ArrowLeft: () => show(at - 1), ArrowRight: () => show(at + 1), o: () => part("outlines").click(),
    t: () => part("truth")?.click(), "+": () => map.zoomIn(), "-": () => map.zoomOut() }[event.key];
  if (!does) return;
  event.preventDefault();
  does();
}

function wrong(event) {
  part("doubts").hidden = false;
  part("doubts").textContent = event.reason?.message ?? "This picture can't be loaded; load the page again.";
}

async function begin() {
  fields = await ask("GET", `${address}/fields`);
  inOrder("name");
  part("names").replaceChildren(...fields.map(({ name }) => Object.assign(document.createElement("option"), { value: name })));
  const wanted = new URLSearchParams(location.search).get("field");
  map.on("zoomend", () => {
    if (about && Math.round(1.2 / 2 ** map.getZoom()) !== widthPx) drawOutlines();
  });
  map.on("click", showNucleus);
  map.on("mousemove", ({ latlng }) => {
    const { y, x } = pixelOf(latlng);
    const um = (px) => (px * pixelSizeUm).toFixed(1);
    part("place").textContent = `x ${x} px (${um(x)} µm), y ${y} px (${um(y)} µm)`;
  });
  new ScaleBar().addTo(map);
  part("previous").addEventListener("click", () => show(at - 1));
  part("next").addEventListener("click", () => show(at + 1));
  part("order").addEventListener("change", (event) => show(inOrder(event.target.value)));
  part("jump").addEventListener("change", (event) => jumpTo(event.target.value));
  part("opacity").addEventListener("input", ({ target }) => [outlines, truth].map((layer) => layer.setOpacity(target.value)));
  for (const id of ["outlines", "truth"]) part(id)?.addEventListener("change", drawOutlines);
  for (const id of ["black", "white"]) {
    part(id).addEventListener("change", () => {
      part("auto").checked = false;
      drawImage();
    });
  }
  part("auto").addEventListener("change", () => {
    if (part("auto").checked) setSliders(about.usual);
    drawImage();
  });
  document.addEventListener("keydown", onKey);
  for (const layer of [image, outlines, truth]) layer.on("error", wrong);
  await show(Math.max(fields.findIndex(({ name }) => name === wanted), 0));
}

window.addEventListener("unhandledrejection", wrong);
begin();
