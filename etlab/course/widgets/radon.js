// The central slice theorem: turn the beam; projection, sinogram line and Fourier line move together.
import { project, spectrum1d, spectrum2d, spectrumOnLine } from "./maths.js";
import { degrees, element, greyPicture, onDrag, slider, turned } from "./stage.js";

const TILTS = Array.from({ length: 181 }, (_, i) => i - 90); // degrees, of the sinogram
const PADDED = 256; // length of the transforms
const [PICTURE_DECADES, CURVE_DECADES] = [4, 3]; // of Fourier magnitude shown
const K_SHOWN = 0.25; // cycles per pixel; above, the interpolation between rows damps the projection's transform
const N_K = K_SHOWN * PADDED + 1;
// the stage in its own units: the slice's disc has radius 100
const [RADIUS, DETECTOR, PROFILE, HALF] = [100, 112, 46, 166];
const CURVES = { width: 340, height: 104, left: 12, right: 12, top: 6, bottom: 20 };

function stage(slice, n) {
  const arrow = "M 0 -128 V -108 M -4 -115 L 0 -107 L 4 -115";
  const rays = [-80, -40, 0, 40, 80].map((s) => `M ${s} ${-Math.sqrt(RADIUS ** 2 - s ** 2) - 4} V ${DETECTOR}`);
  const profile = element("path", { class: "etlab-fill" });
  const beam = element(
    "g",
    {},
    element("path", { d: rays.join(" "), class: "etlab-ray" }),
    ...[-60, -20, 20, 60].map((s) => element("path", { d: arrow, class: "etlab-line", transform: `translate(${s} 0)` })),
    profile,
    element("path", { d: `M ${-RADIUS} ${DETECTOR} H ${RADIUS}`, class: "etlab-line" }),
  );
  const clip = `etlab-disc-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
  const picture = element(
    "svg",
    { viewBox: `${-HALF} ${-HALF} ${2 * HALF} ${2 * HALF}`, class: "etlab-drag etlab-turn" },
    element("clipPath", { id: clip }, element("circle", { r: RADIUS })),
    element("image", {
      href: greyPicture(slice, n, n, 0, Math.max(...slice)),
      ...{ x: -RADIUS, y: -RADIUS, width: 2 * RADIUS, height: 2 * RADIUS, "clip-path": `url(#${clip})` },
    }),
    beam,
  );
  return {
    picture,
    show(tiltDeg, projection, highest) {
      const points = Array.from(projection, (value, row) => {
        const s = ((row - (n - 1) / 2) / (n / 2)) * RADIUS;
        return `L ${s.toFixed(1)} ${(DETECTOR + (PROFILE * Math.max(value, 0)) / highest).toFixed(1)}`;
      });
      profile.setAttribute("d", `M ${-RADIUS} ${DETECTOR} ${points.join(" ")} L ${RADIUS} ${DETECTOR} Z`);
      beam.setAttribute("transform", `rotate(${-tiltDeg})`); // SVG turns clockwise
    },
  };
}

function sinogramPanel(sinogram, n, highest) {
  const href = greyPicture(sinogram, TILTS.length, n, 0, highest);
  const line = element("line", { x1: 0, x2: 100, class: "etlab-accent" });
  const image = element("image", { href, width: 100, height: 100, preserveAspectRatio: "none" });
  return {
    picture: element("svg", { viewBox: "0 0 100 100", class: "etlab-drag etlab-updown" }, image, line),
    show(tiltDeg) {
      const y = 100 * (1 - (tiltDeg + 90.5) / 181);
      line.setAttribute("y1", y);
      line.setAttribute("y2", y);
    },
  };
}

function fourierPanel(magnitude) {
  const peak = magnitude[(PADDED / 2) * PADDED + PADDED / 2];
  const href = greyPicture(magnitude.map((m) => Math.log10(m / peak + 1e-12)), PADDED, PADDED, -PICTURE_DECADES, 0);
  const line = element("line", { x1: -50, x2: 50, class: "etlab-accent" });
  const image = element("image", { href, x: -50, y: -50, width: 100, height: 100 });
  return {
    picture: element("svg", { viewBox: "-50 -50 100 100", class: "etlab-drag etlab-turn" }, image, line),
    show: (tiltDeg) => line.setAttribute("transform", `rotate(${-tiltDeg})`),
  };
}

