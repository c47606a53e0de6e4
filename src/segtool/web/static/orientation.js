// WebP files that are stored turned: browsers turn JPEG, PNG and AVIF by their EXIF data, but not all of them WebP.

const ORIENTATION = 0x0112; // the tag of EXIF
const RIFF_HEADER = 12; // "RIFF", the size, "WEBP"

/**
 * Return a file that no browser turns, and its orientation in EXIF: 2 to 8 for a WebP file that is stored turned, whose
 * own orientation is then set to 1; 1 for all others, which stay as they are.
 */
export async function withoutOrientation(file) {
  const head = new DataView(await file.slice(0, RIFF_HEADER).arrayBuffer());
  const isWebp = head.byteLength === RIFF_HEADER && text(head, 0) === "RIFF" && text(head, 8) === "WEBP";
  const view = isWebp ? new DataView(await file.arrayBuffer()) : null;
  const stored = view && storedIn(view);
  const orientation = stored ? view.getUint16(stored.offset, stored.little) : 1;
  if (orientation < 2 || orientation > 8) return { file, orientation: 1 };
  view.setUint16(stored.offset, 1, stored.little);
  return { file: new Blob([view], { type: "image/webp" }), orientation };
}

/** Return where a WebP file has its orientation, {offset, little}, or null where it has none. */
function storedIn(view) {
  for (let at = RIFF_HEADER; at + 8 <= view.byteLength; ) {
    const size = view.getUint32(at + 4, true);
    if (text(view, at) === "EXIF") return inTiff(view, at + 8, Math.min(size, view.byteLength - at - 8));
    at += 8 + size + (size % 2);
  }
  return null;
}

/** Return where the orientation is in EXIF data of some bytes from `start` on, which are a TIFF file. */
function inTiff(view, start, size) {
  const begin = size >= 6 && text(view, start) === "Exif" ? start + 6 : start;
  const end = start + size;
  if (end - begin < 8) return null;
  const little = view.getUint16(begin) === 0x4949;
  const table = begin + view.getUint32(begin + 4, little);
  if (table + 2 > end) return null;
  const count = view.getUint16(table, little);
  for (let at = table + 2; at + 12 <= Math.min(end, table + 2 + 12 * count); at += 12) {
    if (view.getUint16(at, little) === ORIENTATION) return { offset: at + 8, little };
  }
  return null;
}

/** Return a bitmap turned upright from an orientation of EXIF, 2 to 8. */
export function upright(bitmap, orientation) {
  const { width, height } = bitmap;
  const canvas = orientation > 4 ? new OffscreenCanvas(height, width) : new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { alpha: false }); // over black, as everywhere
  context.imageSmoothingEnabled = false;
  context.setTransform(...matrix(orientation, width, height));
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas.transferToImageBitmap();
}

/** Return the transform from pixels as they are stored to upright ones. */
function matrix(orientation, width, height) {
  return {
    2: [-1, 0, 0, 1, width, 0],
    3: [-1, 0, 0, -1, width, height],
    4: [1, 0, 0, -1, 0, height],
    5: [0, 1, 1, 0, 0, 0],
    6: [0, 1, -1, 0, height, 0],
    7: [0, -1, -1, 0, height, width],
    8: [0, -1, 1, 0, 0, width],
  }[orientation];
}

function text(view, at) {
  return String.fromCharCode(...new Uint8Array(view.buffer, view.byteOffset + at, 4));
}
