// SIRT as it iterates: the residual only falls, the error falls and rises again; drag along the curves.
import { sirt } from "./maths.js";
import { curvePanel, element, onDrag, panel, slider, slicePanel, unpacked } from "./stage.js";

/** Every iterate of SIRT up to the one asked for, each computed once. */
function iterates(images, truth, nz, ny, tilts, nRows) {
  const run = sirt(images, nz, ny, tilts, nRows);
  const norm = Math.sqrt(truth.reduce((sum, value) => sum + value ** 2, 0));
  const kept = [];
  return {
    kept,
    upTo(n) {
      while (kept.length < n) {
        const residual = run.step();
        if (kept.length > 0) kept.at(-1).residual = residual; // a step tells the residual before it
        const error = Math.sqrt(run.slice.reduce((sum, value, i) => sum + (value - truth[i]) ** 2, 0)) / norm;
        kept.push({ slice: Float32Array.from(run.slice), error, residual: NaN });
      }
      return kept[n - 1];
    },
  };
}

function render({ model, el }) {
  el.dataset.etlabFigure = "SirtExplorer";
  const [nz, ny] = model.get("shape");
  const [truth, images] = ["truth", "images"].map((name) => unpacked(model.get(name)));
  const tilts = model.get("tilts_deg");
  const most = model.get("n_iter");
  const brightest = truth.reduce((a, b) => Math.max(a, b), 0);
  const run = iterates(images, truth, nz, ny, tilts, images.length / tilts.length);
  const specimen = slicePanel("the specimen in this slice");
  const answer = slicePanel("SIRT at the iteration chosen");
  const ticks = [1, 2, 5, 10, 20, 50, 100, 200].filter((n) => n <= most);
  const curves = curvePanel({ x: [1, most], y: [0, 1], logX: true, xLabel: "iteration", yLabel: "relative", ticks });
  const control = slider("iteration", { min: 1, max: most, step: 1 }, show);
  const play = element("button", { type: "button", "aria-label": "play" }, "▶");
  const told = element("p", { class: "etlab-told", "aria-live": "polite" });
  let shown = 1;
  let playing = null;

  function show(iteration) {
    shown = Math.max(1, Math.min(most, Math.round(iteration)));
    run.upTo(Math.min(shown + 1, most)); // one ahead, which tells the residual of the one shown
    const { slice, error, residual } = run.kept[shown - 1];
    answer.show(slice, nz, ny, 0, brightest);
    curves.line(run.kept.map((one, i) => [i + 1, one.error]));
    curves.dots(run.kept.slice(0, -1).map((one, i) => [i + 1, one.residual]));
    curves.mark(shown);
    control.show(shown, String(shown));
    const misfit = Number.isNaN(residual) ? "" : `, residual ${residual.toFixed(3)}`;
    told.textContent = `After ${shown} iterations: error ${error.toFixed(3)}${misfit}.`;
  }
  function stop() {
    clearInterval(playing);
    playing = null;
    play.textContent = "▶";
    play.setAttribute("aria-label", "play");
  }
  play.addEventListener("click", () => {
    if (playing !== null) return stop();
    play.textContent = "⏸";
    play.setAttribute("aria-label", "pause");
    if (shown >= most) shown = 0;
    playing = setInterval(() => (shown < most ? show(shown + 1) : stop()), 120);
  });
  onDrag(curves.picture, (event) => show(curves.xAt(event)));

  specimen.show(truth, nz, ny, 0, brightest);
  const key = (name) => element("span", { class: `etlab-key etlab-key-${name}` });
  el.append(
    element(
      "div",
      { class: "etlab-panels", role: "img", "aria-label": model.get("alt") },
      panel(specimen.picture, "The slice"),
      panel(curves.picture, key("line"), " error, ", key("dots"), " residual: drag along them"),
      panel(answer.picture, "SIRT, at the iteration chosen"),
    ),
    element("div", { class: "etlab-controls etlab-with-button" }, play, control.row),
    told,
  );
  if (model.get("caption")) el.append(element("p", { class: "etlab-caption" }, model.get("caption")));
  show(model.get("start"));
}

export default { render };
