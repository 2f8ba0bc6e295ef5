// The tilt series as a film: drag on the picture or tilt the holder; the image of that tilt appears.
import { degrees, element, onDrag, slider, turned } from "./stage.js";

const FRAMES_PER_SECOND = 12;

// Seen along the tilt axis, as in the conventions drawing: positive tilts turn the holder clockwise.
function holderDrawing() {
  const beam = [-60, -30, 0, 30, 60].map((x) => `M ${x} -92 V 84`).join(" ");
  const heads = [-60, -30, 0, 30, 60].map((x) => `M ${x - 3} -84 L ${x} -77 L ${x + 3} -84`).join(" ");
  const holder = element(
    "g",
    {},
    element("rect", { x: -72, y: -7, width: 144, height: 14, rx: 3, class: "etlab-slab" }),
    element("path", { d: "M 72 0 H 90", class: "etlab-accent" }),
  );
  const picture = element(
    "svg",
    { viewBox: "-100 -100 200 200", class: "etlab-drag etlab-turn", "aria-hidden": "true" },
    element("path", { d: beam, class: "etlab-thin" }),
    element("path", { d: heads, class: "etlab-line" }),
    element("path", { d: "M -90 0 H 90", class: "etlab-thin" }),
    holder,
    element("circle", { r: 3, class: "etlab-line" }),
    element("path", { d: "M -80 86 H 80", class: "etlab-line etlab-thick" }),
  );
  return { picture, show: (tiltDeg) => holder.setAttribute("transform", `rotate(${tiltDeg})`) };
}

function render({ model, el }) {
  el.dataset.etlabFigure = "TiltSeriesFilm";
  const tilts = model.get("tilts_deg");
  const size = model.get("frame_size");
  const perLine = model.get("frames_per_line");
  const nearest = (tiltDeg) =>
    tilts.reduce((best, tilt, i) => (Math.abs(tilt - tiltDeg) < Math.abs(tilts[best] - tiltDeg) ? i : best), 0);

  const canvas = element("canvas", {
    width: size,
    height: size,
    class: "etlab-drag etlab-sideways",
    role: "img",
    "aria-label": model.get("alt"),
  });
  const holder = holderDrawing();
  const control = slider("tilt", { min: 0, max: tilts.length - 1, step: 1 }, (index) => {
    pause();
    show(index);
  });
  const play = element("button", { type: "button" }, "▶");

  let current = nearest(0);
  let between = 0; // where the pointer is between two frames
  const sprite = new Image();
  sprite.addEventListener("load", () => show(current));
  const bytes = model.get("frames");
  sprite.src = URL.createObjectURL(new Blob([bytes], { type: "image/webp" }));

  function show(index) {
    current = Math.max(0, Math.min(tilts.length - 1, index));
    const [x, y] = [(current % perLine) * size, Math.floor(current / perLine) * size];
    canvas.getContext("2d").drawImage(sprite, x, y, size, size, 0, 0, size, size);
    holder.show(tilts[current]);
    control.show(current, degrees(tilts[current]));
  }

  let timer = null;
  let direction = 1;
  function pause() {
    clearInterval(timer);
    timer = null;
    play.textContent = "▶";
    play.setAttribute("aria-label", "play the tilt series");
  }
  play.addEventListener("click", () => {
    if (timer !== null) return pause();
    // it never starts by itself, and goes slowly where the reader asks for less motion
    const rate = matchMedia("(prefers-reduced-motion: reduce)").matches ? 3 : FRAMES_PER_SECOND;
    play.textContent = "❚❚";
    play.setAttribute("aria-label", "pause the tilt series");
    timer = setInterval(() => {
      if (current + direction < 0 || current + direction >= tilts.length) direction = -direction;
      show(current + direction);
    }, 1000 / rate);
  });
  pause();

  onDrag(canvas, (event, before) => {
    pause();
    between += ((event.clientX - before.clientX) / canvas.clientWidth) * tilts.length;
    const steps = Math.trunc(between);
    between -= steps;
    show(current + steps);
  });
  let angle = tilts[current];
  holder.picture.addEventListener("pointerdown", () => (angle = tilts[current]));
  onDrag(holder.picture, (event, before) => {
    pause();
    angle -= turned(holder.picture, event, before);
    show(nearest(angle));
  });

  const field = model.get("field_nm");
  el.append(
    element(
      "div",
      { class: "etlab-film" },
      element("div", {}, canvas, element("p", {}, field ? `Image, ${field} nm wide; tilt axis →` : "Image; tilt axis →")),
      element("div", {}, holder.picture, element("p", {}, "Beam, holder, detector, seen along the tilt axis")),
    ),
    element("div", { class: "etlab-controls etlab-with-button" }, play, control.row),
  );
  if (model.get("caption")) el.append(element("p", { class: "etlab-caption" }, model.get("caption")));
  show(current);
  return pause;
}

export default { render };
