// The missing wedge: drag the outermost tilt; what it leaves unmeasured, and what becomes of the slice.
import { project, spectrum2d, wbp } from "./maths.js";
import { degrees, element, greyPicture, onDrag, panel, slider, slicePanel } from "./stage.js";

const PADDED = 256; // length of the transform
const DECADES = 3; // of Fourier magnitude shown
const [MIN_TILT, MAX_TILT] = [10, 90]; // degrees
const HALF = 52; // the Fourier plane in its own units: Nyquist is 50

/** Every multiple of step up to ±highest, as a microscope would record them. */
function tiltsTo(highest, step) {
  const n = Math.floor(highest / step + 1e-9);
  const tilts = Array.from({ length: 2 * n + 1 }, (_, i) => (i - n) * step);
  return tilts.filter((tilt) => tilt > -90); // ±90° see the same line
}

/** How much longer a small ball gets along the beam: Radermacher's √((α + sin α cos α) / (α − sin α cos α)). */
export function elongation(tiltDeg) {
  const alpha = (tiltDeg * Math.PI) / 180;
  const overlap = Math.sin(alpha) * Math.cos(alpha);
  return Math.sqrt((alpha + overlap) / (alpha - overlap));
}

function fourierPlane(magnitude) {
  const peak = magnitude[(PADDED / 2) * PADDED + PADDED / 2];
  const href = greyPicture(magnitude.map((m) => Math.log10(m / peak + 1e-12)), PADDED, PADDED, -DECADES, 0);
  const lines = element("path", { class: "etlab-ray etlab-faint" });
  const wedge = element("path", { class: "etlab-shade" });
  const borders = element("path", { class: "etlab-accent" });
  return {
    picture: element(
      "svg",
      { viewBox: `${-HALF} ${-HALF} ${2 * HALF} ${2 * HALF}`, class: "etlab-drag" },
      element("image", { href, x: -50, y: -50, width: 100, height: 100 }),
      ...[wedge, lines, borders],
    ),
    show(tilts, highest) {
      const end = (tilt) => [50 * Math.cos((tilt * Math.PI) / 180), -50 * Math.sin((tilt * Math.PI) / 180)];
      const across = ([x, y]) => `M ${-x} ${-y} L ${x} ${y}`;
      lines.setAttribute("d", tilts.map((tilt) => across(end(tilt))).join(" "));
      borders.setAttribute("d", [-highest, highest].map((tilt) => across(end(tilt))).join(" "));
      const [x, y] = end(highest);
      const cap = (sign) => `M 0 0 L ${sign * x} ${sign * y} A 50 50 0 0 0 ${-sign * x} ${sign * y} Z`;
      wedge.setAttribute("d", highest < 90 ? cap(1) + cap(-1) : "");
    },
  };
}

function render({ model, el }) {
  el.dataset.etlabFigure = "WedgeExplorer";
  const n = model.get("n");
  const bytes = model.get("slice");
  const slice = Float32Array.from({ length: n * n }, (_, i) => bytes.getFloat32(4 * i, true));
  const brightest = slice.reduce((a, b) => Math.max(a, b), 0);
  const specimen = slicePanel("the specimen in this slice");
  const answer = slicePanel("back-projection of the tilts chosen");
  const plane = fourierPlane(spectrum2d(slice, n, n, PADDED));
  const reached = slider("maximum tilt", { min: MIN_TILT, max: MAX_TILT, step: 1 }, (value) => show(value, step));
  const fineness = slider("step", { min: 1, max: 15, step: 1 }, (value) => show(highest, value));
  const told = element("p", { class: "etlab-told", "aria-live": "polite" });
  let highest = model.get("max_tilt_deg");
  let step = model.get("step_deg");

  function show(newHighest, newStep) {
    highest = Math.max(MIN_TILT, Math.min(MAX_TILT, Math.round(newHighest)));
    step = newStep;
    const tilts = tiltsTo(highest, step);
    const found = wbp(project(slice, n, n, tilts, n), n, n, tilts, n, step);
    answer.show(found, n, n, 0, brightest);
    plane.show(tilts, highest);
    reached.show(highest, `±${degrees(highest)}`);
    fineness.show(step, degrees(step));
    const missing = Math.round(100 * (1 - highest / 90));
    const longer = highest < 90 ? elongation(highest).toFixed(2) : "1.00";
    told.textContent = `${tilts.length} images; ${missing} % of the directions are missing; small things look ${longer} times as long along the beam.`;
  }
  onDrag(plane.picture, (event) => {
    const box = plane.picture.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
    show((Math.atan2(Math.abs(y), Math.abs(x)) * 180) / Math.PI, step);
  });

  specimen.show(slice, n, n, 0, brightest);
  el.append(
    element(
      "div",
      { class: "etlab-panels", role: "img", "aria-label": model.get("alt") },
      panel(specimen.picture, "The slice; the beam comes from above"),
      panel(plane.picture, "Its transform (log) and the lines that are measured: drag the outermost"),
      panel(answer.picture, "What back-projection makes of them"),
    ),
    element("div", { class: "etlab-controls" }, reached.row, fineness.row),
    told,
  );
  if (model.get("caption")) el.append(element("p", { class: "etlab-caption" }, model.get("caption")));
  show(highest, step);
}

export default { render };
