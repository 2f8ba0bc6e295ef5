// What the showpieces share: making elements, dragging, one slider with its value read out.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "g", "line", "path", "circle", "rect", "image", "text", "clipPath", "title"]);

/** element("p", { class: "note" }, "text", child): an HTML or SVG element with attributes and children. */
export function element(tag, attributes = {}, ...children) {
  const made = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Angle as people read it: −20°. */
export function degrees(angle) {
  return `${Math.round(angle)}°`.replace("-", "−");
}

/** Calls moved(event, before) while the pointer drags on target; before is the event that came last. */
export function onDrag(target, moved) {
  let before = null;
  target.addEventListener("pointerdown", (event) => {
    target.setPointerCapture(event.pointerId);
    before = event;
    event.preventDefault(); // no text selection
  });
  target.addEventListener("pointermove", (event) => {
    if (before === null) return;
    moved(event, before);
    before = event;
  });
  const stop = () => (before = null);
  target.addEventListener("pointerup", stop);
  target.addEventListener("pointercancel", stop);
}

/** Degrees, counter-clockwise, by which the pointer went round the middle of target. */
export function turned(target, event, before) {
  const box = target.getBoundingClientRect();
  const angle = ({ clientX, clientY }) =>
    Math.atan2(box.top + box.height / 2 - clientY, clientX - box.left - box.width / 2) * (180 / Math.PI);
  const turn = angle(event) - angle(before);
  return turn - 360 * Math.round(turn / 360);
}

/** A labelled slider; changed(value) when the reader moves it, show(value, text) when something else did. */
export function slider(label, { min, max, step }, changed) {
  const input = element("input", { type: "range", min, max, step, "aria-label": label, autocomplete: "off" });
  const output = element("output");
  input.addEventListener("input", () => changed(Number(input.value)));
  input.addEventListener("keydown", (event) => event.stopPropagation()); // JupyterLab takes the arrow keys otherwise
  return {
    row: element("label", {}, element("span", {}, label), input, output),
    show(value, text) {
      input.value = value;
      input.setAttribute("aria-valuetext", text);
      output.textContent = text;
    },
  };
}

/** Address of a grey picture of values [row, column] between low and high, row 0 at the bottom. */
export function greyPicture(values, nRows, nColumns, low, high) {
  const canvas = element("canvas", { width: nColumns, height: nRows });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(nColumns, nRows);
  for (let row = 0; row < nRows; row++) {
    for (let column = 0; column < nColumns; column++) {
      const grey = (255 * (values[row * nColumns + column] - low)) / (high - low || 1);
      pixels.data.set([grey, grey, grey, 255], 4 * ((nRows - 1 - row) * nColumns + column)); // clamped to 0 … 255
    }
  }
  context.putImageData(pixels, 0, 0);
  return canvas.toDataURL();
}

/** A radio button for each option; changed(option) when the reader picks one. */
export function choice(label, options, changed) {
  const name = `etlab-choice-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
  const inputs = options.map((option) => element("input", { type: "radio", name, value: option, autocomplete: "off" }));
  for (const input of inputs) {
    input.addEventListener("change", () => changed(input.value));
    input.addEventListener("keydown", (event) => event.stopPropagation());
  }
  const buttons = inputs.map((input) => element("label", {}, input, element("span", {}, input.value)));
  return {
    row: element("fieldset", { class: "etlab-choice" }, element("legend", {}, label), ...buttons),
    show: (option) => inputs.forEach((input) => (input.checked = input.value === option)),
  };
}

/** A drawing with what it shows under it. */
export function panel(picture, ...text) {
  return element("div", {}, picture, element("p", {}, ...text));
}

/** A picture of a slice [z, y], beam from above, and what it is; show(slice, nz, ny, low, high) draws another. */
export function slicePanel(alt) {
  const image = element("img", { alt, class: "etlab-slice", draggable: "false" });
  return {
    picture: image,
    show(slice, nz, ny, low, high) {
      image.src = greyPicture(slice, nz, ny, low, high);
      image.style.aspectRatio = `${ny} / ${nz}`;
    },
  };
}

/** Float32 numbers from the bytes that Python packed. */
export function unpacked(bytes) {
  return Float64Array.from({ length: bytes.byteLength / 4 }, (_, i) => bytes.getFloat32(4 * i, true));
}

/** A small diagram: line(points) and dots(points) of [x, y], mark(x), and xAt(event), the x under the pointer. */
export function curvePanel({ x, y, xLabel, yLabel, ticks, logX = false }) {
  const [width, height, left, right, top, bottom] = [200, 200, 34, 8, 8, 32];
  const scale = logX ? Math.log : (value) => value;
  const [x0, x1] = x.map(scale);
  const across = (value) => left + ((width - left - right) * (scale(value) - x0)) / (x1 - x0);
  const up = (value) => {
    const share = Math.max(0, Math.min(1, (value - y[0]) / (y[1] - y[0])));
    return height - bottom - (height - top - bottom) * share;
  };
  const path = (points) => points.map(([a, b], i) => `${i ? "L" : "M"} ${across(a).toFixed(1)} ${up(b).toFixed(1)}`).join(" ");
  const line = element("path", { class: "etlab-accent" });
  const dots = element("path", { class: "etlab-dots" });
  const mark = element("path", { class: "etlab-line" });
  const text = (left_, top_, words, anchor = "middle") => element("text", { x: left_, y: top_, "text-anchor": anchor }, words);
  const picture = element(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, class: "etlab-drag etlab-sideways" },
    element("path", { d: `M ${left} ${top} V ${height - bottom} H ${width - right}`, class: "etlab-thin" }),
    ...ticks.map((tick) => text(across(tick), height - bottom + 13, String(tick))),
    ...y.map((end) => text(left - 5, up(end) + 4, String(end), "end")),
    text((left + width - right) / 2, height - 4, `${xLabel} →`),
    element("text", { x: -(top + height - bottom) / 2, y: 12, "text-anchor": "middle", transform: "rotate(-90)" }, `${yLabel} →`),
    ...[dots, line, mark],
  );
  return {
    picture,
    line: (points) => line.setAttribute("d", path(points)),
    dots: (points) => dots.setAttribute("d", points.map((point) => `${path([point])} h 0`).join(" ")),
    mark: (value) => mark.setAttribute("d", `M ${across(value)} ${top} V ${height - bottom}`),
    xAt(event) {
      const box = picture.getBoundingClientRect();
      const share = (((event.clientX - box.left) / box.width) * width - left) / (width - left - right);
      const value = x0 + Math.max(0, Math.min(1, share)) * (x1 - x0);
      return logX ? Math.exp(value) : value;
    },
  };
}
