// The page: verify the models first, then label what the user drops, chooses, photographs or pastes.

import { decode } from "./pixels.js";
import { draw, legend, percent } from "./drawing.js";

const find = (id) => document.getElementById(id);
const inputs = [find("file"), find("camera")];
const RECENT = 99; // images whose times count for the median

let engine = null; // model.js, which `start` imports: it reports a missing file
let contract = null;
let model = null; // the one that labels images
let pictures = null; // of the image that is shown: without and with its classes
let runTimes = [];
let queue = Promise.resolve();

/** The labels of the image that is shown: {ids, height, width}. */
export let latest = null;

async function start() {
  state("wait", "Loading the model…");
  try {
    engine = await import("./model.js");
    contract = await (await engine.fetched("contract.json")).json();
    const { class_names, height, width, size_policy } = contract;
    const larger = size_policy === "tile" ? "larger images in tiles" : "images of any size are resized";
    find("facts").textContent =
      `${class_names.length} classes, input ${width} × ${height} pixels, ${larger}. WebAssembly with SIMD, ` +
      `${count(engine.threads, "thread")}${crossOriginIsolated ? "" : " (the page is not cross-origin isolated)"}, ` +
      `onnxruntime-web ${contract.onnxruntime_web}.`;
    const different = await engine.differingPixels(contract);
    if (different) {
      state("fail", `verify failed: this browser reads ${different} bytes of a known image differently. Protection ` +
        "against fingerprinting does this: allow this page to read canvas data, or use another browser.");
      return false;
    }
    model = await choose();
  } catch (error) {
    const copy = engine ? "" : ". Copy the folder again, with its folder runtime";
    state("fail", `The page did not start: ${reason(error)}${copy}.`);
  }
  for (const input of inputs) input.disabled = !model;
  return model !== null;
}

/** Verify and measure each model; return the fastest that passes, or null. */
async function choose() {
  const found = [];
  for (const facts of contract.models) found.push(await examine(facts));
  const passed = found.filter(({ result }) => result?.passed);
  const times = await engine.measured(passed.map((each) => each.model));
  for (const [i, each] of passed.entries()) each.time = engine.median(times[i]);
  const [fastest] = passed.sort((one, two) => one.time - two.time);
  find("models").tBodies[0].append(...found.map((each) => row(each, found.length > 1 && each === fastest)));
  find("models").hidden = false;
  for (const each of found) if (each !== fastest) await each.model.close();
  const failed = found.filter(({ result }) => !result?.passed).map(failure);
  if (!fastest) {
    state("fail", `verify failed: ${failed.join(" ")} No image is labelled here, because the classes would be wrong. ` +
      "Copy the files again, export the model again, or use another browser.");
    return null;
  }
  const { facts } = fastest.model;
  const { pixels, different } = fastest.result;
  const why = passed.length > 1 ? ", the faster one here" : "";
  state("pass", `verify passed: ${facts.file} (${name(facts)}${why}) gives the labels of the export for ` +
    `${number(pixels - different)} of ${number(pixels)} golden pixels in this browser.`);
  if (failed.length) message(failed.join(" "), true);
  return fastest.model;
}

/** Open and verify a model. */
async function examine(facts) {
  const found = { model: new engine.Model(facts, contract), result: null, time: null, error: null };
  state("wait", `Verifying ${facts.file}, ${megabytes(facts.bytes)}…`);
  try {
    await found.model.open();
    found.result = await found.model.verify();
  } catch (error) {
    found.error = reason(error);
  }
  return found;
}

function row({ model: { facts }, result, time }, used) {
  const title = `${facts.file}, ${name(facts)}, ${megabytes(facts.bytes)}${used ? " (used)" : ""}`;
  return element("tr", {}, [
    element("th", { scope: "row" }, [title]),
    element("td", {}, [result?.passed ? "passed" : "FAILED"]),
    element("td", {}, [time === null ? "–" : milliseconds(time)]),
  ]);
}

