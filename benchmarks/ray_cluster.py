"""A prediction on two Ray nodes, one of which is killed, against the local engine: results/ray_cluster.json.

Needs pip install -e ".[ray,train]"; `train` has the digits of the generated images. No other load may run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from commands import call, write_result

from segtool.data.loading import load_dataset
from segtool.data.make import write_samples
from segtool.machine.machine import package_versions

STORE = 100 << 20  # bytes of each node's object store


def main() -> None:
    """Predict the same images with the local engine, on two nodes, and on two nodes of which one is killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="an exported .onnx")
    parser.add_argument("--images", type=int, default=2000)
    arguments = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = load_dataset(f"m2nist-synthetic:{arguments.images}")
        write_samples(dataset, range(arguments.images), folder / "images")
        shutil.copyfile(arguments.model, folder / "model.onnx")
        local = _predict(folder, "local")
        runs = _on_ray(folder)
    write_result(
        "ray_cluster",
        {
            "model": arguments.model.name,
            "images": arguments.images,
            "versions": package_versions(["segtool", "ray", "fsspec", "pyarrow", "onnxruntime", "numpy", "pillow"]),
            "nodes": "2 of one processor each, on this machine",
            "local": local,
            **runs,
        },
    )


def _on_ray(folder: Path) -> dict[str, Any]:
    """Run on a cluster of two nodes twice; the second run loses a node with SIGKILL after a third of the images."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        second = cluster.add_node(num_cpus=1, object_store_memory=STORE)
        whole = _predict(folder, "two_nodes", "--engine", "ray", "--ray-address", cluster.address)
        killed = _predict(
            folder, "one_killed", "--engine", "ray", "--ray-address", cluster.address, kill=(cluster, second)
        )
    finally:
        cluster.shutdown()
    return {"two_nodes": whole, "one_killed": killed}


def _predict(folder: Path, out: str, *options: str, kill: tuple[Any, Any] | None = None) -> dict[str, Any]:
    """Run `segtool predict`, kill a node where asked, and compare the files with the local engine's."""
    arguments = ["predict", "images", "--model", "model.onnx", "--overlay", "--out", out, "--json", *options]
    print("$ segtool", *arguments, flush=True)
    total = sum(1 for _ in (folder / "images").rglob("*.png"))
    started, killed_at = time.perf_counter(), None
    process = subprocess.Popen(call(*arguments, "-q"), cwd=folder, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        time.sleep(0.02)
        if kill is not None and killed_at is None and (written := _written(folder / out)) > total / 3:
            cluster, node = kill
            cluster.remove_node(node, allow_graceful=False)
            killed_at = {"label_maps": written, "node": node.node_id, "seconds": _since(started)}
    result: dict[str, Any] = {"exit_code": process.returncode, "seconds": _since(started)}
    manifest = json.loads((folder / out / "manifest.json").read_text())
    ours, reference = _files(folder / out), _files(folder / "local")
    result |= {"counts": manifest["counts"], "files": len(ours)}
    if out == "local":
        return result
    return {
        **result,
        "images_by_node": manifest["nodes"],
        **({"killed": killed_at} if kill is not None else {}),
        "identical_to_local": sum(ours.get(name) == data for name, data in reference.items()),
        "files_that_local_has_not": len(ours.keys() - reference.keys()),
    }


def _since(started: float) -> float:
    return round(time.perf_counter() - started, 1)


def _written(out: Path) -> int:
    """Return how many label maps are there; the scratch folder of unfinished files is not looked into."""
    return sum(1 for path in out.glob("*.png") if not path.name.endswith(".overlay.png"))


def _files(out: Path) -> dict[str, bytes]:
    files = (path for path in out.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


if __name__ == "__main__":
    main()
