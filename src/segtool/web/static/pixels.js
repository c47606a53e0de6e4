// The pixels of an image file, decoded and resized exactly as `segtool predict` does it.
//
// The browser decodes the file without changing its colours, and a canvas only copies pixels. Grey and resizing are
// computed here, because a browser's own differ from those of Pillow.

import { upright, withoutOrientation } from "./orientation.js";
import { resizeColumns, resizeRows, rowsFirst, triangle } from "./resize.js";

const BLOCK = 2048; // pixels; browsers limit the size of a canvas, so an image is read in blocks
const ROWS = 256; // rows that are in memory at the full width of an image

/** Decode an image file: upright, over black where it is transparent, without conversion by its colour profile. */
export async function decode(file, channels) {
  const options = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const stored = await withoutOrientation(file);
  const bitmap = await createImageBitmap(stored.file, options);
  return new ImagePixels(stored.orientation === 1 ? bitmap : upright(bitmap, stored.orientation), channels);
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
    if (rowsFirst(this, { height, width })) {
      return resizeColumns(this.#shortened(height), triangle(this.width, width), this.channels);
    }
    return resizeRows(this.#narrowed(width), triangle(this.height, height), width * this.channels);
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

  /** Return the image at its own height and another width. */
  #narrowed(width) {
    const filter = triangle(this.width, width);
    const found = new Uint8Array(this.height * width * this.channels);
    for (let top = 0; top < this.height; top += ROWS) {
      const band = this.read(top, 0, Math.min(ROWS, this.height - top), this.width);
      found.set(resizeColumns(band, filter, this.channels), top * width * this.channels);
    }
    return found;
  }

  /** Return the image at its own width and another height, from the source rows of a few rows at a time. */
  #shortened(height) {
    const filter = triangle(this.height, height);
    const length = this.width * this.channels;
    const found = new Uint8Array(height * length);
    const step = Math.max(1, Math.floor((ROWS * height) / this.height));
    for (let begin = 0; begin < height; begin += step) {
      const end = Math.min(begin + step, height);
      const top = filter.first[begin];
      const bottom = filter.first[end - 1] + filter.count[end - 1];
      const band = this.read(top, 0, bottom - top, this.width);
      found.set(resizeRows(band, filter, length, { begin, end, top }), begin * length);
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
