// Total variation along a line: drag the small bump; what a weight λ leaves of it, of a ramp and of the noise.
import { element, onDrag, slider, unpacked } from "./stage.js";

const LINE = { width: 420, height: 210, left: 36, right: 14, top: 10, bottom: 34 };
const [LOW, HIGH] = [-0.15, 0.9]; // densities shown
const PLATEAU = { from: 14, to: 62, height: 0.6 };
const BUMP_FROM = 82;
const RAMP = { from: 124, to: 184, height: 0.7 };
const BESIDE = 6; // voxels on either side, against which the bump's height is measured

/**
 * The x with least ½ Σ (x − y)² + λ Σ |x[i+1] − x[i]|, exactly.
 *
 * As λ grows from 0, a run of n equal values that is higher than both neighbours sinks by 2/n, one that is lower than
 * both rises by 2/n, one between them stays; at an end of the line it is 1/n. Runs that meet stay together (Friedman et
 * al., Ann. Appl. Stat. 1 (2007) 302). So the path to λ is followed from meeting to meeting.
 */
export function flattened(y, lambda) {
  const runs = [];
  for (const value of y) {
    if (runs.length && runs.at(-1).value === value) runs.at(-1).n += 1;
    else runs.push({ value, n: 1 });
  }
  for (let left = lambda; left > 0 && runs.length > 1; ) {
    const up = (i) => Math.sign(runs[i + 1].value - runs[i].value);
    const speeds = runs.map(({ n }, i) => ((i + 1 < runs.length ? up(i) : 0) - (i > 0 ? up(i - 1) : 0)) / n);
    let [soonest, which] = [left, -1];
    for (let i = 0; i + 1 < runs.length; i++) {
      const closing = (speeds[i] - speeds[i + 1]) * up(i);
      const wait = Math.abs(runs[i + 1].value - runs[i].value) / closing;
      if (closing > 0 && wait < soonest) [soonest, which] = [wait, i];
    }
    runs.forEach((run, i) => (run.value += soonest * speeds[i]));
    left -= soonest;
    if (which < 0) break;
    runs[which].n += runs[which + 1].n;
    runs.splice(which + 1, 1);
  }
  return runs.flatMap(({ value, n }) => new Array(n).fill(value));
}

