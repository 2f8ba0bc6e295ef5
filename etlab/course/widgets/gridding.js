// Fourier iteration: the grid points that the images fill, and what positivity and a support make of the rest.
import { fft } from "./maths.js";
import { curvePanel, degrees, element, greyPicture, onDrag, panel, slider, unpacked } from "./stage.js";

const CLOSEST = 0.1; // grid steps, as in genfire.py
const FAR = 3; // weight that is shown as white

/** Transform of re + i·im [row, column] in place, size a power of two; twice with conjugation is the inverse. */
export function fft2(re, im, size) {
  for (let row = 0; row < size; row++) {
    fft(re.subarray(row * size, (row + 1) * size), im.subarray(row * size, (row + 1) * size));
  }
  const columnRe = new Float64Array(size);
  const columnIm = new Float64Array(size);
  for (let column = 0; column < size; column++) {
    for (let row = 0; row < size; row++) {
      columnRe[row] = re[row * size + column];
      columnIm[row] = im[row * size + column];
    }
    fft(columnRe, columnIm);
    for (let row = 0; row < size; row++) {
      re[row * size + column] = columnRe[row];
      im[row * size + column] = columnIm[row];
    }
  }
}

/**
 * Images [tilt, row] of a slice n × n put on a Fourier grid size × size, as genfire.py does: weights [k_z, k_y], 0 where
 * nothing was measured, and re, im there, counted from the corner of the grid. All of the plane, by symmetry.
 */
export function gridded(images, nRows, tiltsDeg, n, size, radius) {
  const weights = new Float64Array(size * size);
  const re = new Float64Array(size * size);
  const im = new Float64Array(size * size);
  const frequency = (i) => (i < size / 2 ? i : i - size) / size;
  for (let tilt = 0; tilt < tiltsDeg.length; tilt++) {
    const [c, s] = [Math.cos((tiltsDeg[tilt] * Math.PI) / 180), Math.sin((tiltsDeg[tilt] * Math.PI) / 180)];
    for (let z = 0; z < size; z++) {
      for (let y = 0; y < size / 2; y++) {
        const [kz, ky] = [frequency(z), frequency(y)];
        const distance = Math.abs(kz * c - ky * s) * size;
        if (distance >= radius || Math.hypot(kz, ky) >= 0.5) continue;
        const along = 2 * Math.PI * (ky * c + kz * s);
        const weight = 1 / Math.max(distance, CLOSEST);
        let [sumRe, sumIm] = [0, 0];
        // e^(−i·along·row) from one row to the next by a rotation
        let [waveRe, waveIm] = [Math.cos((along * (nRows - 1)) / 2), Math.sin((along * (nRows - 1)) / 2)];
        const [turnRe, turnIm] = [Math.cos(along), -Math.sin(along)];
        for (let row = 0; row < nRows; row++) {
          const value = images[tilt * nRows + row];
          sumRe += value * waveRe;
          sumIm += value * waveIm;
          [waveRe, waveIm] = [waveRe * turnRe - waveIm * turnIm, waveRe * turnIm + waveIm * turnRe];
        }
        re[z * size + y] += weight * sumRe;
        im[z * size + y] += weight * sumIm;
        weights[z * size + y] += weight;
      }
    }
  }
  for (let z = 0; z < size; z++) {
    for (let y = 0; y < size / 2; y++) {
      const i = z * size + y;
      if (weights[i] === 0) continue;
      const phase = -Math.PI * (n - 1) * (frequency(z) + frequency(y)); // from the centre to the corner
      const [a, b] = [re[i] / weights[i], im[i] / weights[i]];
      re[i] = a * Math.cos(phase) - b * Math.sin(phase);
      im[i] = a * Math.sin(phase) + b * Math.cos(phase);
      if (y === 0) continue;
      const mirrored = ((size - z) % size) * size + size - y;
      [re[mirrored], im[mirrored], weights[mirrored]] = [re[i], -im[i], weights[i]];
    }
  }
  return { weights, re, im };
}

