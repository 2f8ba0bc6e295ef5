// How a dose is spent: drag over the fan of tilts, choose their order and the dose; what the beam leaves of the specimen
// and what the images show of it. The damage is that of etlab/acquisition.py, the noise that of etlab/forward.py.
import { fft, project, wbp } from "./maths.js";
import { choice, degrees, element, greyPicture, onDrag, panel, slider, slicePanel, unpacked } from "./stage.js";

const VIRIDIS = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"];
const WHITE = 0.7; // of the densest voxel, for the reconstruction
const [INNER, OUTER] = [41, 54]; // where a spoke of the fan begins and ends; the slice is 80 wide

/** Colour of a share in 0 … 1, from dark to bright. */
function viridis(share) {
  const at = Math.max(0, Math.min(1, share)) * (VIRIDIS.length - 1);
  const [below, part] = [Math.min(Math.floor(at), VIRIDIS.length - 2), at - Math.min(Math.floor(at), VIRIDIS.length - 2)];
  const channel = (hex, i) => parseInt(hex.slice(1 + 2 * i, 3 + 2 * i), 16);
  const mixed = [0, 1, 2].map((i) => (1 - part) * channel(VIRIDIS[below], i) + part * channel(VIRIDIS[below + 1], i));
  return `rgb(${mixed.map(Math.round).join(" ")})`;
}

/** Counts whose cumulative probability first reaches u, for a Poisson law: one number per pixel, as Detector draws them. */
export function poissonQuantile(u, expected) {
  if (expected <= 0) return 0;
  let count = expected < 100 ? 0 : Math.floor(expected - 10 * Math.sqrt(expected)); // what lies below is beyond 1 in 10²⁰
  const logFactorial = count === 0 ? 0 : (count + 0.5) * Math.log(count) - count + 0.5 * Math.log(2 * Math.PI) + 1 / (12 * count);
  let probability = Math.exp(count * Math.log(expected) - expected - logFactorial);
  let total = probability;
  while (total < u && count < expected + 12 * Math.sqrt(expected) + 30) {
    count += 1;
    probability *= expected / count;
    total += probability;
  }
  return count;
}

/** Lines of numbers [line, n] spread by sigmas[line] and multiplied by factors[line], zeros around them. */
export function spreadRows(lines, n, sigmas, factors) {
  const padded = 2 ** Math.ceil(Math.log2(2 * n));
  const spread = new Float64Array(lines.length);
  sigmas.forEach((sigma, line) => {
    const [re, im] = [new Float64Array(padded), new Float64Array(padded)];
    re.set(lines.subarray(line * n, (line + 1) * n));
    fft(re, im);
    for (let k = 0; k < padded; k++) {
      const f = Math.min(k, padded - k) / padded;
      const gain = (factors[line] / padded) * Math.exp(-2 * (Math.PI * f * sigma) ** 2);
      re[k] *= gain;
      im[k] *= -gain; // the transform of the conjugate is the inverse
    }
    fft(re, im);
    spread.set(re.subarray(0, n), line * n);
  });
  return spread;
}

/** Rows become columns. */
function transposed(slice, n) {
  return Float64Array.from({ length: n * n }, (_, i) => slice[(i % n) * n + Math.floor(i / n)]);
}

/** What the beam leaves after a dose: the share of the mass, and how far features have spread, σ in pixels. */
export function leftAfter(dose, massDose, blurDose) {
  return { mass: Math.exp(-dose / massDose), sigma: Math.sqrt(dose / blurDose) };
}

/** Noisy images [tilt, row] of a series in which image tilt is taken after the specimen has had before[tilt]. */
export function recordedSeries(clean, n, before, perImage, massDose, blurDose, uniform) {
  const left = before.map((dose) => leftAfter(dose, massDose, blurDose));
  const mean = spreadRows(clean, n, left.map((one) => one.sigma), left.map((one) => one.mass));
  return mean.map((value, i) => poissonQuantile(uniform[i], Math.max(value, 0) * perImage) / perImage);
}

function fanPanel(tilts) {
  const image = element("image", { x: -40, y: -40, width: 80, height: 80, style: "clip-path: circle()" }); // a disc holds it all
  const spokes = tilts.map((tilt) => {
    const [c, s] = [Math.cos((tilt * Math.PI) / 180), Math.sin((tilt * Math.PI) / 180)];
    const d = `M ${-INNER * s} ${-INNER * c} L ${-OUTER * s} ${-OUTER * c}`; // the beam comes from (−sin θ, cos θ)
    return element("path", { d, class: "etlab-line etlab-thick" });
  });
  const picture = element("svg", { viewBox: "-56 -57 112 98", class: "etlab-drag" }, image, ...spokes);
  return {
    picture,
    show(slice, n, brightest, shares, now) {
      image.setAttribute("href", greyPicture(slice, n, n, 0, brightest));
      spokes.forEach((spoke, tilt) => {
        const taken = shares[tilt] !== null;
        spoke.style.stroke = taken ? viridis(shares[tilt]) : "var(--etlab-line)";
        spoke.style.strokeWidth = tilt === now ? 7 : 3.5;
      });
    },
    /** The tilt whose spoke lies nearest to the pointer. */
    tiltAt(event) {
      const box = picture.getBoundingClientRect();
      const [x, y] = [event.clientX - box.left - box.width / 2, event.clientY - box.top - (57 / 98) * box.height];
      const angle = (Math.atan2(-x, Math.max(-y, 1e-6)) * 180) / Math.PI;
      return tilts.reduce((best, tilt, i) => (Math.abs(tilt - angle) < Math.abs(tilts[best] - angle) ? i : best), 0);
    },
  };
}

