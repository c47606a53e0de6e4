// One model file in this browser: open, verify by its golden pair, measure, and label images.

import * as ort from "./runtime/ort.wasm.min.js";
import { decode } from "./pixels.js";
import { best, resizeLabels, tiledLabels } from "./labels.js";

const MOST_THREADS = 8;
const MOST_RUNS = 9; // timed runs of a file
const LONGEST = 3000; // milliseconds for all of them
const WARM_UP = 1000; // milliseconds: a browser first runs WebAssembly slowly, and meanwhile compiles it anew

/** Threads of a run. WebAssembly has them only where the server's headers isolate the page from other sites. */
export const threads = crossOriginIsolated
  ? Math.max(1, Math.min(MOST_THREADS, Math.ceil(navigator.hardwareConcurrency / 2)))
  : 1;

ort.env.logLevel = "error";
ort.env.wasm.numThreads = threads;
ort.env.wasm.proxy = true; // in a worker, so that the page stays responsive
ort.env.wasm.wasmPaths = {
  mjs: new URL("runtime/ort-wasm-simd-threaded.js", import.meta.url).href,
  wasm: new URL("runtime/ort-wasm-simd-threaded.wasm", import.meta.url).href,
};

/** A model: `facts` is its entry in contract.json, `contract` the whole of it. */
export class Model {
  constructor(facts, contract) {
    this.facts = facts;
    this.contract = contract;
  }

  async open() {
    const bytes = new Uint8Array(await (await fetched(this.facts.file)).arrayBuffer());
    if (crc32(bytes) !== this.facts.crc32) throw new Error("its bytes differ from those that `segtool page` wrote");
    this.session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  }

  /** Run bytes (height, width, channels) of the input's size; return the ids (height * width). */
  async run(bytes) {
    const { height, width, channels, class_names } = this.contract;
    const [input] = this.session.inputNames;
    // A copy, because the worker takes the memory of what it is given.
    const feeds = { [input]: new ort.Tensor("uint8", bytes.slice(), [1, height, width, channels]) };
    const output = (await this.session.run(feeds))[this.session.outputNames[0]];
    if (this.facts.head === "labels") return output.data;
    return best(output.data, class_names.length, this.facts.head);
  }

  /** Return the labels of an image at its size, with the milliseconds of resizing and of running. */
  async labels(pixels) {
    const { height, width, size_policy } = this.contract;
    const times = { prepare: 0, run: 0 };
    const run = async (bytes) => {
      const begin = performance.now();
      const ids = await this.run(bytes);
      times.run += performance.now() - begin;
      return ids;
    };
    const begin = performance.now();
    let labels;
    if (size_policy === "tile") {
      labels = await tiledLabels(pixels, { height, width }, run);
    } else {
      const ids = await run(pixels.resized(height, width));
      labels = resizeLabels({ ids, height, width }, pixels.height, pixels.width);
    }
    times.prepare = performance.now() - begin - times.run;
    return { labels, times };
  }

  /** Compare the labels of the golden images in this browser with those of the export, by the rule of `verify`. */
  async verify() {
    const { images, labels } = this.facts.golden;
    const wanted = await unpacked(labels);
    const given = await unpacked(images);
    const size = wanted.length / labels.shape[0];
    let different = 0;
    for (let i = 0; i < labels.shape[0]; i++) {
      const ids = await this.run(image(given, images.shape, i));
      if (ids.length !== size) throw new Error(`it has ${ids.length} labels for an image, expected ${size}`);
      for (let p = 0; p < size; p++) different += ids[p] !== wanted[i * size + p];
    }
    const agreement = 1 - different / wanted.length;
    return { pixels: wanted.length, different, passed: agreement >= this.facts.required_agreement };
  }

  async close() {
    await this.session?.release();
    this.session = null;
  }
}

/** Return the times of a few runs of each model on a golden image, in milliseconds: interleaved, after a warm-up. */
export async function measured(models) {
  const inputs = [];
  for (const { facts } of models) inputs.push(image(await unpacked(facts.golden.images), facts.golden.images.shape, 0));
  const times = models.map(() => []);
  const round = async () => {
    for (const [i, model] of models.entries()) {
      const start = performance.now();
      await model.run(inputs[i]);
      times[i].push(performance.now() - start);
    }
  };
  const begin = performance.now();
  do await round(); while (performance.now() - begin < WARM_UP);
  const warm = performance.now();
  for (const each of times) each.length = 0;
  for (let done = 0; done < 3 || (done < MOST_RUNS && performance.now() - warm < LONGEST); done++) await round();
  return times;
}

/** Return how many bytes of a known image this browser decodes or reads differently. */
export async function differingPixels(contract) {
  const { images } = contract.models[0].golden;
  const wanted = image(await unpacked(images), images.shape, 0);
  const pixels = await decode(new Blob([bytesOf(contract.probe_png)], { type: "image/png" }), contract.channels);
  const found = pixels.read(0, 0, pixels.height, pixels.width);
  pixels.close();
  if (found.length !== wanted.length) return wanted.length;
  return found.reduce((sum, value, i) => sum + (value !== wanted[i]), 0);
}

/** Fetch a file of this folder; an answer other than the file is an error with one sentence. */
export async function fetched(name) {
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) throw new Error(`${name} is missing on the server (HTTP ${response.status})`);
  return response;
}

/** Return the CRC-32 of bytes, as in zlib. crypto.subtle has better sums, but not on a page of plain http. */
function crc32(bytes) {
  const table = new Uint32Array(256).map((_, value) => {
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
    return value;
  });
  let sum = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) sum = table[(sum ^ bytes[i]) & 0xff] ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}

/** Return the median. */
export function median(values) {
  const sorted = [...values].sort((one, two) => one - two);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

function image(bytes, shape, index) {
  const size = shape[1] * shape[2] * (shape[3] ?? 1);
  return bytes.slice(index * size, (index + 1) * size);
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

/** Return the values of an array of a golden pair, which is compressed by zlib. */
async function unpacked({ dtype, zlib_base64 }) {
  const stream = new Blob([bytesOf(zlib_base64)]).stream().pipeThrough(new DecompressionStream("deflate"));
  const data = await new Response(stream).arrayBuffer();
  return dtype === "uint16" ? new Uint16Array(data) : new Uint8Array(data);
}
