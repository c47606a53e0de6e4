"""`segtool predict --engine ray` on a Ray cluster of two nodes on this machine: `pytest -m ray`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_models import write_model

pytest.importorskip("fsspec", reason='fsspec is not installed: pip install "segtool[ray]"')

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]

STORE = 100 << 20
INPUTS = ("images", "images/stack.npy")
COUNTS = {"done": 303, "skipped": 0, "failed": 1, "not_run": 0}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head of one processor."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    utils = pytest.importorskip("ray.cluster_utils", reason='Ray is not installed: pip install "segtool[ray]"')
    head = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
    made = utils.Cluster(initialize_head=True, head_node_args=head)
    yield made
    made.shutdown()


@pytest.fixture
def node(cluster: Any) -> Iterator[Any]:
    """The second node, of one processor."""
    added = cluster.add_node(num_cpus=1, object_store_memory=STORE)
    yield added
    if added in cluster.list_all_nodes():
        cluster.remove_node(added)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, and images large enough that 300 of them take some seconds."""
    folder = tmp_path_factory.mktemp("ray")
    write_model(folder / "model.onnx")
    rng = np.random.default_rng(5)
    for index in range(300):
        path = folder / f"images/{index % 3}/{index:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        blocks = rng.integers(0, 256, (50, 75), dtype=np.uint8)
        Image.fromarray(np.kron(blocks, np.ones((8, 8), np.uint8))).save(path, compress_level=1)
    (folder / "images/broken.png").write_bytes(b"no image")
    np.save(folder / "images/stack.npy", rng.integers(0, 256, (3, 64, 84), dtype=np.uint8))
    assert segtool(folder, *INPUTS, "--out", "local").returncode == 3
    return folder


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "segtool", "predict", "--model", "model.onnx", "--overlay", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def segtool(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    process = start(folder, *arguments)
    stdout, stderr = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def on_ray(cluster: Any, *arguments: str) -> tuple[str, ...]:
    return ("--engine", "ray", "--ray-address", cluster.address, *arguments)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def entries(folder: Path) -> list[dict[str, Any]]:
    """The entries of a manifest without what differs from run to run."""
    found = json.loads((folder / "manifest.json").read_text())["entries"]
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in found]


def test_the_same_files_as_the_local_engine(cluster: Any, node: Any, work: Path) -> None:
    result = segtool(work, *INPUTS, "--out", "two", *on_ray(cluster, "--json"))
    assert result.returncode == 3, result.stderr
    assert "images/broken.png is not an image" in result.stderr.replace("\n", " ")
    assert contents(work / "two") == contents(work / "local")
    assert len(contents(work / "two")) == 606
    assert entries(work / "two") == entries(work / "local")
    manifest = json.loads(result.stdout)
    assert manifest["counts"] == COUNTS
    assert (manifest["status"], manifest["engine"], manifest["workers"]) == ("complete", "ray", 2)
    assert sum(manifest["nodes"].values()) == 304
    assert (manifest["provider"], manifest["kinds"]) == ("CPUExecutionProvider", ["labels", "overlay"])


def test_a_node_killed_in_the_middle(cluster: Any, node: Any, work: Path) -> None:
    process = start(work, *INPUTS, "--out", "killed", *on_ray(cluster))
    while len(list((work / "killed").glob("[0-2]/*.overlay.png"))) < 100:
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.02)
    cluster.remove_node(node, allow_graceful=False)  # SIGKILL for its raylet, which takes its workers with it
    assert len(list((work / "killed").glob("[0-2]/*.overlay.png"))) < 300, "it was over before the kill"
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 3, stderr
    assert contents(work / "killed").keys() == contents(work / "local").keys()  # and nothing unfinished
    assert contents(work / "killed") == contents(work / "local")
    assert entries(work / "killed") == entries(work / "local")
    manifest = json.loads((work / "killed/manifest.json").read_text())
    assert manifest["status"] == "complete"
    assert manifest["counts"] == COUNTS


def test_file_urls_are_paths_and_what_is_there_is_refused(cluster: Any, node: Any, work: Path) -> None:
    result = segtool(work, f"file://{work}/images", "--out", f"file://{work}/through", *on_ray(cluster))
    assert result.returncode == 3, result.stderr
    images = {name: data for name, data in contents(work / "local").items() if not name.startswith("stack/")}
    assert contents(work / "through") == images
    again = segtool(work, f"file://{work}/images", "--out", f"file://{work}/through", *on_ray(cluster))
    assert again.returncode == 1
    assert "already exists" in again.stderr


