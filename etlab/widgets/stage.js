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
