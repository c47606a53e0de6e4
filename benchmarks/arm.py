"""Exported files on emulated Arm processors: results/arm.json, from which the tables of docs/deploying.md come.

`python benchmarks/arm.py --network NAME MODEL SPEC ...` exports each network (a run, .keras or .onnx) for the presets
`arm`, `x86` and `vnni`, with calibration images from SPEC. Each FP32 and INT8 file then runs in `aarch64.py`'s
environment as a Cortex-A72 (Raspberry Pi 4), a Cortex-A76 (Raspberry Pi 5), and "max", everything that qemu emulates:

- `verify`, `predict` and `info`, and the number of labels that differ from those of this x86 machine;
- the kernels expected (`segtool.benchmark.kernels`) by their part of the multiply-accumulates;
- of the first network, which should be a small one: the instructions for 8-bit integers that qemu translated while the
  file ran, the number of INT8 convolutions whose kernel is the predicted one (as in `kernel_classes.py`), and `verify`
  of damaged copies.

Emulated times say nothing about a processor, and are not recorded. The results of finished runs are kept in the work
folder: the same command continues after a stop.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from aarch64 import FOLDER, SUITE, Environment, translated
from commands import segtool, write_result
from PIL import Image

from segtool.contract import GOLDEN_KEY, GoldenPair, ModelContract
from segtool.data.loading import load_dataset
from segtool.data.make import write_samples
from segtool.runtime.model_file import CHECKSUM_KEY, check_model_file, sealed

PROCESSORS = {
    "cortex-a72": "Cortex-A72 (Raspberry Pi 4)",
    "cortex-a76": "Cortex-A76 (Raspberry Pi 5)",
    "max": "all that qemu emulates, i8mm and SVE among it",
}
PRESETS = ("arm", "x86", "vnni")
DAMAGE = ("weights", "golden", "byte")
SMALL = 10_000  # pixels of an input; larger ones take minutes for an image
TRACED = ("arm", "vnni")  # files of the first network whose instructions and kernels are compared


def main() -> None:
    """Export, build the environment, run each file on each processor, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs=3, action="append", metavar=("NAME", "MODEL", "SPEC"), required=True)
    parser.add_argument("--processor", action="append", choices=list(PROCESSORS), help="all, if not given")
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--large-images", type=int, default=2, help="of networks with larger inputs, which take longer")
    parser.add_argument("--work", type=Path, default=FOLDER.with_name("arm"))
    parser.add_argument("--environment", type=Path, default=FOLDER)
    asked = parser.parse_args()
    environment = Environment(asked.environment.resolve())
    environment.build()
    folders = [_prepared(network, asked) for network in asked.network]
    processors = asked.processor or list(PROCESSORS)
    for processor in processors:
        _measured(environment, processor, folders)
    installed = environment.installed()
    write_result(
        "arm",
        {
            "environment": {**_versions(environment), "packages": installed},
            "total_bytes": sum(row["bytes"] for row in installed),
            "traced_network": folders[0].name,
            "processors": [_traced(processor, folders[0]) for processor in processors],
            "files": [row for processor in processors for folder in folders for row in _rows(processor, folder)],
        },
    )


def _files(folder: Path) -> dict[str, Path]:
    """Return the files of a network by preset; the exports for all presets have the same FP32 file."""
    return {"FP32": folder / "arm.onnx", **{preset: folder / f"{preset}.int8.onnx" for preset in PRESETS}}


def _prepared(network: Sequence[str], asked: argparse.Namespace) -> Path:
    """Return the folder of a network with its files, some images, and the labels of this machine for them."""
    name, model, spec = network
    folder: Path = asked.work.resolve() / name
    folder.mkdir(parents=True, exist_ok=True)
    options = ("--data", spec, "--quantize", "--winograd", "off", "--waive", "speed", "--waive", "accuracy", "--quiet")
    for preset in PRESETS:
        if not _files(folder)[preset].is_file():
            target = ("--preset", preset, "--out", str(folder / f"{preset}.onnx"), "--overwrite")
            segtool("export", model, *options, *target, cwd=Path.cwd())
    if not (folder / "images").is_dir():
        dataset = load_dataset(spec)
        count = asked.images if _pixels(_files(folder)["FP32"]) <= SMALL else asked.large_images
        write_samples(dataset, np.arange(len(dataset))[-count:], folder / "images")
    for file, path in _files(folder).items():
        if not (folder / "x86_64" / file / "manifest.json").is_file():
            named = ("--model", str(path), "--out", str(folder / "x86_64" / file), "--overwrite", "--quiet")
            segtool("predict", str(folder / "images"), *named, cwd=folder)
    return folder


def _pixels(path: Path) -> int:
    """Return the pixels of the input of a file."""
    contract = ModelContract.from_metadata(check_model_file(path).metadata, source=str(path))
    return contract.height * contract.width


