"""Every engine's file of a network of another tool, kept so that only the first run converts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from commands import call

import segtool
from engines import litert_engine, onnxruntime_engine, openvino_engine
from engines.conversion import PACKAGES, digest_of, kept
from engines.engine import Engine, Sources
from engines.foreign_network import CALIBRATION_IMAGES, Network, save_images
from engines.keras_engine import open_predict_on_batch
from engines.worker import in_fresh_process
from segtool.machine.machine import package_versions

FAILED = "failed.txt"
Conversion = tuple[str, Callable[[Sources, Path], None]]

_CONVERSIONS: dict[str, Conversion] = {
    "stock-int8": (onnxruntime_engine.MODEL, partial(onnxruntime_engine.quantize_stock, for_vnni=True)),
    "openvino": (openvino_engine.MODEL, openvino_engine.convert),
    "openvino-int8": (openvino_engine.MODEL, openvino_engine.quantize),
    "openvino-mixed": (openvino_engine.MODEL, partial(openvino_engine.quantize, mixed=True)),
}
_OF_KERAS: dict[str, Conversion] = {
    "litert": (litert_engine.MODEL, litert_engine.convert),
    "litert-int8": (litert_engine.MODEL, litert_engine.quantize),
}


@dataclass(frozen=True)
class Files:
    """The folder of a network's files in every engine's form."""

    network: Network
    folder: Path
    own: Path

    @cached_property
    def sources(self) -> Sources:
        """Return what the conversions start from."""
        network = self.network
        stock = self.folder / "stock" / onnxruntime_engine.MODEL if network.is_keras else network.file
        transformer = network.facts.get("source") == "transformers"
        return Sources(network.file, self.folder / "images" / "images.npz", stock, network.scaling, transformer)

    @property
    def is_complete(self) -> bool:
        """Return whether everything was converted, by segtool as it is now too."""
        return self.own.is_dir() and all((self.folder / name).is_dir() for name in ("images", *self.conversions))

    @property
    def conversions(self) -> dict[str, Conversion]:
        """Return the conversions of other engines that this kind of network has."""
        stock: Conversion = (onnxruntime_engine.MODEL, onnxruntime_engine.convert_stock)
        return {"stock": stock, **_CONVERSIONS, **_OF_KERAS} if self.network.is_keras else _CONVERSIONS

    def facts(self) -> dict[str, Any]:
        """Return what is known of the images."""
        found: dict[str, Any] = json.loads((self.folder / "images" / "facts.json").read_text())
        return found

    def failures(self) -> dict[str, str]:
        """Return why a conversion failed, by the name of its folder."""
        folders = {"ours": self.own, **{name: self.folder / name for name in self.conversions}}
        return {name: (folder / FAILED).read_text() for name, folder in folders.items() if (folder / FAILED).is_file()}

    def engines(self) -> list[Engine]:
        """Return the engines, segtool first, whether or not their files could be made."""
        scaling, graph = self.sources.scaling, "labels of the same size from raw pixels, all in the graph"
        stock = self.sources.stock_file
        how = "numpy: cast" if scaling is None else "numpy: scaling, transpose"
        open_stock = partial(onnxruntime_engine.open_stock, scaling=scaling)
        tool = "tf2onnx" if self.network.is_keras else "torch.onnx"
        plain = f"{how}, bilinear resize of smaller scores, arg-max"
        found = [
            Engine(
                "ours-fp32", "segtool FP32", "float32", graph, self.own / "model.onnx", onnxruntime_engine.open_ours
            ),
            Engine(
                "ours-int8", "segtool INT8", "int8", graph, self.own / "model.int8.onnx", onnxruntime_engine.open_ours
            ),
            Engine("stock-fp32", f"{tool} + onnxruntime FP32", "float32", plain, stock, open_stock),
            Engine(
                "stock-int8",
                f"{tool} + quantize_static INT8",
                "int8",
                plain,
                self.folder / "stock-int8" / onnxruntime_engine.MODEL,
                open_stock,
            ),
        ]
        models = {name: self.folder / name / model for name, (model, _) in self.conversions.items()}
        found += openvino_engine.engines(float32=models["openvino"], int8=models["openvino-int8"])
        found.append(
            Engine(
                "openvino-mixed",
                "OpenVINO, NNCF INT8 (mixed preset)",
                "int8",
                found[-1].how,
                models["openvino-mixed"],
                openvino_engine.open_model,
            )
        )
        if self.network.is_keras:
            found += litert_engine.engines(float32=models["litert"], int8=models["litert-int8"])
        return found

    def reference(self) -> Engine:
        """Return what the labels of all engines are compared with: the network as its own tool runs it."""
        if self.network.is_keras:
            return Engine("keras", "Keras predict_on_batch", "float32", "", self.network.file, open_predict_on_batch)
        return next(engine for engine in self.engines() if engine.key == "stock-fp32")

    def make(self) -> None:
        """Convert what is not there yet; a conversion that fails leaves its reason in place of a model."""
        kept(self.folder / "images", lambda folder: in_fresh_process(save_images, self.network, folder))
        for name, (_, convert) in self.conversions.items():
            kept(self.folder / name, partial(_attempt, convert, self.sources))
        kept(self.own, self._export)

    def _export(self, folder: Path) -> None:
        scale = self.network.input_scale
        options = [
            *("--data", str(self.folder / "images" / "data.npz"), "--out", str(folder / "model.onnx")),
            *("--quantize", "--waive", "speed", "--waive", "accuracy"),
            *("--calibration-images", str(self.facts()["calibration_images"])),
            *(() if scale is None else ("--input-scale", scale)),
        ]
        begin = time.perf_counter()
        step = subprocess.run(
            call("export", str(self.network.file), *options), capture_output=True, text=True, check=False
        )
        facts = {
            "exit_code": step.returncode,
            "seconds": round(time.perf_counter() - begin, 1),
            "load_average": os.getloadavg()[0],
        }
        (folder / "export.json").write_text(json.dumps(facts))
        print(step.stdout, step.stderr[-2000:], sep="\n", flush=True)
        if step.returncode:
            last = step.stderr.strip().rpartition("\n")[2].removeprefix("Error: ")
            (folder / FAILED).write_text(f"exit code {step.returncode}: {_public(last)}")


def files_of(network: Network, work: Path) -> Files:
    """Return where the files of a network are kept: other weights, adapters or versions give another folder."""
    adapters = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*_engine.py"))]
    origin = json.dumps([package_versions(PACKAGES), network.facts, CALIBRATION_IMAGES]).encode()
    folder = work.resolve() / network.name / digest_of([network.file.read_bytes(), origin, *adapters])
    package = Path(segtool.__file__).parent
    code = digest_of(path.read_bytes() for path in sorted(package.rglob("*.py")))
    return Files(network, folder, folder / f"ours-{code}")


def labels_of(engine: Engine, files: Files, threads: int) -> Any:
    """Return an engine's class ids of all validation images, uint8 (m, H, W), from a process of its own."""
    return in_fresh_process(_labels, engine, threads, files.sources.images_file)


def _labels(engine: Engine, threads: int, images_file: Path) -> Any:
    from engines.latency import LatencySubject

    return LatencySubject(engine, threads, images_file).labels()


def _attempt(convert: Callable[[Sources, Path], None], sources: Sources, folder: Path) -> None:
    try:
        in_fresh_process(convert, sources, folder)
    except Exception as error:  # noqa: BLE001 (whatever another tool fails with is a result)
        shutil.rmtree(folder)
        folder.mkdir()
        first = str(error).strip().partition("\n")[0]
        (folder / FAILED).write_text(f"{type(error).__name__}: {_public(first)}")
        print("failed:", folder.name, first, file=sys.stderr, flush=True)


def _public(line: str) -> str:
    """Return a message without the folders of this machine, and not longer than a cell of a table takes."""
    return re.sub(r"(?<![\w.])/\S*/", "", line)[:300]
