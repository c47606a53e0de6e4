"""Exported files on emulated Arm processors: results/arm.json, from which the tables of docs/deploying.md come.

`python benchmarks/arm.py --network NAME MODEL SPEC ...` exports each network (a run, .keras or .onnx) for the presets
`arm`, `x86` and `vnni`, with calibration images from SPEC. Each FP32 and INT8 file then runs in `aarch64.py`'s
environment as a Cortex-A72 (Raspberry Pi 4), a Cortex-A76 (Raspberry Pi 5), and "max", everything that qemu emulates:

- `verify`, `predict` and `info`, and the number of labels that differ from those of this x86 machine;
- the kernels expected (`segtool.benchmark.kernels`) by their part of the multiply-accumulates;
- of the first network, which should be a small one: the instructions for 8-bit integers that qemu translated while the
  file ran, the number of INT8 convolutions whose kernel is the predicted one (as in `kernel_classes.py`), and `verify`
  of damaged copies.

Emulated times say nothing about a processor, and are not recorded. The results of finished jobs are kept in the work
folder: the same command continues after a stop. It starts with the files that results/arm.json lacks. `--finished` runs
nothing and writes the results of the finished jobs; those of earlier runs stay for the others, with their command.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from aarch64 import FOLDER, SUITE, Environment, translated
from commands import RESULTS, segtool, write_result
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
KEY = ("processor", "network", "file")


def main() -> None:
    """Export, build the environment, run each file on each processor, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs=3, action="append", metavar=("NAME", "MODEL", "SPEC"), required=True)
    parser.add_argument("--processor", action="append", choices=list(PROCESSORS), help="all, if not given")
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--large-images", type=int, default=2, help="of networks with larger inputs, which take longer")
    parser.add_argument("--work", type=Path, default=FOLDER.with_name("arm"))
    parser.add_argument("--environment", type=Path, default=FOLDER)
    parser.add_argument("--note", default="", help="what a reader should know of the networks")
    parser.add_argument("--finished", action="store_true", help="run nothing; write the results of finished jobs")
    asked = parser.parse_args()
    environment = Environment(asked.environment.resolve())
    environment.build()
    earlier = _earlier()
    processors = asked.processor or list(PROCESSORS)
    folders = [asked.work.resolve() / name for name, _, _ in asked.network]
    if not asked.finished:
        for network in asked.network:
            _prepared(network, asked)
        _measured(environment, processors, folders, known=set(_by_file(earlier)))
    installed = environment.installed()
    found = {
        "environment": {**_versions(environment), "packages": installed},
        "note": asked.note,
        "total_bytes": sum(row["bytes"] for row in installed),
        "traced_network": folders[0].name,
        "processors": [row for processor in processors for row in _traced(processor, folders[0])],
        "files": [row for processor in processors for folder in folders for row in _rows(processor, folder)],
    }
    write_result("arm", with_earlier(found, earlier))


def _earlier() -> dict[str, Any]:
    """Return the results of earlier runs, without any if there were none."""
    path = RESULTS / "arm.json"
    return _read(path) if path.is_file() else {"files": [], "processors": []}


def _by_file(result: dict[str, Any]) -> dict[tuple[str, ...], dict[str, Any]]:
    return {tuple(row[name] for name in KEY): row for row in result["files"]}


def with_earlier(found: dict[str, Any], earlier: dict[str, Any]) -> dict[str, Any]:
    """Return results with those of earlier runs that they lack; each such file has the command that made it."""
    made_by = {"made_by": earlier.get("made_by")}
    kept = {key: made_by | row for key, row in _by_file(earlier).items()}
    traced = {row["name"]: row for row in (*earlier["processors"], *found["processors"])}
    files = kept | _by_file(found)
    notes = found["note"].split(". ") + (
        earlier.get("note", "").split(". ") if len(files) > len(found["files"]) else []
    )
    sentences = dict.fromkeys(f"{note.removesuffix('.')}." for note in notes if note)
    networks = list(dict.fromkeys(network for _, network, _ in files))
    keys = product(networks, ("FP32", *PRESETS), PROCESSORS)
    ordered = [files[key] for network, file, processor in keys if (key := (processor, network, file)) in files]
    return {**found, "processors": list(traced.values()), "files": ordered, "note": " ".join(sentences)}


def _files(folder: Path) -> dict[str, Path]:
    """Return the files of a network by preset; the exports for all presets have the same FP32 file."""
    return {"FP32": folder / "arm.onnx", **{preset: folder / f"{preset}.int8.onnx" for preset in PRESETS}}