def _measured(environment: Environment, processor: str, folders: list[Path]) -> None:
    """Run the jobs of a processor whose results are not in the work folder."""
    print(processor, flush=True)
    for folder in folders:
        for file in _files(folder):
            (folder / processor / file).mkdir(parents=True, exist_ok=True)
    first, out = _files(folders[0]), folders[0] / processor
    wrong = [damaged(first["arm"], out.parent / f"{kind}.onnx", kind) for kind in DAMAGE]
    jobs = [_job("verify", path, out / f"{path.stem}.json") for path in wrong]
    for folder in folders:
        for file, path in _files(folder).items():
            labels = folder / processor / file
            places = {"images": str(folder / "images"), "labels": str(labels)}
            jobs.append({**_job("commands", path, labels.with_suffix(".json")), **places})
    _inside(environment, processor, jobs)
    for file in TRACED:
        log = out / f"{file}.log"
        _inside(environment, processor, [_job("verify", first[file], out / f"{file}.traced.json")], log=log)
        if log.is_file():
            (out / f"{file}.instructions.json").write_text(json.dumps(translated(log)), encoding="utf-8")
    jobs = [_job("kernels", first[file], out / f"{file}.kernels.json") for file in TRACED]
    _inside(environment, processor, jobs, tools=True)


def _job(what: str, model: Path, out: Path) -> dict[str, str]:
    return {"what": what, "model": str(model), "out": str(out)}


def _inside(environment: Environment, processor: str, jobs: list[dict[str, str]], **options: Any) -> None:
    """Run those jobs of arm_inside.py that have no result."""
    jobs = [job for job in jobs if not Path(job["out"]).is_file()]
    if not jobs:
        return
    with tempfile.TemporaryDirectory() as name:
        listed = Path(name, "jobs.json")
        listed.write_text(json.dumps(jobs), encoding="utf-8")
        inside = Path(__file__).with_name("arm_inside.py")
        finished = environment.run([inside, listed], processor=processor, **options)
    if finished.returncode:
        sys.exit(f"{processor}: {finished.stderr[-2000:]}")


def _rows(processor: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the result of each file of a network on a processor."""
    for file in _files(folder):
        labels = folder / processor / file
        row = _read(labels.with_suffix(".json"))
        row["predict"] |= _differences(folder / "x86_64" / file, labels)
        yield {"processor": processor, "network": folder.name, "file": file, **row}


def _traced(processor: str, folder: Path) -> dict[str, Any]:
    """Return what was seen of the instructions and the kernels of a network's files."""
    out = folder / processor
    files = {
        file: {**_read(out / f"{file}.kernels.json"), "instructions": _read(out / f"{file}.instructions.json")}
        for file in TRACED
    }
    wrong = {kind: _read(out / f"{kind}.json") for kind in DAMAGE}
    return {"name": processor, "title": PROCESSORS[processor], "traced": files, "damaged": wrong}


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def _differences(here: Path, there: Path) -> dict[str, Any]:
    """Compare the label maps of this machine with those of the emulated processor."""
    names = sorted(path.relative_to(here) for path in here.rglob("*.png"))
    pairs = [[np.asarray(Image.open(folder / name)) for folder in (here, there)] for name in names]
    pixels, differing = sum(one.size for one, _ in pairs), sum(int((one != other).sum()) for one, other in pairs)
    return {"images": len(pairs), "pixels": pixels, "differing": differing}


def damaged(path: Path, target: Path, kind: str) -> Path:
    """Write a damaged copy of an INT8 file; all but "byte" have the right checksum.

    Parameters
    ----------
    path, target
        The file and its copy.
    kind
        "weights": those of the second INT8 convolution have the other sign. "golden": a hundredth of the golden labels
        are of another class. "byte": a bit of a byte in the middle of the file is flipped.
    """
    data = bytearray(path.read_bytes())
    if kind == "byte":
        data[len(data) // 2] ^= 1
        target.write_bytes(data)
        return target
    model = onnx.load(path)
    if kind == "weights":
        kernels = [each for each in model.graph.initializer if each.data_type == onnx.TensorProto.INT8 and each.dims]
        tensor = [each for each in kernels if len(each.dims) == 4][1]
        flipped = -np.maximum(onnx.numpy_helper.to_array(tensor), -127)
        tensor.CopyFrom(onnx.numpy_helper.from_array(flipped, tensor.name))
    metadata = {entry.key: entry for entry in model.metadata_props if entry.key != CHECKSUM_KEY}
    if kind == "golden":
        pair = GoldenPair.from_metadata({GOLDEN_KEY: metadata[GOLDEN_KEY].value}, source=str(path))
        labels = pair.labels.copy()
        labels.flat[::100] = (labels.flat[::100] + 1) % 2
        metadata[GOLDEN_KEY].value = GoldenPair(pair.images, labels).to_json()
    entries = [(entry.key, entry.value) for entry in metadata.values()]
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, dict(entries))
    target.write_bytes(sealed(model.SerializeToString()))
    return target


def _versions(environment: Environment) -> dict[str, str]:
    qemu = subprocess.run([environment.qemu, "--version"], capture_output=True, text=True, check=True).stdout
    python = environment.run(["--version"], processor="max").stdout.split()[1]
    return {"qemu": qemu.split()[2], "debian": SUITE, "python": python}


if __name__ == "__main__":
    main()
