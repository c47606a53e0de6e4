"""The folder of `segtool page`: its files, its contract.json, and what is refused."""

from __future__ import annotations

import base64
import json
import os
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from tiny_models import tiny_contract, write_model, write_proven

from segtool.cli import main
from segtool.contract import GoldenPair
from segtool.errors import OutputWriteError
from segtool.files import sha256_of
from segtool.web import write_page
from segtool.web.runtime import INSTALL, VERSION

STATIC = Path(__file__).parents[3] / "src" / "segtool" / "web" / "static"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["page", *map(str, arguments)])


def runtime_at(folder: Path, version: str = VERSION) -> Path:
    """Write what segtool looks at of the npm package, where npm would."""
    dist = folder / "node_modules" / "onnxruntime-web" / "dist"
    dist.mkdir(parents=True)
    (dist / "ort.wasm.min.mjs").write_text(f"/*!\n * ONNX Runtime Web v{version}\n */\n")
    (dist / "ort-wasm-simd-threaded.mjs").write_text("// threads\n")
    (dist / "ort-wasm-simd-threaded.wasm").write_bytes(b"\0asm\1\0\0\0\0\3abc")
    return dist


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_folder_is_whole(here: Path) -> None:
    runtime_at(here)
    result = call(write_proven(here / "digits.onnx"), "site", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    written = {str(path.relative_to("site")) for path in Path("site").rglob("*") if path.is_file()}
    assert set(found["files"]) == written
    assert written >= {"index.html", "page.js", "style.css", "contract.json", "model.onnx"}
    assert written >= {f"runtime/{name}" for name in ("ort.wasm.min.js", "ort-wasm-simd-threaded.wasm")}
    assert found["models"] == {"model.onnx": str(here / "digits.onnx")}
    assert found["bytes"] == sum(path.stat().st_size for path in Path("site").rglob("*") if path.is_file())
    assert Path("site/model.onnx").read_bytes() == Path("digits.onnx").read_bytes()


def test_every_file_that_a_page_names_is_in_the_folder(here: Path) -> None:
    runtime_at(here)
    files = write_page([write_proven(here / "a.onnx")], here / "site").files
    texts = "".join(path.read_text(encoding="utf-8") for path in STATIC.iterdir())
    named = re.findall(r'(?:from|src=|href=|URL\() ?"(?:\./)?([\w./-]+\.\w+)"', texts)
    assert len(named) >= 8
    assert set(named) <= set(files)
    assert {path.name for path in STATIC.iterdir()} <= set(files)
    assert not re.search(r"https?://(?!localhost)", texts)


def test_the_contract_has_what_the_page_needs(here: Path) -> None:
    runtime_at(here)
    contract = tiny_contract(class_names=("a\u202eb", *map(str, range(1, 10)), "background"))
    write_page([write_proven(here / "a.onnx", contract)], here / "site")
    stated = json.loads(Path("site/contract.json").read_text(encoding="utf-8"))
    assert (stated["height"], stated["width"], stated["channels"], stated["size_policy"]) == (64, 84, 1, "resize")
    assert stated["class_names"][0] == "a\ufffdb"
    assert stated["palette"] == [list(color) for color in contract.palette]
    assert stated["background_id"] == 10
    assert stated["onnxruntime_web"] == VERSION
    (model,) = stated["models"]
    assert (model["file"], model["precision"], model["head"]) == ("model.onnx", "float32", "labels")
    assert model["required_agreement"] == 0.9999
    golden = GoldenPair.from_metadata({"segtool.golden": json.dumps(model["golden"])}, source="it")
    probe = Image.open(BytesIO(base64.b64decode(stated["probe_png"])))
    assert np.array_equal(np.asarray(probe)[..., None], golden.images[0])


def test_two_files_of_one_network(here: Path) -> None:
    runtime_at(here)
    models = [write_proven(here / "a.onnx"), write_proven(here / "b.onnx", tiny_contract(precision="int8"))]
    page = write_page(models, here / "site")
    assert page.models == {"model.onnx": models[0], "model.int8.onnx": models[1]}
    stated = json.loads(Path("site/contract.json").read_text(encoding="utf-8"))
    assert [each["required_agreement"] for each in stated["models"]] == [0.9999, 0.99]


def test_files_of_two_networks_are_refused(here: Path) -> None:
    """Their contracts may be equal: that INT8 was made from this FP32 file says its digest."""
    runtime_at(here)
    float32 = write_proven(here / "a.onnx")
    contract = tiny_contract(precision="int8", quantization={"float32_sha256": sha256_of(float32)})
    assert call(float32, write_proven(here / "b.onnx", contract), "site").exit_code == 0
    result = call(write_proven(here / "c.onnx", images=3), "b.onnx", "other")
    assert result.exit_code == 1
    assert "b.onnx was made from another FP32 file than" in result.stderr
    assert not Path("other").exists()


def test_a_file_that_verify_refuses_is_refused(here: Path) -> None:
    runtime_at(here)
    images = np.zeros((1, 64, 84, 1), np.uint8)
    wrong = GoldenPair(images, np.ones((1, 64, 84), np.uint8))
    result = call(write_model(here / "a.onnx", golden=wrong), "site")
    assert result.exit_code == 4
    assert "a.onnx fails `segtool verify` here: 0.00% of its golden pixels" in result.stderr
    assert not Path("site").exists()


def test_a_page_of_one_file_removes_the_other_one_of_an_earlier_page(here: Path) -> None:
    runtime_at(here)
    both = [write_proven(here / "a.onnx"), write_proven(here / "b.onnx", tiny_contract(precision="int8"))]
    write_page(both, here / "site")
    Path("site/notes.txt").write_text("mine")
    page = write_page(both[1:], here / "site", overwrite=True)
    assert not Path("site/model.onnx").exists()
    assert page.size + len("mine") == sum(path.stat().st_size for path in Path("site").rglob("*") if path.is_file())


@pytest.mark.parametrize("cut", [0, 4, 8, 12])
def test_a_cut_runtime_is_refused(here: Path, cut: int) -> None:
    wasm = runtime_at(here) / "ort-wasm-simd-threaded.wasm"
    wasm.write_bytes(wasm.read_bytes()[:cut])
    result = call(write_proven(here / "a.onnx"), "site")
    assert result.exit_code == 1
    assert "is not a whole WebAssembly file; run `npm install" in result.stderr


def test_one_class_may_be_beyond_the_bytes(here: Path) -> None:
    """A model of more than 256 classes has uint16 labels, in its golden pair too."""
    runtime_at(here)
    contract = tiny_contract(class_names=tuple(f"c{index}" for index in range(300)))
    write_page([write_proven(here / "a.onnx", contract)], here / "site")
    stated = json.loads(Path("site/contract.json").read_text(encoding="utf-8"))
    assert stated["models"][0]["golden"]["labels"]["dtype"] == "uint16"


@pytest.mark.parametrize(
    "place", [".", "node_modules", "node_modules/onnxruntime-web", "node_modules/onnxruntime-web/dist"]
)
def test_the_runtime_is_found_from_each_of_its_folders(here: Path, place: str) -> None:
    runtime_at(here / "elsewhere")
    assert call(write_proven(here / "a.onnx"), "site", "--runtime", here / "elsewhere" / place).exit_code == 0


@pytest.mark.parametrize("given", [(), ("--runtime", "nowhere")])
def test_without_the_runtime_the_line_to_install_it(here: Path, given: tuple[str, ...]) -> None:
    result = call(write_proven(here / "a.onnx"), "site", *given)
    assert result.exit_code == 1
    assert INSTALL in result.stderr
    assert not Path("site").exists()


def test_another_version_of_the_runtime_is_refused(here: Path) -> None:
    runtime_at(here, "1.2.3")
    result = call(write_proven(here / "a.onnx"), "site")
    assert result.exit_code == 1
    assert "1.2.3" in result.stderr
    assert INSTALL in result.stderr


def test_an_incomplete_runtime_is_refused(here: Path) -> None:
    (runtime_at(here) / "ort-wasm-simd-threaded.wasm").unlink()
    result = call(write_proven(here / "a.onnx"), "site")
    assert result.exit_code == 1
    assert "ort-wasm-simd-threaded.wasm" in result.stderr


@pytest.mark.parametrize(
    ("first", "second", "noun"),
    [({}, {}, "float32"), ({}, {"precision": "int8", "width": 80}, "width")],
    ids=["same-precision", "other-size"],
)
def test_two_files_that_do_not_belong_together(here: Path, first: dict, second: dict, noun: str) -> None:
    runtime_at(here)
    models = [write_proven(here / f"{i}.onnx", tiny_contract(**each)) for i, each in enumerate((first, second))]
    result = call(*models, "site")
    assert result.exit_code == 1
    assert noun in result.stderr


def test_heads_with_scores(here: Path) -> None:
    """They work, but not with tiles: the page would have to merge the scores."""
    runtime_at(here)
    assert call(write_proven(here / "a.onnx", tiny_contract(head="probabilities")), "site").exit_code == 0
    tiled = write_proven(here / "b.onnx", tiny_contract(head="logits", size_policy="tile"))
    result = call(tiled, "other")
    assert result.exit_code == 1
    assert "tiles" in result.stderr


def test_a_file_without_a_golden_pair(here: Path) -> None:
    runtime_at(here)
    result = call(write_model(here / "a.onnx"), "site")
    assert result.exit_code == 1
    assert "golden" in result.stderr


@pytest.mark.parametrize("given", [["a.onnx"], ["a.onnx", "b.onnx", "c.onnx", "site"], []])
def test_wrong_usage(here: Path, given: list[str]) -> None:
    assert call(*given).exit_code == 2


def test_a_folder_with_files_is_kept_unless_overwritten(here: Path) -> None:
    runtime_at(here)
    model = write_proven(here / "a.onnx")
    Path("site").mkdir()
    Path("site/mine.txt").write_text("mine")
    refused = call(model, "site")
    assert refused.exit_code == 1
    assert "--overwrite" in refused.stderr
    assert [path.name for path in Path("site").iterdir()] == ["mine.txt"]
    assert call(model, "site", "--overwrite").exit_code == 0
    assert call(model, "site", "--overwrite").exit_code == 0
    assert Path("site/mine.txt").read_text() == "mine"


def test_a_model_in_the_folder_is_never_replaced(here: Path) -> None:
    runtime_at(here)
    Path("site").mkdir()
    other, model = write_proven(here / "site" / "model.onnx"), write_proven(here / "a.onnx", images=1)
    assert call(other, "site", "--overwrite").exit_code == 1
    assert call(model, "a.onnx/site").exit_code == 1
    Path("file").write_text("a file")
    assert call(model, "file", "--overwrite").exit_code == 1


def test_a_run_folder_is_never_taken_for_a_page(here: Path) -> None:
    """`segtool page RUN` without DIR: the run would be the folder of the page."""
    runtime_at(here)
    run = here / "run"
    run.mkdir()
    before = write_proven(run / "model.onnx", images=1).read_bytes()
    result = call(write_proven(here / "a.onnx"), run, "--overwrite")
    assert result.exit_code == 1
    assert "model.onnx" in result.stderr
    assert (run / "model.onnx").read_bytes() == before
    assert sorted(path.name for path in run.iterdir()) == ["model.onnx"]


def test_a_folder_that_cannot_be_written(here: Path) -> None:
    if os.geteuid() == 0:
        folder = Path("/proc/segtool-page")  # permissions do not stop root, but this file system has no new files
    else:
        folder = here / "read-only"
        folder.mkdir(mode=0o555)
    runtime_at(here)
    with pytest.raises(OutputWriteError):
        write_page([write_proven(here / "a.onnx")], folder)


def test_every_line_to_install_names_the_tested_version() -> None:
    root = STATIC.parents[3]
    places = [root / "CONTRIBUTING.md", root / "docs" / "deploying.md", root / "src" / "segtool" / "cli" / "page.py"]
    for path in places:
        assert set(re.findall(r"onnxruntime-web@([\w.]+)", path.read_text(encoding="utf-8"))) == {VERSION}
