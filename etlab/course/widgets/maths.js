// The course's maths in the browser. Same conventions as etlab/geometry.py: a slice is an array [z, y] in rows, voxels
// are measured from the centre (n - 1) / 2, and at tilt θ a voxel lands at s = y cos θ + z sin θ.

/** Projections [tilt, row] of a slice: Joseph's footprint, the weights of etlab/reference.py. Angles in degrees. */
export function project(slice, nz, ny, tiltsDeg, nRows) {
  const images = new Float64Array(tiltsDeg.length * nRows);
  tiltsDeg.forEach((tiltDeg, tilt) => {
    const theta = (tiltDeg * Math.PI) / 180;
    const cos = Math.cos(theta);
    const sin = Math.sin(theta);
    const halfWidth = Math.max(Math.abs(cos), Math.abs(sin));
    const image = images.subarray(tilt * nRows, (tilt + 1) * nRows);
    for (let z = 0; z < nz; z++) {
      const offset = (z - (nz - 1) / 2) * sin - ((ny - 1) / 2) * cos + (nRows - 1) / 2;
      for (let y = 0; y < ny; y++) {
        const value = slice[z * ny + y];
        if (value === 0) continue;
        const position = y * cos + offset;
        const lower = Math.floor(position);
        for (let row = lower; row <= lower + 1; row++) {
          const weight = (1 - Math.abs(row - position) / halfWidth) / halfWidth;
          if (weight > 0 && row >= 0 && row < nRows) image[row] += weight * value;
        }
      }
    }
  });
  return images;
}

/** The transpose of project: a slice [z, y] of images [tilt, row], the same weights. */
export function backProject(images, nz, ny, tiltsDeg, nRows) {
  const slice = new Float64Array(nz * ny);
  tiltsDeg.forEach((tiltDeg, tilt) => {
    const theta = (tiltDeg * Math.PI) / 180;
    const cos = Math.cos(theta);
    const sin = Math.sin(theta);
    const halfWidth = Math.max(Math.abs(cos), Math.abs(sin));
    const image = images.subarray(tilt * nRows, (tilt + 1) * nRows);
    for (let z = 0; z < nz; z++) {
      const offset = (z - (nz - 1) / 2) * sin - ((ny - 1) / 2) * cos + (nRows - 1) / 2;
      for (let y = 0; y < ny; y++) {
        const position = y * cos + offset;
        const lower = Math.floor(position);
        for (let row = lower; row <= lower + 1; row++) {
          const weight = (1 - Math.abs(row - position) / halfWidth) / halfWidth;
          if (weight > 0 && row >= 0 && row < nRows) slice[z * ny + y] += weight * image[row];
        }
      }
    }
  });
  return slice;
}

const WINDOWS = {
  ramp: () => 1,
  "shepp-logan": (f) => (f === 0 ? 1 : Math.sin((Math.PI * f) / 2) / ((Math.PI * f) / 2)),
  cosine: (f) => Math.cos((Math.PI * f) / 2),
  hann: (f) => 0.5 + 0.5 * Math.cos(Math.PI * f),
};

/** The windowed ramp at k = 0, 1/n … 1/2 cycles per pixel, as wbp.py has it: the transform of the sampled kernel. */
export function rampFilter(n, window, cutoff) {
  const re = new Float64Array(n);
  const im = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    const distance = Math.min(i, n - i);
    re[i] = distance === 0 ? 1 / 4 : distance % 2 === 1 ? -1 / (Math.PI * distance) ** 2 : 0;
  }
  fft(re, im);
  return Float64Array.from({ length: n / 2 + 1 }, (_, k) => {
    const f = (2 * k) / n / cutoff;
    return f <= 1 ? re[k] * WINDOWS[window](f) : 0;
  });
}

/** Images [tilt, row], each row filtered and multiplied by weights[tilt]. */
export function filterRows(images, weights, nRows, filter) {
  const n = 2 * (filter.length - 1);
  const filtered = new Float64Array(images.length);
  weights.forEach((weight, tilt) => {
    const re = new Float64Array(n);
    const im = new Float64Array(n);
    re.set(images.subarray(tilt * nRows, (tilt + 1) * nRows));
    fft(re, im);
    for (let k = 0; k < n; k++) {
      const gain = (weight * filter[Math.min(k, n - k)]) / n;
      re[k] *= gain;
      im[k] *= -gain; // the transform of the conjugate is the inverse
    }
    fft(re, im);
    filtered.set(re.subarray(0, nRows), tilt * nRows);
  });
  return filtered;
}

/** Weighted back-projection of images [tilt, row], each tilt standing for stepDeg of the half circle. */
export function wbp(images, nz, ny, tiltsDeg, nRows, stepDeg, window = "ramp", cutoff = 1) {
  const padded = 2 ** Math.ceil(Math.log2(2 * nRows));
  const weights = tiltsDeg.map(() => (stepDeg * Math.PI) / 180);
  return backProject(filterRows(images, weights, nRows, rampFilter(padded, window, cutoff)), nz, ny, tiltsDeg, nRows);
}