function failure({ model: { facts }, result, error }) {
  if (error) return `${facts.file} does not run in this browser (${error}).`;
  const limit = result.pixels * (1 - facts.required_agreement);
  return `${facts.file} gives another class than the export for ${number(result.different)} of ` +
    `${number(result.pixels)} golden pixels, but rounding changes at most ${number(Math.floor(limit))}.`;
}

/** Label the first of some files, after the verification and after those before it. */
export function show(files) {
  if (files.length) queue = queue.then(() => ready).then((usable) => usable && label(files[0], files.length));
  return queue;
}

async function label(file, given) {
  message(`Reading ${file.name}…`);
  try {
    const begin = performance.now();
    const pixels = await opened(file);
    const decoded = performance.now() - begin;
    const { labels, times } = await model.labels(pixels);
    pictures = draw(find("picture"), pixels, labels, contract);
    pixels.close();
    latest = labels;
    runTimes = [...runTimes, times.run].slice(-RECENT);
    result(file, { ...times, decode: decoded });
    message(given > 1 ? `Of ${given} files, the first is shown; drop one image at a time.` : "");
  } catch (error) {
    find("result").hidden = true; // it is of another image
    latest = null;
    message(`${reason(error)}.`, true);
  }
}

async function opened(file) {
  try {
    return await decode(file, contract.channels);
  } catch {
    throw new Error(`${file.name} is not an image that this browser can read, or is damaged; expected a JPEG, PNG, ` +
      "WebP, GIF, BMP or AVIF file");
  }
}

function result(file, times) {
  const classes = legend(latest, contract);
  find("name").textContent = `${file.name}, ${latest.width} × ${latest.height} pixels`;
  find("picture").setAttribute("aria-label",
    `Classes in ${file.name}: ${classes.map((each) => `${each.name}, ${percent(each.share)}`).join("; ")}`);
  find("legend").replaceChildren(...classes.map(legendLine));
  const lines = {
    decode: milliseconds(times.decode),
    resize: milliseconds(times.prepare),
    run: milliseconds(times.run),
    "median run": `${milliseconds(engine.median(runTimes))} of ${count(runTimes.length, "image")}`,
  };
  find("times").replaceChildren(
    ...Object.entries(lines).flatMap(([key, value]) => [element("dt", {}, [key]), element("dd", {}, [value])]),
  );
  find("result").hidden = false;
  repaint();
  if (find("picture").getBoundingClientRect().bottom > innerHeight) find("result").scrollIntoView();
}

function legendLine({ name: title, color, share }) {
  const swatch = element("span", { class: "swatch" }, []);
  if (color) swatch.style.backgroundColor = `rgb(${color.join(",")})`;
  return element("li", {}, [swatch, element("span", {}, [title]), element("span", { class: "share" }, [percent(share)])]);
}

function repaint() {
  if (!pictures) return;
  find("picture").getContext("2d").putImageData(find("shown").checked ? pictures.classes : pictures.plain, 0, 0);
}

function state(kind, text) {
  find("verify").dataset.state = kind;
  find("verify").textContent = text;
}

function message(text, isError = false) {
  find("message").textContent = text;
  find("message").classList.toggle("error", isError);
}

function element(tag, attributes, children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Return the reason of an error as one line without its final full stop. */
function reason(error) {
  const text = String(error?.message ?? error).replace(/\s+/g, " ").trim();
  return text.slice(0, 300).replace(/\.$/, "");
}

const name = ({ precision }) => ({ float32: "FP32", int8: "INT8" })[precision] ?? precision;
const number = (value) => value.toLocaleString("en");
const count = (value, noun) => `${value} ${noun}${value === 1 ? "" : "s"}`;
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(2)} MB`;
const milliseconds = (value) => (value < 100 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`);

for (const input of inputs) {
  input.addEventListener("change", () => {
    show([...input.files]).then(() => {
      input.value = ""; // so that the same file can be chosen again
    });
  });
}
find("shown").addEventListener("change", repaint);
document.addEventListener("paste", (event) => show([...event.clipboardData.files]));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  find("drop").classList.add("over");
});
document.addEventListener("dragleave", () => find("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  find("drop").classList.remove("over");
  show([...event.dataTransfer.files]);
});

/** Resolves when the models are verified, with whether one is used. */
export const ready = start();
