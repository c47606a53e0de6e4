"""`segtool page` in a real browser: the labels of the command line, a verified model, and no other host."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import PIL
import pytest
from browser import CONTRAST, WIDER, Page, browser, find_browser
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from web_pages import (
    NAMES,
    Server,
    choose,
    complaints,
    labels_of,
    network,
    requested,
    start,
    text,
    upsampling_network,
    write_images,
)

import segtool
from segtool.cli import main
from segtool.contract import GOLDEN_KEY, GoldenPair
from segtool.errors import MissingExtraError
from segtool.images.image_io import read_image, read_pixels
from segtool.images.overlay import overlay
from segtool.models.shipped import SHIPPED
from segtool.web import write_page
from segtool.web.runtime import runtime_files

# node_modules of this folder, or what the variable names.
RUNTIME = Path(os.environ.get("ONNXRUNTIME_WEB") or Path(__file__).parents[2])


def _missing() -> str | None:
    if find_browser() is None:
        return "no Chromium is installed here, nor named by $CHROMIUM"
    try:
        runtime_files(RUNTIME)
    except MissingExtraError as error:
        return f"{error} The tests also look at $ONNXRUNTIME_WEB."
    return None


pytestmark = pytest.mark.skipif(_missing() is not None, reason=str(_missing()))

OLD_PILLOW = int(PIL.__version__.split(".")[0]) < 13  # it resizes in another order: some values differ by one
PIXELS = 64 * 84 * 4  # of the shipped model's golden pair
WIDE = tuple((index % 256, index // 2 % 256, 128) for index in range(300))


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a page for each kind of model, and ten images in images/."""
    root = tmp_path_factory.mktemp("sites")
    models = tmp_path_factory.mktemp("models")
    golden = segtool.load(SHIPPED, threads=1).golden()
    write_images(root / "images", golden.images[..., 0])
    kinds: dict[str, list[Path]] = {
        "digits": [SHIPPED],
        "both": [network(models / "f.onnx"), network(models / "i.onnx", precision="int8")],
        "tiles": [network(models / "t.onnx", size_policy="tile")],
        "scores": [network(models / "s.onnx", head="probabilities")],
        "cells": [upsampling_network(models / "c.onnx")],
        "wide": [network(models / "w.onnx", class_names=tuple(f"class {i}" for i in range(300)), palette=WIDE)],
    }
    for name, paths in kinds.items():
        write_page(paths, root / name, runtime=RUNTIME)
    return root


