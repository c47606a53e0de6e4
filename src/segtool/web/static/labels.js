// Class ids at the size of the image, as segtool computes them: resized back by the nearest pixel, or from tiles.

const OVERLAP_SHARE = 4; // neighbouring tiles overlap by a quarter of a tile

/** Return for each of `target` pixels the source pixel whose area contains its centre. */
export function nearest(source, target) {
  return Int32Array.from({ length: target }, (_, i) => Math.floor(((2 * i + 1) * source) / (2 * target)));
}

/** Resize labels {ids, height, width} to another size by the nearest pixel. */
export function resizeLabels(labels, height, width) {
  if (labels.height === height && labels.width === width) return labels;
  const [rows, columns] = [nearest(labels.height, height), nearest(labels.width, width)];
  const ids = new labels.ids.constructor(height * width);
  for (let y = 0; y < height; y++) {
    const from = rows[y] * labels.width;
    for (let x = 0; x < width; x++) ids[y * width + x] = labels.ids[from + columns[x]];
  }
  return { ids, height, width };
}

/** Return the class ids of K scores a pixel: the first of the largest, for logits behind a softmax in float32. */
export function best(scores, classes, head) {
  const Ids = classes > 256 ? Uint16Array : Uint8Array;
  const ids = new Ids(scores.length / classes);
  for (let i = 0; i < ids.length; i++) {
    let values = scores.subarray(i * classes, (i + 1) * classes);
    if (head === "logits") values = softmax(values);
    let found = 0;
    for (let k = 1; k < classes; k++) if (values[k] > values[found]) found = k;
    ids[i] = found;
  }
  return ids;
}

function softmax(logits) {
  const most = logits.reduce((one, two) => Math.max(one, two));
  const powers = logits.map((value) => Math.exp(Math.fround(value - most)));
  const sum = powers.reduce((one, two) => Math.fround(one + two));
  return powers.map((power) => power / sum);
}

/**
 * Return evenly spaced tiles along an axis: each starts at `start`, and its pixels from `first` to `last` are used.
 * The borders lie in the middle of the overlaps.
 */
export function spans(length, tile) {
  if (length <= tile) return [{ start: 0, first: 0, last: length }];
  const stride = tile - Math.floor(tile / OVERLAP_SHARE);
  const count = 1 + Math.ceil((length - tile) / stride);
  const starts = Array.from({ length: count }, (_, i) => Math.floor((i * (length - tile)) / (count - 1)));
  const border = (i) => Math.floor((starts[i - 1] + tile + starts[i]) / 2);
  return starts.map((start, i) => ({
    start,
    first: i ? border(i) : 0,
    last: i + 1 < count ? border(i + 1) : length,
  }));
}

/** Return the labels of an image tile by tile; `run` maps the bytes of a tile to its ids. */
export async function tiledLabels(pixels, tile, run) {
  const { height, width } = pixels;
  let ids = null;
  for (const row of spans(height, tile.height)) {
    for (const column of spans(width, tile.width)) {
      const found = await run(cutTile(pixels, row.start, column.start, tile));
      ids ??= new found.constructor(height * width);
      for (let y = row.first; y < row.last; y++) {
        const from = (y - row.start) * tile.width - column.start;
        ids.set(found.subarray(from + column.first, from + column.last), y * width + column.first);
      }
    }
  }
  return { ids, height, width };
}

/** Return the bytes of a tile, with the last pixels repeated beyond the lower and the right border of the image. */
function cutTile(pixels, top, left, tile) {
  const [height, width] = [Math.min(tile.height, pixels.height - top), Math.min(tile.width, pixels.width - left)];
  const part = pixels.read(top, left, height, width);
  if (height === tile.height && width === tile.width) return part;
  const { channels } = pixels;
  const found = new Uint8Array(tile.height * tile.width * channels);
  for (let y = 0; y < tile.height; y++) {
    const from = Math.min(y, height - 1) * width;
    for (let x = 0; x < tile.width; x++) {
      const source = (from + Math.min(x, width - 1)) * channels;
      for (let c = 0; c < channels; c++) found[(y * tile.width + x) * channels + c] = part[source + c];
    }
  }
  return found;
}
