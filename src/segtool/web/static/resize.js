// Pillow's bilinear filter for 8 bits a channel, in the same fixed point: rows and columns in one pass each.

const BITS = 22; // of the fraction of a weight, so that a sum of 255 * weights fits in 32 bits
const HALF = 1 << (BITS - 1);

/**
 * Return whether the height is resized before the width. The bytes between the passes are rounded, so the order changes
 * a value by one. Pillow 13 chooses by the pixels that a pass removes; earlier versions always begin with the width.
 */
export function rowsFirst(source, target) {
  const [rows, columns] = [source.height - target.height, source.width - target.width];
  return rows > 0 && rows > 2 * columns;
}

/**
 * Return the weights of a triangle filter, which widens when it shrinks: for each of `target` pixels the first source
 * pixel, their number, and `size` weights as integers of BITS bits.
 */
export function triangle(source, target) {
  const scale = source / target;
  const support = Math.max(scale, 1);
  const size = 2 * Math.ceil(support) + 1;
  const filter = { source, target, size, first: new Int32Array(target), count: new Int32Array(target) };
  filter.weights = new Int32Array(target * size);
  for (let i = 0; i < target; i++) {
    const center = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const count = Math.min(source, Math.trunc(center + support + 0.5)) - first;
    const weights = [];
    let sum = 0;
    for (let x = 0; x < count; x++) {
      weights.push(Math.max(0, 1 - Math.abs((x + first - center + 0.5) * (1 / support))));
      sum += weights[x];
    }
    for (let x = 0; x < count; x++) {
      filter.weights[i * size + x] = Math.trunc(0.5 + (sum ? weights[x] / sum : weights[x]) * 2 ** BITS);
    }
    filter.first[i] = first;
    filter.count[i] = count;
  }
  return filter;
}

/** Resize the rows of bytes (rows, filter.source * channels) to (rows, filter.target * channels). */
export function resizeColumns(bytes, filter, channels) {
  const { source, target, size, first, count, weights } = filter;
  if (source === target) return bytes;
  const rows = bytes.length / (source * channels);
  const found = new Uint8Array(rows * target * channels);
  let at = 0;
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < target; i++) {
      const start = (row * source + first[i]) * channels;
      for (let channel = 0; channel < channels; channel++) {
        let sum = HALF;
        let place = start + channel;
        for (let x = 0; x < count[i]; x++, place += channels) sum += bytes[place] * weights[i * size + x];
        found[at++] = sum >> BITS;
      }
    }
  }
  return found;
}

/**
 * Resize the columns of bytes (rows, length); return the rows from `begin` to `end` of the result. `top` is the row of
 * the image at which the bytes begin.
 */
export function resizeRows(bytes, filter, length, { begin = 0, end = filter.target, top = 0 } = {}) {
  const { source, target, size, first, count, weights } = filter;
  if (source === target) return bytes;
  const found = new Uint8Array((end - begin) * length);
  const sums = new Int32Array(length);
  for (let i = begin; i < end; i++) {
    sums.fill(HALF);
    for (let y = 0; y < count[i]; y++) {
      const weight = weights[i * size + y];
      const start = (first[i] - top + y) * length;
      for (let x = 0; x < length; x++) sums[x] += bytes[start + x] * weight;
    }
    const row = (i - begin) * length;
    for (let x = 0; x < length; x++) found[row + x] = sums[x] >> BITS;
  }
  return found;
}
