"""Addresses and room of a Ray cluster, without one."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from segtool.cli import main
from segtool.errors import ProviderError
from segtool.predict.ray_engine.cluster import ClusterOptions, _connect, _require_listener, count_workers


class Nodes:
    """What is asked of Ray, for nodes with these resources."""

    def __init__(self, *resources: dict[str, float]) -> None:
        self._resources = resources

    def nodes(self) -> list[dict[str, object]]:
        dead = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}
        return [{"Alive": True, "Resources": one} for one in self._resources] + [dead]

    def cluster_resources(self) -> dict[str, float]:
        return {"GPU": sum(one.get("GPU", 0) for one in self._resources)}


class TestRoom:
    def test_one_actor_a_processor_of_nodes_that_are_alive(self) -> None:
        assert count_workers(Nodes({"CPU": 4}, {"CPU": 2}, {}), ClusterOptions()) == 6

    def test_threads_are_not_split_over_nodes(self) -> None:
        nodes = Nodes({"CPU": 3}, {"CPU": 3})
        assert count_workers(nodes, ClusterOptions(threads=2)) == 2
        with pytest.raises(ProviderError, match="has 4 processors"):
            count_workers(nodes, ClusterOptions(threads=4))

    def test_a_gpu_for_each_actor(self) -> None:
        nodes = Nodes({"CPU": 8, "GPU": 2}, {"CPU": 8})
        assert count_workers(nodes, ClusterOptions(provider="CUDAExecutionProvider")) == 2
        with pytest.raises(ProviderError, match="and a GPU"):
            count_workers(Nodes({"CPU": 8}), ClusterOptions(provider="cuda", workers=1))

    def test_more_workers_than_room_is_said(self, caplog: pytest.LogCaptureFixture) -> None:
        assert count_workers(Nodes({"CPU": 2}), ClusterOptions(workers=5)) == 5
        assert "only 2 of 5" in caplog.text

    def test_gpus_that_auto_does_not_use_are_said(self, caplog: pytest.LogCaptureFixture) -> None:
        assert count_workers(Nodes({"CPU": 2, "GPU": 1}), ClusterOptions()) == 2
        assert "--provider cuda" in caplog.text


class TestAddress:
    def test_nobody_listens(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            with pytest.raises(ProviderError, match="There is no Ray cluster at 127"):
                _connect(None, ClusterOptions(address=f"127.0.0.1:{free.getsockname()[1]}"))

    def test_somebody_listens(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            _require_listener(f"127.0.0.1:{server.getsockname()[1]}")

    def test_ray_client(self) -> None:
        with pytest.raises(ProviderError, match="Ray Client"):
            _require_listener("ray://head:10001")


class TestCommandLine:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["s3://bucket/x"], "is a URL and needs --engine ray"),
            (["a.png", "--out", "s3://bucket/x"], "is a URL and needs --engine ray"),
            (["a.png", "--ray-address", "auto"], "--ray-address needs --engine ray"),
        ],
    )
    def test_what_the_local_engine_refuses(self, arguments: list[str], said: str) -> None:
        result = CliRunner().invoke(main, ["predict", *arguments])
        assert result.exit_code == 2
        assert said in result.output

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["a.png", "--resume"], "--resume needs --engine local"),
            (["--watch", "."], "--watch needs --engine local"),
            (["a.png", "--watch-idle", "3"], "--watch needs --engine local"),
            (["a.png", "--provider", "xnnpack", "--provider-option", "intra_op_num_threads=2"], "with --threads"),
        ],
    )
    def test_what_a_cluster_does_not_have(self, arguments: list[str], said: str) -> None:
        result = CliRunner().invoke(main, ["predict", "--engine", "ray", *arguments])
        assert result.exit_code == 2
        assert said in result.output

    def test_a_list_on_stdin_with_a_url(self) -> None:
        result = CliRunner().invoke(main, ["predict", "-"], input="a.png\ns3://bucket/b.png\n")
        assert result.exit_code == 2
        assert "s3://bucket/b.png is a URL and needs --engine ray" in result.output

    def test_without_ray_it_says_what_to_install(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "ray", None)
        monkeypatch.setitem(sys.modules, "ray.data", None)
        monkeypatch.chdir(tmp_path)
        (tmp_path / "a.png").write_bytes(b"")
        result = CliRunner().invoke(main, ["predict", "a.png", "--engine", "ray", "--out", "out"])
        assert result.exit_code == 1
        assert 'install it with pip install "segtool[ray]"' in " ".join(result.output.split())
        assert not (tmp_path / "out").exists()

    def test_the_local_engine_imports_neither_ray_nor_fsspec(self) -> None:
        code = "import sys, segtool.cli.predict; print({'ray', 'fsspec'} & set(sys.modules))"
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert result.stdout.strip() == "set()"