function curvesPanel() {
  const { width, height, left, right, top, bottom } = CURVES;
  const x = (k) => left + ((width - left - right) * k) / K_SHOWN;
  const y = (ratio) => top + (height - top - bottom) * Math.min(1, -Math.log10(ratio + 1e-12) / CURVE_DECADES);
  const ofProjection = element("path", { class: "etlab-accent" });
  const ofSlice = element("path", { class: "etlab-dots" });
  const ticks = [0, 0.05, 0.1, 0.15, 0.2, 0.25].map((k) =>
    element("text", { x: x(k), y: height - 4, "text-anchor": "middle" }, String(k)),
  );
  const frame = element("path", { d: `M ${left} ${top} V ${height - bottom} H ${width - right}`, class: "etlab-thin" });
  const trace = (values) => values.map((v, i) => `L ${x(i / PADDED).toFixed(1)} ${y(v).toFixed(1)}`);
  return {
    picture: element("svg", { viewBox: `0 0 ${width} ${height}` }, frame, ...ticks, ofProjection, ofSlice),
    show(fromProjection, fromSlice) {
      const ratio = (values) => Array.from(values, (value) => value / fromSlice[0]);
      ofProjection.setAttribute("d", trace(ratio(fromProjection)).join(" ").replace("L", "M"));
      const dots = trace(ratio(fromSlice)).filter((_, i) => i % 2 === 0);
      ofSlice.setAttribute("d", dots.map((dot) => `${dot.replace("L", "M")} h 0`).join(" "));
    },
  };
}

function render({ model, el }) {
  el.dataset.etlabFigure = "RadonExplorer";
  const n = model.get("n");
  const bytes = model.get("slice");
  const slice = Float32Array.from({ length: n * n }, (_, i) => bytes.getFloat32(4 * i, true));
  const sinogram = project(slice, n, n, TILTS, n);
  const highest = sinogram.reduce((a, b) => Math.max(a, b), 0);

  const specimen = stage(slice, n);
  const lines = sinogramPanel(sinogram, n, highest);
  const fourier = fourierPanel(spectrum2d(slice, n, n, PADDED));
  const curves = curvesPanel();
  const control = slider("tilt", { min: -90, max: 90, step: 1 }, show);

  let tiltDeg = model.get("tilt_deg");
  function show(newTilt) {
    tiltDeg = Math.max(-90, Math.min(90, newTilt));
    const projection = project(slice, n, n, [tiltDeg], n);
    specimen.show(tiltDeg, projection, highest);
    lines.show(tiltDeg);
    fourier.show(tiltDeg);
    curves.show(spectrum1d(projection, PADDED, N_K), spectrumOnLine(slice, n, n, tiltDeg, PADDED, N_K));
    control.show(tiltDeg, degrees(tiltDeg));
  }
  for (const { picture } of [specimen, fourier]) {
    onDrag(picture, (event, before) => show(tiltDeg + turned(picture, event, before)));
  }
  onDrag(lines.picture, (event) => {
    const box = lines.picture.getBoundingClientRect();
    show(90 - (180 * (event.clientY - box.top)) / box.height);
  });

  const panel = (name, picture, ...text) =>
    element("div", { class: `etlab-${name}` }, picture, element("p", {}, ...text));
  const key = (name) => element("span", { class: `etlab-key etlab-key-${name}` });
  el.append(
    element(
      "div",
      { class: "etlab-radon", role: "img", "aria-label": model.get("alt") },
      panel("specimen", specimen.picture, "Slice, beam and projection: turn the beam"),
      panel("sinogram", lines.picture, "Sinogram: row s →, tilt ↑"),
      panel("fourier", fourier.picture, "2-D transform (log): k", element("sub", {}, "y"), " →, k", element("sub", {}, "z"), " ↑"),
      panel("curves", curves.picture, key("line"), " |F| of the projection   ", key("dots"),
        ` |F| of the slice along the line, ${CURVE_DECADES} decades; k [1/px] →`),
    ),
    element("div", { class: "etlab-controls" }, control.row),
  );
  if (model.get("caption")) el.append(element("p", { class: "etlab-caption" }, model.get("caption")));
  show(tiltDeg);
}

export default { render };
