"""`segtool page` in a real browser: labels, verification, size, requests, and FP32 against INT8 in WebAssembly.

`python benchmarks/page.py [FOLDER ...] [--onnxruntime-web DIR] [--rounds 10]` writes results/page.json. A FOLDER has
model.onnx and model.int8.onnx of one network; the model that ships with segtool is always among them, alone. It needs
Chromium, and onnxruntime-web from npm. The images are generated digits and the photographs of docs/.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from commands import write_result
from PIL import Image

import segtool
from segtool.benchmark.measure import MeasureOptions, measure
from segtool.benchmark.statistics import ratio_of
from segtool.data.loading import load_dataset
from segtool.images.image_io import read_image
from segtool.models.resolve import INT8_NAME, ONNX_NAME
from segtool.models.shipped import SHIPPED
from segtool.web import WebPage, write_page
from segtool.web.runtime import VERSION

ROOT = Path(__file__).resolve().parents[1]
DIGITS = "m2nist-synthetic:20"
PHOTOGRAPHS = ("docs/berlin-cathedral.webp", "docs/sample.jpg")
THREADS = (1, 2)

sys.path.insert(0, str(ROOT / "tests"))
from browser import Page, browser, find_browser  # noqa: E402 - a client of the tests, not a package
from web_pages import Server, choose, requested, start, text  # noqa: E402

# The page's own measurement, several times: medians of interleaved runs of each file.
MEASURE = """
import('{url}/model.js').then(async ({{ Model, measured, median, threads }}) => {{
  const contract = await (await fetch('{url}/contract.json')).json();
  const models = contract.models.map(facts => new Model(facts, contract));
  for (const model of models) await model.open();
  const rounds = [];
  for (let i = 0; i < {rounds}; i++) rounds.push((await measured(models)).map(median));
  return {{ threads, rounds, results: await Promise.all(models.map(model => model.verify())) }};
}})
"""


def main() -> None:
    """Write a page for each file and pair of files, use it, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="*", metavar="FOLDER")
    parser.add_argument("--onnxruntime-web", type=Path, default=ROOT, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    executable = find_browser()
    if executable is None:
        sys.exit("There is no Chromium here; install one, or name it in $CHROMIUM.")
    networks = {"shipped": [SHIPPED]}
    networks |= {folder.resolve().name: [folder / ONNX_NAME, folder / INT8_NAME] for folder in arguments.folders}
    with tempfile.TemporaryDirectory() as folder:
        bench = PageBench(Path(folder), arguments.onnxruntime_web, arguments.rounds)
        rules = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        with browser(executable, Path(folder, "profile"), rules) as page:
            rows = [bench.network(page, name, paths) for name, paths in networks.items()]
            agent = page.evaluate("navigator.userAgent")
    others = [url for url in bench.urls if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))]
    write_result(
        "page",
        {
            "browser": agent.split(") ")[-1],
            "onnxruntime_web": VERSION,
            "networks": rows,
            "requests": {"all": len(bench.urls), "to_other_hosts": len(others)},
        },
    )


class PageBench:
    """Pages in a folder, the images, and all addresses that the pages requested, in `urls`."""

    def __init__(self, folder: Path, runtime: Path, rounds: int) -> None:
        self._folder, self._runtime, self._rounds = folder, runtime, rounds
        self.urls: list[str] = []
        (folder / "images").mkdir()
        digits = load_dataset(DIGITS)
        for number, image in enumerate(digits.images(np.arange(len(digits)))):
            Image.fromarray(image[..., 0]).save(folder / "images" / f"{number:02}.png")
        for name in PHOTOGRAPHS:
            shutil.copy(ROOT / name, folder / "images")

    def network(self, page: Page, name: str, paths: Sequence[Path]) -> dict[str, Any]:
        """Return the figures of a network: of each file its labels, of all of them their times."""
        files = [self._file(page, f"{name}-{number}", path) for number, path in enumerate(paths)]
        written = write_page(paths, self._folder / name, runtime=self._runtime)
        segmenter = segtool.load(paths[0], threads=1)
        native = measure(paths, options=MeasureOptions(threads=(1,), seconds=3.0))["models"]
        return {
            "name": name,
            "input": [*segmenter.input_size, segmenter.contract.channels],
            "folder": _sizes(written),
            "files": files,
            "native_1_thread_ms": [row["stages_ms"]["run"] for row in native],
            "times": [self._times(page, name, threads) for threads in THREADS],
        }

    def _file(self, page: Page, name: str, path: Path) -> dict[str, Any]:
        """Label all images with the page of one file, and with segtool."""
        write_page([path], self._folder / name, runtime=self._runtime)
        segmenter = segtool.load(path, threads=1)
        images = sorted((self._folder / "images").iterdir())
        with Server(self._folder, isolated=False) as server:
            url = f"{server.url}/{name}"
            passed = start(page, url)
            shares = []
            for image in images if passed else []:
                labels = choose(page, url, image)
                wanted = segmenter(read_image(image, channels=segmenter.contract.channels))
                if labels is None or labels.shape != wanted.shape:
                    sys.exit(f"{name}, {image.name}: {text(page, '#message')}")
                shares.append(float((labels != wanted).mean()))
            found = {"badge": text(page, "#verify"), "passed": passed}
            self.urls += requested(page)
            server.shutdown()
        print(f"{name}: {found['badge']} {shares.count(0.0)} of {len(images)} images have equal labels.", flush=True)
        return {
            "precision": segmenter.contract.precision,
            "size_bytes": path.stat().st_size,
            **found,
            "images": len(images),
            "images_with_equal_labels": shares.count(0.0),
            "differing_pixels": {"mean": float(np.mean(shares)), "largest": max(shares)},
        }

    def _times(self, page: Page, name: str, threads: int) -> dict[str, Any]:
        """Return the median times of the files with this number of threads, and which the page uses."""
        # The page takes half of the processors, because browsers count hardware threads.
        page.call("Emulation.setHardwareConcurrencyOverride", hardwareConcurrency=2 * threads)
        with Server(self._folder, isolated=threads > 1) as server:
            url = f"{server.url}/{name}"
            if not start(page, url):
                sys.exit(f"{name}: {text(page, '#verify')}")
            badge = text(page, "#verify")
            found = page.evaluate(MEASURE.format(url=url, rounds=self._rounds))
            self.urls += requested(page)
            server.shutdown()
        if found["threads"] != threads:
            sys.exit(f"{name} ran on {found['threads']} threads, expected {threads}.")
        rounds = np.array(found["rounds"])
        print(f"{name}, {threads} threads: {np.median(rounds, axis=0)} ms", flush=True)
        ratio = ratio_of(rounds[:, 1] / rounds[:, 0]) if rounds.shape[1] > 1 else None
        return {
            "threads": threads,
            "p50_ms": np.median(rounds, axis=0).tolist(),
            "int8_over_float32": ratio and {"median": ratio.median, "low": ratio.low, "high": ratio.high},
            "verify": found["results"],
            "badge": badge,
        }


def _sizes(written: WebPage) -> dict[str, int]:
    runtime = sum(size for name, size in written.files.items() if name.startswith("runtime/"))
    models = sum(written.files[name] for name in written.models)
    return {"bytes": written.size, "runtime": runtime, "models": models, "page": written.size - runtime - models}


if __name__ == "__main__":
    main()