function render({ model, el }) {
  el.dataset.etlabFigure = "SchemeExplorer";
  const n = model.get("n");
  const [tilts, doses, orders] = ["tilts_deg", "doses", "orders"].map((name) => model.get(name));
  const [massDose, blurDose] = [model.get("mass_dose"), model.get("blur_dose")];
  const [slice, uniform] = [model.get("slice"), model.get("uniform")].map(unpacked);
  const brightest = slice.reduce((a, b) => Math.max(a, b), 0);
  const norm = Math.sqrt(slice.reduce((sum, value) => sum + value ** 2, 0));
  const clean = project(slice, n, n, tilts, n);
  const step = tilts[1] - tilts[0];
  const fan = fanPanel(tilts);
  const answer = slicePanel("reconstruction of the series that was taken");
  const orderChoice = choice("order", Object.keys(orders), (name) => show(name, dose, taken));
  const doseSlider = slider("total dose", { min: 0, max: doses.length - 1, step: 1 }, (i) => show(order, doses[i], taken));
  const takenSlider = slider("images taken", { min: 1, max: tilts.length, step: 1 }, (i) => show(order, dose, i));
  const told = element("p", { class: "etlab-told", "aria-live": "polite" });
  let [order, dose, taken] = [model.get("order"), model.get("dose"), model.get("taken")];

  function show(newOrder, newDose, newTaken) {
    [order, dose, taken] = [newOrder, newDose, newTaken];
    const perImage = dose / tilts.length;
    const sequence = orders[order].slice(0, taken);
    const rank = new Map(sequence.map((tilt, i) => [tilt, i]));
    const kept = tilts.map((_, tilt) => tilt).filter((tilt) => rank.has(tilt));
    const before = kept.map((tilt) => (rank.get(tilt) + 0.5) * perImage);
    const of = (array) => Float64Array.from(kept.flatMap((tilt) => Array.from(array.subarray(tilt * n, (tilt + 1) * n))));
    const images = recordedSeries(of(clean), n, before, perImage, massDose, blurDose, of(uniform));
    const found = wbp(images, n, n, kept.map((tilt) => tilts[tilt]), n, step, "hann");
    answer.show(found, n, n, 0, WHITE * brightest);

    const now = sequence.at(-1);
    const { mass, sigma } = leftAfter(taken * perImage, massDose, blurDose);
    const lines = (array, factor) => spreadRows(array, n, Array(n).fill(sigma), Array(n).fill(factor));
    const eaten = transposed(lines(transposed(lines(slice, mass), n), 1), n);
    const shares = tilts.map((_, tilt) => (rank.has(tilt) ? (rank.get(tilt) + 0.5) / tilts.length : null));
    fan.show(eaten, n, brightest, shares, now);
    const error = Math.sqrt(found.reduce((sum, value, i) => sum + (value - slice[i]) ** 2, 0)) / norm;
    orderChoice.show(order);
    doseSlider.show(doses.indexOf(dose), String(dose));
    takenSlider.show(taken, `${taken} of ${tilts.length}`);
    told.textContent =
      `After image ${taken}, at ${degrees(tilts[now])}, the specimen has had a dose of ${(taken * perImage).toFixed(0)}: ` +
      `${(100 * mass).toFixed(0)} % of its mass is left, and its detail has spread by ${sigma.toFixed(1)} px. ` +
      `Error of the slice: ${error.toFixed(2)}.`;
  }
  onDrag(fan.picture, (event) => show(order, dose, orders[order].indexOf(fan.tiltAt(event)) + 1));

  const bar = element("span", { class: "etlab-key", style: `border-top: 6px solid; border-image: linear-gradient(90deg, ${VIRIDIS.join(", ")}) 1` });
  el.append(
    element(
      "div",
      { class: "etlab-panels", role: "img", "aria-label": model.get("alt") },
      panel(fan.picture, "The specimen as the beam leaves it, and the directions of the beam, by the dose that each image found spent, none ", bar, " all: drag over them"),
      panel(answer.picture, "What back-projection makes of the images taken"),
    ),
    element("div", { class: "etlab-controls" }, orderChoice.row, doseSlider.row, takenSlider.row),
    told,
  );
  if (model.get("caption")) el.append(element("p", { class: "etlab-caption" }, model.get("caption")));
  show(order, dose, taken);
}

export default { render };
