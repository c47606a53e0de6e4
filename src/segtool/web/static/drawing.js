// The picture of segtool's overlays: regions tinted by 44 % with an outline in the full colour of their class.

import { nearest } from "./labels.js";

// Weights in 256ths: of the class colour, of the image's colour and of its brightness; and what brightens dark images.
const [TINT, COLOR, GREY, LIFT] = [112, 44, 76, 24];
const BRIGHTNESS = [77, 150, 29]; // of red, green and blue in 256ths (ITU-R BT.601)
const LINES_A_SIDE = 450; // the longer side in widths of an outline
const SMALL_SIDE = 336; // smaller images are enlarged, so that single pixels are visible
const MOST_TIMES = 8;
const LARGEST_VIEW = 1600; // larger images are shown smaller; their labels are not changed
const WHITE = [255, 255, 255];

/** Return the size of the picture of an image: enlarged by a whole number, as it is, or smaller. */
export function viewSize({ height, width }) {
  const longer = Math.max(height, width);
  const times = Math.min(MOST_TIMES, Math.max(1, Math.floor(SMALL_SIDE / longer)));
  const scale = longer > LARGEST_VIEW ? LARGEST_VIEW / longer : times;
  return { height: Math.max(1, Math.round(height * scale)), width: Math.max(1, Math.round(width * scale)) };
}

/** Draw an image on a canvas; return the pictures without and with its classes. */
export function draw(canvas, pixels, labels, contract) {
  const { height, width } = viewSize(pixels);
  [canvas.height, canvas.width] = [height, width];
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  context.imageSmoothingEnabled = width < pixels.width;
  context.imageSmoothingQuality = "high";
  context.drawImage(pixels.bitmap, 0, 0, width, height);
  const plain = context.getImageData(0, 0, width, height);
  const classes = new ImageData(new Uint8ClampedArray(plain.data), width, height);
  tint(classes, shownLabels(labels, height, width), contract);
  return { plain, classes };
}

function shownLabels(labels, height, width) {
  const [rows, columns] = [nearest(labels.height, height), nearest(labels.width, width)];
  const ids = new Uint16Array(height * width);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) ids[y * width + x] = labels.ids[rows[y] * labels.width + columns[x]];
  }
  return ids;
}

function tint(picture, ids, { palette, background_id }) {
  const { data, width, height } = picture;
  const lines = outlines(ids, height, width);
  for (let i = 0; i < ids.length; i++) {
    if (ids[i] === background_id) continue;
    const color = palette[ids[i]] ?? WHITE;
    const at = 4 * i;
    const grey = (data[at] * BRIGHTNESS[0] + data[at + 1] * BRIGHTNESS[1] + data[at + 2] * BRIGHTNESS[2]) >> 8;
    for (let c = 0; c < 3; c++) {
      const mixed = (color[c] * TINT + LIFT * 256 + data[at + c] * COLOR + grey * GREY) >> 8;
      data[at + c] = lines[i] ? color[c] : mixed;
    }
  }
}

/** Return which pixels have another class at most the width of a line away. */
function outlines(ids, height, width) {
  let near = new Uint8Array(ids.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const i = y * width + x;
      if (x + 1 < width && ids[i] !== ids[i + 1]) near[i] = near[i + 1] = 1;
      if (y + 1 < height && ids[i] !== ids[i + width]) near[i] = near[i + width] = 1;
    }
  }
  for (let reached = Math.ceil(Math.max(height, width) / LINES_A_SIDE); reached > 1; reached--) {
    near = spread(near, height, width);
  }
  return near;
}

/** Return a mask with what is true also one pixel around. */
function spread(mask, height, width) {
  const found = new Uint8Array(mask.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!mask[y * width + x]) continue;
      const [bottom, right] = [Math.min(height - 1, y + 1), Math.min(width - 1, x + 1)];
      for (let row = Math.max(0, y - 1); row <= bottom; row++) {
        for (let column = Math.max(0, x - 1); column <= right; column++) found[row * width + column] = 1;
      }
    }
  }
  return found;
}

/** Return the classes that occur, in the order of their ids: id, name, color (null: unchanged pixels), share. */
export function legend(labels, { class_names, palette, background_id }) {
  const counts = new Float64Array(class_names.length);
  for (const id of labels.ids) counts[id] += 1;
  return class_names
    .map((name, id) => ({
      id,
      name: name === String(id) ? name : `${id} ${name}`,
      color: id === background_id ? null : palette[id],
      share: counts[id] / labels.ids.length,
    }))
    .filter(({ share }) => share > 0);
}

/** Return a share as a percentage; one below 1 is never shown as 100. */
export function percent(share) {
  if (share === 1) return "100 %";
  return share < 0.001 ? "< 0.1 %" : `${Math.min(99.9, 100 * share).toFixed(1)} %`;
}