def _prepared(network: Sequence[str], asked: argparse.Namespace) -> None:
    """Fill the folder of a network with its files, some images, and the labels of this machine for them."""
    name, model, spec = network
    folder: Path = asked.work.resolve() / name
    folder.mkdir(parents=True, exist_ok=True)
    options = ("--data", spec, "--quantize", "--winograd", "off", "--waive", "speed", "--max-drop", "100", "--quiet")
    for preset in PRESETS:
        if not _files(folder)[preset].is_file():
            target = ("--preset", preset, "--out", str(folder / f"{preset}.onnx"), "--overwrite")
            _required("export", model, *options, *target, cwd=Path.cwd())
    if not (folder / "images").is_dir():
        dataset = load_dataset(spec)
        count = asked.images if _pixels(_files(folder)["FP32"]) <= SMALL else asked.large_images
        write_samples(dataset, np.arange(len(dataset))[-count:], folder / "images")
    for file, path in _files(folder).items():
        if not (folder / "x86_64" / file / "manifest.json").is_file():
            named = ("--model", str(path), "--out", str(folder / "x86_64" / file), "--overwrite", "--quiet")
            _required("predict", str(folder / "images"), *named, cwd=folder)


def _required(*arguments: str, cwd: Path) -> None:
    """Run segtool; stop where it fails, which its output says."""
    if code := segtool(*arguments, cwd=cwd)["exit_code"]:
        sys.exit(f"segtool {arguments[0]} ended with exit code {code}.")


def _pixels(path: Path) -> int:
    """Return the pixels of the input of a file."""
    contract = ModelContract.from_metadata(check_model_file(path).metadata, source=str(path))
    return contract.height * contract.width


def _measured(
    environment: Environment, processors: Sequence[str], folders: Sequence[Path], *, known: set[tuple[str, ...]]
) -> None:
    """Run the jobs that have no result in the work folder, first those of files that are not `known`."""
    for is_known in (False, True):
        for processor in processors:
            files = [
                _commands(processor, folder, file)
                for folder, file in product(folders, ("FP32", *PRESETS))
                if ((processor, folder.name, file) in known) == is_known
            ]
            _inside(environment, processor, files)
    for processor in processors:
        _trace(environment, processor, folders[0])


def _commands(processor: str, folder: Path, file: str) -> dict[str, str]:
    """Return the job of a file on a processor."""
    labels = folder / processor / file
    labels.mkdir(parents=True, exist_ok=True)
    job = _job("commands", _files(folder)[file], labels.with_suffix(".json"))
    return {**job, "images": str(folder / "images"), "labels": str(labels)}


def _trace(environment: Environment, processor: str, folder: Path) -> None:
    """Verify damaged copies of a network's file; see the instructions and the kernels of two of its files."""
    files, out = _files(folder), folder / processor
    wrong = [damaged(files["arm"], out.parent / f"{kind}.onnx", kind) for kind in DAMAGE]
    _inside(environment, processor, [_job("verify", path, out / f"{path.stem}.json") for path in wrong])
    for file in TRACED:
        log = out / f"{file}.log"
        _inside(environment, processor, [_job("verify", files[file], out / f"{file}.traced.json")], log=log)
        if log.is_file():
            (out / f"{file}.instructions.json").write_text(json.dumps(translated(log)), encoding="utf-8")
    jobs = [_job("kernels", files[file], out / f"{file}.kernels.json") for file in TRACED]
    _inside(environment, processor, jobs, tools=True)


def _job(what: str, model: Path, out: Path) -> dict[str, str]:
    return {"what": what, "model": str(model), "out": str(out)}


def _inside(environment: Environment, processor: str, jobs: list[dict[str, str]], **options: Any) -> None:
    """Run those jobs of arm_inside.py that have no result."""
    jobs = [job for job in jobs if not Path(job["out"]).is_file()]
    if not jobs:
        return
    print(f"{processor}: {', '.join(job['out'] for job in jobs)}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        listed = Path(name, "jobs.json")
        listed.write_text(json.dumps(jobs), encoding="utf-8")
        inside = Path(__file__).with_name("arm_inside.py")
        finished = environment.run([inside, listed], processor=processor, **options)
    if finished.returncode:
        sys.exit(f"{processor}: {finished.stderr[-2000:]}")


def _rows(processor: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the result of each file of a network on a processor that has one."""
    for file in _files(folder):
        labels = folder / processor / file
        if labels.with_suffix(".json").is_file():
            row = _read(labels.with_suffix(".json"))
            row["predict"] |= _differences(folder / "x86_64" / file, labels)
            yield {**dict(zip(KEY, (processor, folder.name, file), strict=True)), **row}


def _traced(processor: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield what was seen of the instructions and the kernels of a network's files, if all of it was."""
    out = folder / processor
    kinds = [f"{file}.{kind}.json" for file in TRACED for kind in ("kernels", "instructions")]
    if not all((out / name).is_file() for name in (*kinds, *(f"{kind}.json" for kind in DAMAGE))):
        return
    files = {
        file: {**_read(out / f"{file}.kernels.json"), "instructions": _read(out / f"{file}.instructions.json")}
        for file in TRACED
    }
    wrong = {kind: _read(out / f"{kind}.json") for kind in DAMAGE}
    yield {"name": processor, "title": PROCESSORS[processor], "traced": files, "damaged": wrong}


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