/** Fourier iteration from zero: step() makes the next slice, in place; spectrum() is that of the slice before it. */
export function fourierIteration(grid, n, size, allowed) {
  const slice = new Float64Array(n * n);
  const re = new Float64Array(size * size);
  const im = new Float64Array(size * size);
  const before = { re: new Float64Array(size * size), im: new Float64Array(size * size) };
  return {
    slice,
    spectrum: () => before,
    step() {
      re.fill(0);
      im.fill(0);
      for (let z = 0; z < n; z++) re.set(slice.subarray(z * n, (z + 1) * n), z * size);
      fft2(re, im, size);
      before.re.set(re);
      before.im.set(im);
      let [missed, total] = [0, 0];
      for (let z = 0; z < size; z++) {
        for (let y = 0; y < size; y++) {
          const i = z * size + y;
          if (grid.weights[i] === 0) continue;
          if (y < size / 2) {
            missed += Math.hypot(re[i] - grid.re[i], im[i] - grid.im[i]);
            total += Math.hypot(grid.re[i], grid.im[i]);
          }
          [re[i], im[i]] = [grid.re[i], grid.im[i]];
        }
      }
      for (let i = 0; i < im.length; i++) im[i] = -im[i];
      fft2(re, im, size);
      for (let z = 0; z < n; z++) {
        for (let y = 0; y < n; y++) {
          slice[z * n + y] = allowed(z, y) ? Math.max(0, re[z * size + y] / (size * size)) : 0;
        }
      }
      return missed / (total || 1);
    },
  };
}

