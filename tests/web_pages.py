"""What the tests of `segtool page` share: models, ten images, a server, and the user of a page."""

from __future__ import annotations

import base64
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import onnx
from browser import Page
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from tiny_models import tiny_contract, write_convolutions, write_model

import segtool
from segtool.contract import GOLDEN_KEY, METADATA_KEY, GoldenPair, ModelContract, default_palette
from segtool.export.passes import rewrite
from segtool.export.passes.labels_per_cell import LABELS_PER_CELL

NAMES = ("sky", "building", "pole", "road", "sidewalk", "tree", "sign", "fence", "car", "person", "bicyclist")
COLOR = {"height": 48, "width": 64, "channels": 3, "class_names": NAMES, "background_id": None}
COLOR["palette"] = default_palette(len(NAMES))


def network(path: Path, **changes: object) -> Path:
    """Write a network for photographs with its golden pair.

    Its class depends on the brightness of a pixel, or in tiles on those around it, so that a pixel that is read or
    resized differently is seen.
    """
    contract: ModelContract = tiny_contract(**{**COLOR, **changes})
    write = write_convolutions if contract.size_policy == "tile" else write_model
    write(path, contract)
    return proven(path, contract)


def upsampling_network(path: Path) -> Path:
    """Write a network that upsamples its scores, with the labels decided on the small map, and its golden pair."""
    contract = tiny_contract(**COLOR)
    centres = np.linspace(0, 255, len(NAMES), dtype=np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["map"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["map"], ["small"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Conv", ["small", "weights", "biases"], ["scores"]),
        helper.make_node("Resize", ["scores", "", "scales"], ["up"], mode="linear"),
        helper.make_node("ArgMax", ["up"], ["best"], axis=1, keepdims=0),
        helper.make_node("Cast", ["best"], ["labels"], to=TensorProto.UINT8),
    ]
    # -(v - c)^2 without v^2, which all classes have: the class with the nearest centre has the highest score.
    weights = np.repeat(2 * centres[:, None, None, None] / 3, 3, axis=1)
    constants = {"weights": weights, "biases": -(centres**2), "scales": np.array([1, 1, 4, 4], np.float32)}
    size = ["N", contract.height, contract.width]
    graph = helper.make_graph(
        nodes,
        "upsampling",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [*size, 3])],
        [helper.make_tensor_value_info("labels", TensorProto.UINT8, size)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model, (outcome,) = rewrite(model, [LABELS_PER_CELL])
    assert outcome.changes
    helper.set_model_props(model, {METADATA_KEY: contract.to_json()})
    onnx.save(model, path)
    return proven(path, contract)


def proven(path: Path, contract: ModelContract) -> Path:
    """Add the golden pair of random images to a model."""
    given = np.random.default_rng(5).integers(0, 256, (2, contract.height, contract.width, 3), dtype=np.uint8)
    golden = GoldenPair(given, segtool.load(path, threads=1).predict_batch(given))
    model = onnx.load(path)
    entry = model.metadata_props.add()
    entry.key, entry.value = GOLDEN_KEY, golden.to_json()
    onnx.save(model, path)
    return path


def write_images(folder: Path, digits: np.ndarray) -> None:
    """Write ten files in formats that a browser and segtool read, of several sizes.

    Some of them show `digits`, grey images, uint8 (N, H, W).
    """
    folder.mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6  # orientation: to be rotated by 90 degrees
    grey = [Image.fromarray(each) for each in digits]
    color = Image.fromarray(_scene(211, 340))
    ramp = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (128, 1)))
    large = grey[1].resize((253, 190), Image.Resampling.BICUBIC)
    grey[0].save(folder / "a-grey.png")
    large.save(folder / "b-larger.png")
    color.save(folder / "c-rgb.png")
    Image.merge("RGBA", [*color.resize((256, 128)).split(), ramp]).save(folder / "d-alpha.png")
    Image.merge("LA", [large.resize((256, 128)), ramp]).save(folder / "e-grey-alpha.png")
    color.save(folder / "f-photo.jpg", quality=85)
    color.resize((150, 90)).save(folder / "g-turned.jpg", exif=turned, quality=92, subsampling=0)
    color.quantize(60).save(folder / "h-palette.gif")
    color.resize((61, 47)).save(folder / "i-small.webp", lossless=True)
    grey[2].convert("RGB").save(folder / "j-color.bmp")


def _scene(height: int, width: int) -> np.ndarray:
    """Return smooth waves with noise, uint8 (height, width, 3)."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 110 * np.sin(x / (13 + channel) + channel) * np.cos(y / (11 + channel)) for channel in range(3)]
    noisy = np.stack(waves, axis=-1) + rng.normal(0, 8, (height, width, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


class Server(ThreadingHTTPServer):
    """Serves a folder, and keeps the paths that it was asked for and did not have."""

    daemon_threads = True

    def __init__(self, folder: Path, *, isolated: bool) -> None:
        self.missing: list[str] = []
        self.isolated = isolated
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(SimpleHTTPRequestHandler):
    """The handler of `python -m http.server`, with the headers that allow threads where the server says so."""

    server: Server

    def end_headers(self) -> None:
        if self.server.isolated:
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, _format: str, *arguments: object) -> None:
        if len(arguments) > 1 and str(arguments[1]) not in ("200", "304"):
            self.server.missing.append(str(arguments[0]))


def start(page: Page, url: str) -> bool:
    """Open a page and wait for its verification; return whether a model passed."""
    page.open(f"{url}/")
    return bool(page.evaluate(f"import('{url}/page.js').then(module => module.ready)"))


def choose(page: Page, url: str, path: Path) -> np.ndarray | None:
    """Choose a file as a user does, and return the labels that the page shows."""
    field = page.call("Runtime.evaluate", expression="document.getElementById('file')")["result"]["objectId"]
    page.call("DOM.setFileInputFiles", files=[str(path)], objectId=field)
    return labels_of(page, url)


def labels_of(page: Page, url: str) -> np.ndarray | None:
    found = page.evaluate(
        f"""import('{url}/page.js').then(async module => {{
          await module.show([]);
          if (!module.latest) return null;
          const {{ ids, height, width }} = module.latest;
          let text = '';
          const bytes = new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength);
          for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
          return [btoa(text), ids.BYTES_PER_ELEMENT, height, width];
        }})"""
    )
    if found is None:
        return None
    data, size, height, width = found
    return np.frombuffer(base64.b64decode(data), np.uint16 if size == 2 else np.uint8).reshape(height, width)


def text(page: Page, selector: str) -> str:
    return str(page.evaluate(f"document.querySelector('{selector}').textContent"))


def complaints(page: Page) -> list[object]:
    names = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    return [params for method, params in page.events if method in names]


def requested(page: Page) -> list[str]:
    return [params["request"]["url"] for method, params in page.events if method == "Network.requestWillBeSent"]