/** Density along the line: a plateau, a bump, a ramp. */
function profile(n, width, height) {
  return Array.from({ length: n }, (_, i) => {
    if (i >= PLATEAU.from && i < PLATEAU.to) return PLATEAU.height;
    if (i >= BUMP_FROM && i < BUMP_FROM + width) return height;
    if (i >= RAMP.from && i < RAMP.to) return (RAMP.height * (i + 1 - RAMP.from)) / (RAMP.to - RAMP.from);
    return 0;
  });
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function render({ model, el }) {
  el.dataset.etlabFigure = "VariationExplorer";
  const normal = unpacked(model.get("noise"));
  const n = normal.length;
  const [lines, mostWidth] = [LINE, RAMP.from - BUMP_FROM - BESIDE - 1];
  const across = (i) => lines.left + ((lines.width - lines.left - lines.right) * i) / n;
  const up = (value) => lines.height - lines.bottom - ((lines.height - lines.top - lines.bottom) * (value - LOW)) / (HIGH - LOW);
  const steps = (values) => values.map((v, i) => `${i ? "L" : "M"} ${across(i)} ${up(v).toFixed(1)} H ${across(i + 1)}`).join(" ");
  const truth = element("path", { class: "etlab-thin" });
  const measured = element("path", { class: "etlab-dots", style: "stroke-width: 2; opacity: 0.5" });
  const answer = element("path", { class: "etlab-accent" });
  const handle = element("circle", { r: 6, class: "etlab-fill" });
  const text = (x, y, words, anchor = "middle") => element("text", { x, y, "text-anchor": anchor }, words);
  const picture = element(
    "svg",
    {
      viewBox: `0 0 ${lines.width} ${lines.height}`,
      class: "etlab-drag",
      style: "max-width: 36rem; margin: 0 auto",
      role: "img",
      "aria-label": model.get("alt"),
    },
    element("path", { d: `M ${lines.left} ${lines.top} V ${lines.height - lines.bottom} H ${lines.width - lines.right}`, class: "etlab-thin" }),
    ...[0, 0.4, 0.8].map((tick) => text(lines.left - 5, up(tick) + 4, String(tick), "end")),
    ...[0, 50, 100, 150, 200].filter((tick) => tick <= n).map((tick) => text(across(tick), lines.height - lines.bottom + 14, String(tick))),
    text((lines.left + lines.width) / 2, lines.height - 4, "position [voxels]"),
    element("text", { x: -(lines.top + lines.height - lines.bottom) / 2, y: 10, "text-anchor": "middle", transform: "rotate(-90)" }, "density"),
    ...[truth, measured, answer, handle],
  );
  const state = Object.fromEntries(["lam", "width", "height", "sigma"].map((name) => [name, model.get(name)]));
  const controls = {
    lam: slider("λ", { min: 0, max: 2, step: 0.02 }, (lam) => show({ lam })),
    sigma: slider("noise", { min: 0, max: 0.12, step: 0.01 }, (sigma) => show({ sigma })),
    width: slider("bump width", { min: 1, max: mostWidth, step: 1 }, (width) => show({ width })),
    height: slider("bump height", { min: 0.02, max: 0.8, step: 0.02 }, (height) => show({ height })),
  };
  const told = element("p", { class: "etlab-told", "aria-live": "polite" });

  function show(changed) {
    Object.assign(state, changed);
    state.width = Math.max(1, Math.min(mostWidth, Math.round(state.width)));
    state.height = Math.max(0.02, Math.min(0.8, Math.round(state.height * 50) / 50));
    const { lam, sigma, width, height } = state;
    const density = profile(n, width, height);
    const data = density.map((value, i) => value + sigma * normal[i]);
    const found = flattened(data, lam);
    truth.setAttribute("d", steps(density));
    measured.setAttribute("d", data.map((value, i) => `M ${across(i + 0.5)} ${up(value).toFixed(1)} h 0`).join(" "));
    answer.setAttribute("d", steps(found));
    handle.setAttribute("cx", across(BUMP_FROM + width));
    handle.setAttribute("cy", up(height));
    controls.lam.show(lam, lam.toFixed(2));
    controls.sigma.show(sigma, sigma.toFixed(2));
    controls.width.show(width, `${width} voxels`);
    controls.height.show(height, height.toFixed(2));
    const bump = found.slice(BUMP_FROM, BUMP_FROM + width);
    const beside = [...found.slice(BUMP_FROM - BESIDE, BUMP_FROM), ...found.slice(BUMP_FROM + width, BUMP_FROM + width + BESIDE)];
    const kept = mean(bump) - mean(beside);
    const rule = Math.max(0, height - (2 * lam) / width);
    const ramp = found.slice(RAMP.from, RAMP.to);
    const treads = 1 + ramp.filter((value, i) => i > 0 && Math.abs(value - ramp[i - 1]) > 1e-9).length;
    told.textContent =
      `The bump, ${height.toFixed(2)} high, comes out ${kept.toFixed(2)} high; height − 2λ/width is ${rule.toFixed(2)}. ` +
      `The ramp has ${treads} levels.`.replace("-", "−");
  }
  onDrag(picture, (event) => {
    const box = picture.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * lines.width;
    const y = ((event.clientY - box.top) / box.height) * lines.height;
    const position = ((x - lines.left) * n) / (lines.width - lines.left - lines.right);
    const density = LOW + ((lines.height - lines.bottom - y) * (HIGH - LOW)) / (lines.height - lines.top - lines.bottom);
    show({ width: position - BUMP_FROM, height: density });
  });

  el.append(picture, element("div", { class: "etlab-controls" }, ...Object.values(controls).map(({ row }) => row)), told);
  if (model.get("caption")) el.append(element("p", { class: "etlab-caption" }, model.get("caption")));
  show({});
}

export default { render };