function render({ model, el }) {
  el.dataset.etlabFigure = "GriddingExplorer";
  const [truth, allImages] = [unpacked(model.get("truth")), unpacked(model.get("images"))];
  const allTilts = model.get("tilts_deg");
  const [n, nRows] = [Math.round(Math.sqrt(truth.length)), allImages.length / allTilts.length];
  const size = 2 * n;
  const most = model.get("n_iter");
  const widest = Math.ceil(n / Math.SQRT2); // of the support: beyond the corners
  const brightest = truth.reduce((a, b) => Math.max(a, b), 0);
  const apart = allTilts[1] - allTilts[0];
  const keeps = [1, 2, 3, 4, 5, 6, 10, 15].filter((k) => (allTilts.length - 1) % k === 0);
  const frequency = (i) => (i < size / 2 ? i : i - size) / size;
  const outermost = Math.tan((Math.max(...allTilts.map(Math.abs)) * Math.PI) / 180);
  const inside = [];
  const wedge = [];
  for (let z = 0; z < size; z++) {
    for (let y = 0; y < size; y++) {
      const [kz, ky] = [Math.abs(frequency(z)), Math.abs(frequency(y))];
      if (Math.hypot(kz, ky) >= 0.5) continue;
      inside.push(z * size + y);
      if (kz > ky * outermost + 1 / size) wedge.push(z * size + y);
    }
  }
  const true_ = { re: new Float64Array(size * size), im: new Float64Array(size * size) };
  for (let z = 0; z < n; z++) true_.re.set(truth.subarray(z * n, (z + 1) * n), z * size);
  fft2(true_.re, true_.im, size);
  const truthSize = Math.sqrt(truth.reduce((sum, value) => sum + value ** 2, 0));

  const state = { keep: 1, radius: model.get("radius"), support: model.get("support"), iteration: model.get("start") };
  let [grid, run, kept] = [null, null, []];

  function agreement(spectrum) {
    let [both, found, real] = [0, 0, 0];
    for (const i of wedge) {
      both += spectrum.re[i] * true_.re[i] + spectrum.im[i] * true_.im[i];
      found += spectrum.re[i] ** 2 + spectrum.im[i] ** 2;
      real += true_.re[i] ** 2 + true_.im[i] ** 2;
    }
    return found > 0 ? both / Math.sqrt(found * real) : 0;
  }
  function upTo(wanted) {
    while (kept.length <= wanted) {
      const factor = run.step();
      if (kept.length > 0) Object.assign(kept.at(-1), { factor, agreement: agreement(run.spectrum()) });
      const error = Math.sqrt(run.slice.reduce((sum, value, i) => sum + (value - truth[i]) ** 2, 0)) / truthSize;
      kept.push({ slice: Float32Array.from(run.slice), error });
    }
  }
  function restart(regrid) {
    if (regrid) {
      const tilts = allTilts.filter((_, i) => i % state.keep === 0);
      const images = Float64Array.from({ length: tilts.length * nRows }, (_, i) => {
        return allImages[Math.floor(i / nRows) * state.keep * nRows + (i % nRows)];
      });
      grid = gridded(images, nRows, tilts, n, size, state.radius);
      const shown = Float64Array.from(grid.weights, (_, i) => {
        const [row, column] = [Math.floor(i / size), i % size];
        const weight = grid.weights[((row + size / 2) % size) * size + ((column + size / 2) % size)];
        return Math.sqrt(weight);
      });
      plane.setAttribute("href", greyPicture(shown, size, size, 0, FAR));
    }
    const centre = (n - 1) / 2;
    run = fourierIteration(grid, n, size, (z, y) => Math.hypot(z - centre, y - centre) < state.support);
    kept = [];
  }

  const plane = element("image", { x: 0, y: 0, width: n, height: n, style: "image-rendering: pixelated" });
  const drawing = (...children) => element("svg", { viewBox: `0 0 ${n} ${n}` }, ...children);
  const answer = element("image", { x: 0, y: 0, width: n, height: n });
  const circle = element("circle", { cx: n / 2, cy: n / 2, class: "etlab-accent" });
  const slicePicture = drawing(answer, circle);
  slicePicture.setAttribute("class", "etlab-drag");
  slicePicture.style.overflow = "hidden";
  const curves = curvePanel({
    x: [1, most], y: [0, 1], logX: true, xLabel: "iteration", yLabel: "R, correlation",
    ticks: [1, 2, 5, 10, 20, 50].filter((tick) => tick <= most),
  });
  const controls = {
    keep: slider("tilt step", { min: 0, max: keeps.length - 1, step: 1 }, (i) => show({ keep: keeps[i] }, true)),
    radius: slider("radius", { min: 0.1, max: 1.5, step: 0.1 }, (radius) => show({ radius }, true)),
    support: slider("support", { min: 4, max: widest, step: 1 }, (support) => show({ support })),
    iteration: slider("iteration", { min: 1, max: most, step: 1 }, (iteration) => show({ iteration })),
  };
  const told = element("p", { class: "etlab-told", "aria-live": "polite" });

  function show(changed, regrid = false) {
    const again = regrid || changed.support !== undefined || run === null;
    Object.assign(state, changed);
    state.support = Math.max(4, Math.min(widest, Math.round(state.support)));
    state.iteration = Math.max(1, Math.min(most, Math.round(state.iteration)));
    if (again) restart(regrid);
    upTo(state.iteration);
    const { slice, error, factor, agreement: wedged } = kept[state.iteration - 1];
    answer.setAttribute("href", greyPicture(slice, n, n, 0, brightest));
    circle.setAttribute("r", state.support);
    const complete = kept.slice(0, -1);
    curves.line(complete.map((one, i) => [i + 1, one.agreement]));
    curves.dots(complete.map((one, i) => [i + 1, one.factor]));
    curves.mark(state.iteration);
    const filled = inside.reduce((sum, i) => sum + (grid.weights[i] > 0), 0) / inside.length;
    const nImages = 1 + (allTilts.length - 1) / state.keep;
    controls.keep.show(keeps.indexOf(state.keep), degrees(apart * state.keep));
    controls.radius.show(state.radius, `${state.radius.toFixed(1)} steps`);
    controls.support.show(state.support, state.support === widest ? "none" : `${state.support} px`);
    controls.iteration.show(state.iteration, String(state.iteration));
    told.textContent =
      `${nImages} images fill ${Math.round(100 * filled)} % of the grid. R-factor ${factor.toFixed(2)}, ` +
      `error ${error.toFixed(2)}, correlation with the truth in the wedge ${wedged.toFixed(2)}.`.replace("-", "−");
  }
  onDrag(slicePicture, (event) => {
    const box = slicePicture.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
    show({ support: (Math.hypot(x, y) * n) / box.width });
  });
  onDrag(curves.picture, (event) => show({ iteration: curves.xAt(event) }));

  const key = (name) => element("span", { class: `etlab-key etlab-key-${name}` });
  el.append(
    element(
      "div",
      { class: "etlab-panels", role: "img", "aria-label": model.get("alt") },
      panel(drawing(plane), "Points of the Fourier grid that hold a measurement; brighter: nearer or more"),
      panel(slicePicture, "The slice; outside the circle it must be empty: drag it"),
      panel(curves.picture, key("line"), " correlation in the wedge, ", key("dots"), " R-factor: drag along them"),
    ),
    element("div", { class: "etlab-controls" }, ...Object.values(controls).map(({ row }) => row)),
    told,
  );
  if (model.get("caption")) el.append(element("p", { class: "etlab-caption" }, model.get("caption")));
  show({}, true);
}

export default { render };
