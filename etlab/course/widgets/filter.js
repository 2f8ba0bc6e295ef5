// Weighted back-projection with another filter: drag the cut-off, choose the window, see the slice and its error.
import { rampFilter, wbp } from "./maths.js";
import { choice, curvePanel, element, onDrag, panel, slider, slicePanel, unpacked } from "./stage.js";

const OFFERED = ["ramp", "shepp-logan", "cosine", "hann"];
const [LOWEST, N_SHOWN] = [0.1, 256]; // least cut-off as a share of Nyquist; length of the transform of the curve

function render({ model, el }) {
  el.dataset.etlabFigure = "FilterExplorer";
  const [nz, ny] = model.get("shape");
  const [truth, images] = ["truth", "images"].map((name) => unpacked(model.get(name)));
  const tilts = model.get("tilts_deg");
  const nRows = images.length / tilts.length;
  const brightest = truth.reduce((a, b) => Math.max(a, b), 0);
  const specimen = slicePanel("the specimen in this slice");
  const answer = slicePanel("weighted back-projection of the noisy images");
  const curve = curvePanel({ x: [0, 0.5], y: [0, 0.5], xLabel: "k [1/px]", yLabel: "filter", ticks: [0, 0.1, 0.2, 0.3, 0.4, 0.5] });
  const windows = choice("window", OFFERED, (name) => show(name, cutoff));
  const cut = slider("cut-off", { min: LOWEST, max: 1, step: 0.02 }, (value) => show(window_, value));
  const told = element("p", { class: "etlab-told", "aria-live": "polite" });
  let window_ = model.get("window");
  let cutoff = model.get("cutoff");

  function show(newWindow, newCutoff) {
    window_ = newWindow;
    cutoff = Math.max(LOWEST, Math.min(1, newCutoff));
    const found = wbp(images, nz, ny, tilts, nRows, model.get("step_deg"), window_, cutoff);
    answer.show(found, nz, ny, 0, brightest);
    const filter = rampFilter(N_SHOWN, window_, cutoff);
    curve.line(Array.from(filter, (value, k) => [k / N_SHOWN, value]));
    curve.mark(cutoff / 2);
    windows.show(window_);
    cut.show(cutoff, `${(cutoff / 2).toFixed(2)} / px`);
    const squares = found.reduce((sum, value, i) => sum + (value - truth[i]) ** 2, 0);
    told.textContent = `Root mean square error ${Math.sqrt(squares / truth.length).toFixed(3)}, of a brightest value of ${brightest.toFixed(2)}.`;
  }
  onDrag(curve.picture, (event) => show(window_, 2 * curve.xAt(event)));

  specimen.show(truth, nz, ny, 0, brightest);
  el.append(
    element(
      "div",
      { class: "etlab-panels", role: "img", "aria-label": model.get("alt") },
      panel(specimen.picture, "The slice"),
      panel(curve.picture, "The filter over frequency: drag its end"),
      panel(answer.picture, "Weighted back-projection of the noisy images"),
    ),
    element("div", { class: "etlab-controls" }, windows.row, cut.row),
    told,
  );
  if (model.get("caption")) el.append(element("p", { class: "etlab-caption" }, model.get("caption")));
  show(window_, cutoff);
}

export default { render };