@pytest.fixture(scope="module")
def server(sites: Path) -> Iterator[Server]:
    with Server(sites, isolated=False) as running:
        yield running
        running.shutdown()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A browser that finds no other host."""
    rules = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    with browser(find_browser() or "", tmp_path_factory.mktemp("profile"), rules) as opened:
        yield opened


@pytest.mark.parametrize("kind", ["digits", "both", "tiles", "scores", "cells", "wide"])
def test_ten_images_have_the_labels_of_the_command_line(
    page: Page, sites: Path, server: Server, tmp_path: Path, kind: str
) -> None:
    url = f"{server.url}/{kind}"
    assert start(page, url), text(page, "#verify")
    images = sorted((sites / "images").iterdir())
    assert len(images) == 10
    model = SHIPPED if kind == "digits" else sites / kind / "model.onnx"
    called = CliRunner().invoke(
        main, ["predict", str(sites / "images"), "--model", str(model), "--out", str(tmp_path / "labels")]
    )
    assert called.exit_code == 0, called.output
    allowed = 0.001 if kind == "digits" else 0  # only INT8 may round
    for image in images:
        labels = choose(page, url, image)
        assert text(page, "#name").startswith(image.name), text(page, "#message")
        wanted = np.asarray(Image.open(tmp_path / "labels" / f"{image.stem}.png"))
        assert labels is not None
        assert labels.shape == wanted.shape, image.name
        assert (labels != wanted).mean() <= (0.02 if OLD_PILLOW else allowed), image.name
    assert len(page.evaluate("[...document.querySelectorAll('#legend li')].map(e => e.textContent)")) >= 1
    assert complaints(page) == []
    assert [each for each in requested(page) if not each.startswith((f"{server.url}/", "data:"))] == []
    assert server.missing == []


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_those_of_segtool(page: Page, sites: Path, server: Server, channels: int) -> None:
    """Decoded, upright, without transparency, grey or RGB, and resized with either axis first."""
    page.open(f"{server.url}/both/style.css")
    sizes = [(64, 84), (48, 64), (40, 300), (300, 40), (211, 500)]
    for image in sorted((sites / "images").iterdir()):
        found = page.evaluate(
            f"""import('{server.url}/both/pixels.js').then(async ({{ decode }}) => {{
              const file = await (await fetch('{server.url}/images/{image.name}')).blob();
              const pixels = await decode(file, {channels});
              return {json.dumps(sizes)}.map(size => {{
                let text = '';
                for (const value of pixels.resized(...size)) text += String.fromCharCode(value);
                return btoa(text);
              }});
            }})"""
        )
        wanted = read_pixels(image, channels=channels)
        for size, data in zip(sizes, found, strict=True):
            values = np.frombuffer(base64.b64decode(data), np.uint8).reshape(*size, channels).astype(int)
            assert abs(values - wanted.resized(*size)).max() <= OLD_PILLOW, (image.name, size)


@pytest.mark.parametrize("orientation", range(1, 10))
@pytest.mark.parametrize("suffix", ["webp", "png"])
def test_a_file_that_is_stored_turned_is_shown_upright(
    page: Page, sites: Path, server: Server, tmp_path: Path, orientation: int, suffix: str
) -> None:
    url = f"{server.url}/both"
    assert start(page, url)
    turned = Image.Exif()
    turned[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    pixels = np.random.default_rng(2).integers(0, 256, (30, 44, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, exif=turned, lossless=True)
    labels = choose(page, url, path)
    wanted = segtool.load(sites / "both" / "model.onnx", threads=1)(read_image(path, channels=3))
    assert labels is not None, text(page, "#message")
    np.testing.assert_array_equal(labels, wanted)


def test_an_image_of_one_class(page: Page, sites: Path, server: Server, tmp_path: Path) -> None:
    """No cell of it needs the upsampled scores."""
    url = f"{server.url}/cells"
    assert start(page, url), text(page, "#verify")
    Image.new("RGB", (80, 60), (0, 0, 0)).save(tmp_path / "black.png")
    labels = choose(page, url, tmp_path / "black.png")
    assert labels is not None, text(page, "#message")
    assert not labels.any()


def test_the_badge_and_the_size(page: Page, sites: Path, server: Server) -> None:
    assert start(page, f"{server.url}/digits")
    assert page.evaluate("document.getElementById('verify').dataset.state") == "pass"
    assert f"{PIXELS:,} golden pixels" in text(page, "#verify")
    assert "1 thread" in text(page, "#facts")
    assert sum(path.stat().st_size for path in (sites / "digits").rglob("*")) <= 20_000_000


def test_the_faster_file_is_used_and_named(page: Page, server: Server) -> None:
    assert start(page, f"{server.url}/both")
    rows = page.evaluate("[...document.querySelectorAll('#models tbody tr')].map(e => e.textContent)")
    assert len(rows) == 2
    assert [("(used)" in row) for row in rows].count(True) == 1
    assert "the faster one here" in text(page, "#verify")


def test_threads_where_the_page_is_isolated(page: Page, sites: Path) -> None:
    page.call("Emulation.setHardwareConcurrencyOverride", hardwareConcurrency=4)
    with Server(sites, isolated=True) as isolated:
        assert start(page, f"{isolated.url}/both"), text(page, "#verify")
        assert "2 threads" in text(page, "#facts")
        assert choose(page, f"{isolated.url}/both", sites / "images" / "c-rgb.png") is not None
        assert complaints(page) == []
        isolated.shutdown()
    page.call("Emulation.setHardwareConcurrencyOverride", hardwareConcurrency=2)


def test_the_picture_is_that_of_the_overlay(page: Page, sites: Path, server: Server, tmp_path: Path) -> None:
    url = f"{server.url}/both"
    assert start(page, url)
    path = tmp_path / "photo.png"
    image = np.asarray(Image.open(sites / "images" / "c-rgb.png").convert("RGB").resize((500, 340)))
    Image.fromarray(image).save(path)
    labels = choose(page, url, path)
    assert labels is not None
    stated = json.loads((sites / "both" / "contract.json").read_text(encoding="utf-8"))
    shown = page.evaluate("document.getElementById('picture').toDataURL('image/png').split(',')[1]")
    (tmp_path / "shown.png").write_bytes(base64.b64decode(shown))
    wanted = overlay(image, labels, [tuple(color) for color in stated["palette"]])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "shown.png").convert("RGB")), wanted)


def test_what_is_no_image_is_one_sentence(page: Page, server: Server, tmp_path: Path) -> None:
    url = f"{server.url}/both"
    assert start(page, url)
    for name in ("notes.txt", "damaged.png"):
        path = tmp_path / name
        path.write_bytes(b"\x89PNG\r\n\x1a\n this is no image" if name.endswith("png") else b"words")
        assert choose(page, url, path) is None
        assert name in text(page, "#message")
        assert "not an image" in text(page, "#message")


def test_an_image_that_fails_takes_the_one_before_away(page: Page, sites: Path, server: Server, tmp_path: Path) -> None:
    url = f"{server.url}/both"
    assert start(page, url)
    assert choose(page, url, sites / "images" / "c-rgb.png") is not None
    assert not page.evaluate("document.getElementById('result').hidden")
    (tmp_path / "notes.txt").write_bytes(b"words")
    assert choose(page, url, tmp_path / "notes.txt") is None
    assert page.evaluate("document.getElementById('result').hidden")


def test_on_a_phone_the_result_is_brought_into_sight(page: Page, sites: Path, server: Server) -> None:
    page.look(width=390, height=600)
    assert start(page, f"{server.url}/both")
    choose(page, f"{server.url}/both", sites / "images" / "f-photo.jpg")
    box = "document.getElementById('picture').getBoundingClientRect()"
    assert page.evaluate(f"{box}.bottom <= innerHeight && {box}.top >= 0"), page.evaluate(
        f"[{box}.top, {box}.bottom, innerHeight]"
    )


def test_an_image_is_dropped(page: Page, server: Server) -> None:
    url = f"{server.url}/both"
    assert start(page, url)
    page.evaluate(
        f"""fetch('{server.url}/images/c-rgb.png').then(found => found.blob()).then(blob => {{
          const data = new DataTransfer();
          data.items.add(new File([blob], 'dropped.png', {{ type: 'image/png' }}));
          document.body.dispatchEvent(new DragEvent('drop', {{ dataTransfer: data, bubbles: true, cancelable: true }}));
        }})"""
    )
    assert labels_of(page, url) is not None
    assert text(page, "#name").startswith("dropped.png")


def test_a_model_of_50_mb_works(page: Page, sites: Path, server: Server, tmp_path: Path) -> None:
    path = network(tmp_path / "large.onnx")
    model = onnx.load(path)
    table = numpy_helper.from_array(np.zeros(50_000_000, np.uint8), "table")
    model.graph.initializer.extend([table, numpy_helper.from_array(np.array(7), "place")])
    cast = next(node for node in model.graph.node if node.op_type == "Cast")
    cast.output[0] = "given"
    added = [
        helper.make_node("Gather", ["table", "place"], ["entry"]),
        helper.make_node("Cast", ["entry"], ["zero"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["given", "zero"], ["pixels"]),
    ]
    for position, node in enumerate(added, start=[*model.graph.node].index(cast) + 1):
        model.graph.node.insert(position, node)
    onnx.save(model, path)
    write_page([path], sites / "large", runtime=RUNTIME)
    url = f"{server.url}/large"
    assert start(page, url), text(page, "#verify")
    labels = choose(page, url, sites / "images" / "c-rgb.png")
    image = np.asarray(Image.open(sites / "images" / "c-rgb.png").convert("RGB"))
    assert labels is not None
    assert np.array_equal(labels, segtool.load(path, threads=1)(image)) or OLD_PILLOW


def spoiled(sites: Path, name: str) -> Path:
    """Copy the page of two networks without its INT8 file; the runtime is linked."""
    folder = sites / name
    folder.mkdir()
    for path in (sites / "both").iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "contract.json").unlink()
    return folder


def test_a_golden_pair_that_fails_is_red(page: Page, sites: Path, server: Server) -> None:
    stated = json.loads((sites / "both" / "contract.json").read_text(encoding="utf-8"))
    for model in stated["models"]:
        golden = GoldenPair.from_metadata({GOLDEN_KEY: json.dumps(model["golden"])}, source="it")
        labels = golden.labels.copy()
        labels[0, :10, :10] = (labels[0, :10, :10] + 1) % len(NAMES)
        model["golden"] = json.loads(GoldenPair(golden.images, labels).to_json())
    (spoiled(sites, "wrong") / "contract.json").write_text(json.dumps(stated), encoding="utf-8")
    assert not start(page, f"{server.url}/wrong")
    assert page.evaluate("document.getElementById('verify').dataset.state") == "fail"
    assert "for 100 of 6,144 golden pixels" in text(page, "#verify")
    assert page.evaluate("document.getElementById('file').disabled")


def test_a_file_that_does_not_run_leaves_the_other(page: Page, sites: Path, server: Server) -> None:
    folder = spoiled(sites, "half")
    (folder / "contract.json").symlink_to(sites / "both" / "contract.json")
    (folder / "model.int8.onnx").unlink()
    (folder / "model.int8.onnx").write_bytes(b"no model")
    assert start(page, f"{server.url}/half")
    assert "model.onnx (FP32) gives" in text(page, "#verify")
    assert "model.int8.onnx does not run" in text(page, "#message")


def test_a_file_of_other_bytes_is_not_used(page: Page, sites: Path, server: Server) -> None:
    """Weights may be damaged where the golden pair does not notice: here a byte of the name of a node."""
    folder = spoiled(sites, "bytes")
    (folder / "contract.json").symlink_to(sites / "both" / "contract.json")
    data = bytearray((sites / "both" / "model.int8.onnx").read_bytes())
    data[data.index(b"squared")] ^= 1
    (folder / "model.int8.onnx").unlink()
    (folder / "model.int8.onnx").write_bytes(data)
    assert start(page, f"{server.url}/bytes")
    assert "model.onnx (FP32) gives" in text(page, "#verify")
    assert "its bytes differ from those that `segtool page` wrote" in text(page, "#message")


def test_without_the_runtime_the_page_says_so(page: Page, sites: Path, server: Server) -> None:
    folder = spoiled(sites, "bare")
    (folder / "contract.json").symlink_to(sites / "both" / "contract.json")
    (folder / "runtime").unlink()
    assert not start(page, f"{server.url}/bare")
    assert page.evaluate("document.getElementById('verify').dataset.state") == "fail"
    assert text(page, "#verify").endswith("Copy the folder again, with its folder runtime.")
    server.missing.clear()


def test_a_browser_that_changes_pixels_is_detected(page: Page, sites: Path, server: Server) -> None:
    """Some browsers add noise to what a page reads from a canvas; here the known image is another one."""
    stated = json.loads((sites / "both" / "contract.json").read_text(encoding="utf-8"))
    golden = GoldenPair.from_metadata({GOLDEN_KEY: json.dumps(stated["models"][0]["golden"])}, source="it")
    stated["models"][0]["golden"] = json.loads(GoldenPair(golden.images ^ 1, golden.labels).to_json())
    (spoiled(sites, "noise") / "contract.json").write_text(json.dumps(stated), encoding="utf-8")
    assert not start(page, f"{server.url}/noise")
    assert "fingerprinting" in text(page, "#verify")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_it_fits_and_can_be_read(page: Page, sites: Path, server: Server, width: int, dark: bool) -> None:
    for kind in ("digits", "both"):
        page.look(width=width, dark=dark)
        assert start(page, f"{server.url}/{kind}")
        choose(page, f"{server.url}/{kind}", sites / "images" / ("b-larger.png" if kind == "digits" else "f-photo.jpg"))
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(WIDER) == []
        ratio, where = page.evaluate(CONTRAST)
        assert ratio >= 4.5, where
        if folder := os.environ.get("SEGTOOL_SCREENSHOTS"):
            page.screenshot(Path(folder) / f"{kind}-{width}-{'dark' if dark else 'light'}.png", whole=True)


def test_the_keyboard_reaches_everything(page: Page, sites: Path, server: Server) -> None:
    assert start(page, f"{server.url}/both")
    choose(page, f"{server.url}/both", sites / "images" / "c-rgb.png")
    reached = []
    for _ in range(4):
        for kind in ("keyDown", "keyUp"):
            page.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        reached.append(page.evaluate("document.activeElement.id"))
    assert {"file", "shown"} <= set(reached)


def test_opened_as_a_file_it_says_that_it_needs_a_server(page: Page, sites: Path) -> None:
    page.open(sites / "both" / "index.html")
    assert "python -m http.server" in text(page, "#verify")