/** SIRT from zero: step() makes the next slice, in place, and returns the relative residual before it. */
export function sirt(images, nz, ny, tiltsDeg, nRows, nonnegative = true) {
  const inverse = (sums) => sums.map((sum) => (sum > 0 ? 1 / sum : 0));
  const ofRows = inverse(project(new Float64Array(nz * ny).fill(1), nz, ny, tiltsDeg, nRows));
  const ofColumns = inverse(backProject(new Float64Array(images.length).fill(1), nz, ny, tiltsDeg, nRows));
  const norm = (values) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  const slice = new Float64Array(nz * ny);
  const size = norm(images) || 1;
  return {
    slice,
    step() {
      const residual = project(slice, nz, ny, tiltsDeg, nRows).map((value, i) => images[i] - value);
      const update = backProject(residual.map((value, i) => value * ofRows[i]), nz, ny, tiltsDeg, nRows);
      for (let i = 0; i < slice.length; i++) {
        slice[i] += ofColumns[i] * update[i];
        if (nonnegative && slice[i] < 0) slice[i] = 0;
      }
      return norm(residual) / size;
    },
  };
}

/** Discrete Fourier transform of re + i·im in place, Σ x[n] exp(-2πi k n / N); N a power of two. */
export function fft(re, im) {
  const n = re.length;
  if (n === 0 || (n & (n - 1)) !== 0) throw new RangeError(`fft: got length ${n}, expected a power of two`);
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j], re[i]];
      [im[i], im[j]] = [im[j], im[i]];
    }
  }
  for (let size = 2; size <= n; size *= 2) {
    const half = size / 2;
    for (let k = 0; k < half; k++) {
      const wr = Math.cos((-2 * Math.PI * k) / size);
      const wi = Math.sin((-2 * Math.PI * k) / size);
      for (let a = k; a < n; a += size) {
        const b = a + half;
        const tr = re[b] * wr - im[b] * wi;
        const ti = re[b] * wi + im[b] * wr;
        re[b] = re[a] - tr;
        im[b] = im[a] - ti;
        re[a] += tr;
        im[a] += ti;
      }
    }
  }
}

/** Magnitude [k_z, k_y] of a slice's transform, padded with zeros to size², k = 0 in element [size/2, size/2]. */
export function spectrum2d(slice, nz, ny, size) {
  const re = new Float64Array(size * size);
  const im = new Float64Array(size * size);
  for (let z = 0; z < nz; z++) {
    for (let y = 0; y < ny; y++) re[z * size + y] = slice[z * ny + y];
  }
  for (let z = 0; z < nz; z++) fft(re.subarray(z * size, (z + 1) * size), im.subarray(z * size, (z + 1) * size));
  const columnRe = new Float64Array(size);
  const columnIm = new Float64Array(size);
  const magnitude = new Float64Array(size * size);
  const half = size / 2;
  for (let y = 0; y < size; y++) {
    for (let z = 0; z < size; z++) {
      columnRe[z] = re[z * size + y];
      columnIm[z] = im[z * size + y];
    }
    fft(columnRe, columnIm);
    for (let z = 0; z < size; z++) {
      magnitude[((z + half) % size) * size + ((y + half) % size)] = Math.hypot(columnRe[z], columnIm[z]);
    }
  }
  return magnitude;
}

/** Magnitude of a row's transform at the first nK of k = 0, 1/size … cycles per pixel, padded with zeros to size. */
export function spectrum1d(row, size, nK) {
  const re = new Float64Array(size);
  const im = new Float64Array(size);
  re.set(row);
  fft(re, im);
  return Float64Array.from({ length: nK }, (_, k) => Math.hypot(re[k], im[k]));
}

/**
 * Magnitude of a slice's 2-D transform along the central line (k cos θ, k sin θ), at the same k as spectrum1d.
 * The sum itself, not interpolated from a grid.
 */
export function spectrumOnLine(slice, nz, ny, tiltDeg, size, nK) {
  const theta = (tiltDeg * Math.PI) / 180;
  const wave = (n, kPerPixel) => ({
    re: Float64Array.from({ length: n }, (_, i) => Math.cos(2 * Math.PI * kPerPixel * i)),
    im: Float64Array.from({ length: n }, (_, i) => -Math.sin(2 * Math.PI * kPerPixel * i)),
  });
  return Float64Array.from({ length: nK }, (_, k) => {
    const alongY = wave(ny, (k / size) * Math.cos(theta));
    const alongZ = wave(nz, (k / size) * Math.sin(theta));
    let re = 0;
    let im = 0;
    for (let z = 0; z < nz; z++) {
      let rowRe = 0;
      let rowIm = 0;
      for (let y = 0; y < ny; y++) {
        const value = slice[z * ny + y];
        rowRe += value * alongY.re[y];
        rowIm += value * alongY.im[y];
      }
      re += rowRe * alongZ.re[z] - rowIm * alongZ.im[z];
      im += rowRe * alongZ.im[z] + rowIm * alongZ.re[z];
    }
    return Math.hypot(re, im);
  });
}
