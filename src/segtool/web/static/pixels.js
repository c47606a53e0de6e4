// The pixels of an image file, decoded and resized exactly as `segtool predict` does it.
//
// The browser decodes the file without changing its colours. Everything after that is integer arithmetic here, because
// a browser's own resizing differs from that of Pillow: `resized` is Pillow's bilinear filter for 8 bits a channel.

const BLOCK = 2048; // pixels; browsers limit the size of a canvas, so an image is read in blocks
const ROWS = 256; // rows that are in memory at the full width of an image
const BITS = 22; // of the fraction of a filter's weight, so that a sum of 255 * weights fits in 32 bits

/** Decode an image file: upright, over black where it is transparent, without conversion by its colour profile. */
export async function decode(file, channels) {
  const options = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" };
  return new ImagePixels(await createImageBitmap(file, options), channels);
}

/** The pixels of a decoded image, read by rectangles; `channels` is 1 (grey) or 3 (RGB). */
export class ImagePixels {
  constructor(bitmap, channels) {
    this.bitmap = bitmap;
    this.channels = channels;
    [this.height, this.width] = [bitmap.height, bitmap.width];
    this.canvas = new OffscreenCanvas(Math.min(this.width, BLOCK), Math.min(this.height, BLOCK));
    // Without alpha, what is drawn is composited over black.
    this.context = this.canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    this.context.imageSmoothingEnabled = false;
  }

  /** Return a rectangle as bytes (height, width, channels). */
  read(top, left, height, width) {
    const { channels } = this;
    const found = new Uint8Array(height * width * channels);
    for (let y = 0; y < height; y += BLOCK) {
      for (let x = 0; x < width; x += BLOCK) {
        const [rows, columns] = [Math.min(BLOCK, height - y), Math.min(BLOCK, width - x)];
        const block = this.#block(top + y, left + x, rows, columns);
        for (let row = 0; row < rows; row++) {
          const from = block.subarray(4 * row * columns, 4 * (row + 1) * columns);
          copyRow(from, found, ((y + row) * width + x) * channels, channels);
        }
      }
    }
    return found;
  }

  /** Return the image resized to height x width, as bytes (height, width, channels). */
  resized(height, width) {
    const narrow = this.#narrowed(width);
    if (height === this.height) return narrow;
    return resizeRows(narrow, this.height, height, width * this.channels);
  }

  close() {
    this.bitmap.close();
  }

  #block(top, left, height, width) {
    this.context.fillStyle = "black";
    this.context.fillRect(0, 0, width, height);
    this.context.drawImage(this.bitmap, left, top, width, height, 0, 0, width, height);
    return this.context.getImageData(0, 0, width, height).data;
  }

  /** Return the image resized to a width, at its own height. */
  #narrowed(width) {
    if (width === this.width) return this.read(0, 0, this.height, this.width);
    const filter = triangle(this.width, width);
    const found = new Uint8Array(this.height * width * this.channels);
    for (let top = 0; top < this.height; top += ROWS) {
      const rows = Math.min(ROWS, this.height - top);
      const band = this.read(top, 0, rows, this.width);
      for (let row = 0; row < rows; row++) {
        const from = row * this.width * this.channels;
        resizeRow(band, from, found, (top + row) * width * this.channels, filter, this.channels);
      }
    }
    return found;
  }
}

/** Copy a row of RGBA bytes as RGB, or as grey by the luma of ITU-R BT.601 in Pillow's fixed point. */
function copyRow(from, to, start, channels) {
  for (let i = 0, j = start; i < from.length; i += 4) {
    if (channels === 1) {
      to[j++] = (from[i] * 19595 + from[i + 1] * 38470 + from[i + 2] * 7471 + 0x8000) >> 16;
    } else {
      to[j++] = from[i];
      to[j++] = from[i + 1];
      to[j++] = from[i + 2];
    }
  }
}

/**
 * Return the weights of a triangle filter, which widens when it shrinks: for each of `target` pixels the first source
 * pixel, their number, and `size` weights as integers of BITS bits.
 */
function triangle(source, target) {
  const scale = source / target;
  const support = Math.max(scale, 1);
  const size = 2 * Math.ceil(support) + 1;
  const filter = { target, size, first: new Int32Array(target), count: new Int32Array(target) };
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

function resizeRow(from, start, to, begin, filter, channels) {
  const { target, size, first, count, weights } = filter;
  for (let i = 0; i < target; i++) {
    for (let channel = 0; channel < channels; channel++) {
      let sum = 1 << (BITS - 1);
      let place = start + first[i] * channels + channel;
      for (let x = 0; x < count[i]; x++, place += channels) sum += from[place] * weights[i * size + x];
      to[begin + i * channels + channel] = sum >> BITS;
    }
  }
}

/** Resize bytes (height, length) to (target, length). */
function resizeRows(from, height, target, length) {
  const { size, first, count, weights } = triangle(height, target);
  const found = new Uint8Array(target * length);
  const sums = new Int32Array(length);
  for (let i = 0; i < target; i++) {
    sums.fill(1 << (BITS - 1));
    for (let y = 0; y < count[i]; y++) {
      const weight = weights[i * size + y];
      const start = (first[i] + y) * length;
      for (let x = 0; x < length; x++) sums[x] += from[start + x] * weight;
    }
    for (let x = 0; x < length; x++) found[i * length + x] = sums[x] >> BITS;
  }
  return found;
}