def test_reading_and_writing_s3(cluster: Any, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs", reason='pip install s3fs "moto[server]"')
    server = pytest.importorskip("moto.server", reason='pip install s3fs "moto[server]"').ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    secrets = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**secrets, "AWS_ENDPOINT_URL": f"http://{host}:{port}", "NO_PROXY": host}.items():
        monkeypatch.setenv(name, value)
    try:
        import s3fs

        fs = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
        fs.mkdir("images")
        fs.mkdir("results")
        fs.put(f"{work}/images/0/", "images/0", recursive=True)
        # A cluster of its own: the actors of another do not have this environment.
        result = segtool(work, "s3://images/0", "--out", "s3://results/o", "--engine", "ray", "--ray-address", "local")
        assert result.returncode == 0, result.stderr
        fs.get("results/o/", f"{work}/from_s3/", recursive=True)
        assert len(fs.find("results")) == 201
    finally:
        server.stop()
    expected = {name[2:]: data for name, data in contents(work / "local").items() if name.startswith("0/")}
    assert contents(work / "from_s3") == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--provider", "dml"), "does not have the provider 'dml'"),
        (("--provider", "cuda"), "No node of the Ray cluster has"),
        (("--threads", "5"), "No node of the Ray cluster has 5 processors"),
    ],
)
def test_what_the_nodes_cannot_do_is_one_sentence(
    cluster: Any, work: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = segtool(work, "images", "--out", f"refused{arguments[1]}", *on_ray(cluster, *arguments))
    assert result.returncode == 1
    assert said in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr


def test_an_output_that_cannot_be_written_stops_the_run(cluster: Any, work: Path) -> None:
    (work / "stopped").mkdir()
    (work / "stopped/1").write_text("in the way of a folder")
    result = segtool(work, "images", "--out", "stopped", *on_ray(cluster))
    assert result.returncode == 1
    assert "Could not write" in result.stderr
    assert "Traceback" not in result.stderr
    manifest = json.loads((work / "stopped/manifest.json").read_text())
    assert manifest["status"] == "interrupted"
    assert manifest["counts"]["not_run"] > 0
    assert all(
        (work / "stopped" / name).exists() for entry in manifest["entries"] for name in entry["outputs"].values()
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_is_completed_by_the_local_engine(cluster: Any, work: Path, number: signal.Signals) -> None:
    out = f"stopped{number}"
    process = start(work, *INPUTS, "--out", out, *on_ray(cluster))
    while len(list((work / out).glob("[0-2]/*.overlay.png"))) < 100:
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.02)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 3, stderr
    assert "Traceback" not in stderr
    manifest = json.loads((work / out / "manifest.json").read_text())
    assert manifest["status"] == "interrupted"
    assert manifest["counts"]["not_run"] > 0
    assert not list((work / out).glob(".segtool-*"))
    assert segtool(work, *INPUTS, "--out", out, "--resume").returncode == 3
    assert contents(work / out) == contents(work / "local")
    counts = json.loads((work / out / "manifest.json").read_text())["counts"]
    assert counts["skipped"] == manifest["counts"]["done"] > 0
    assert counts["skipped"] + counts["done"] == COUNTS["done"]


def test_another_run_in_the_same_folder_is_refused(cluster: Any, work: Path) -> None:
    process = start(work, *INPUTS, "--out", "held", *on_ray(cluster))
    while not (work / "held/manifest.jsonl.part").exists():
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.02)
    second = segtool(work, *INPUTS, "--out", "held", "--overwrite", "--engine", "ray")
    assert second.returncode == 1
    assert "Another process is writing predictions" in second.stderr
    assert process.communicate(timeout=300) and process.returncode == 3
    assert contents(work / "held") == contents(work / "local")


def test_usage_statistics_are_off(work: Path) -> None:
    code = (
        "from segtool.predict.ray_engine.cluster import import_ray; import_ray();"
        "from ray._common.usage.usage_lib import usage_stats_enabled; print(usage_stats_enabled())"
    )
    env = {**os.environ, "RAY_USAGE_STATS_ENABLED": "1"}
    result = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False"]
