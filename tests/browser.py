"""A headless Chromium by its DevTools protocol over two pipes: no driver, no port, no package.

https://chromedevtools.github.io/devtools-protocol/; messages are JSON that ends with a zero byte.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
TIMEOUT = 300.0  # seconds for one answer; a loaded machine starts a browser slowly
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # in a container there is none, and the page is our own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)

# Of every element with words of its own: the contrast of WCAG 2.2 (1.4.3) between its colour and what lies behind it.
CONTRAST = """
(() => {
  const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length > 3 ? n : [...n, 1]; };
  const over = (top, low) => [0, 1, 2].map(i => top[i] * top[3] + low[i] * (1 - top[3])).concat(1);
  const light = color => {
    const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = color.slice(0, 3).map(v => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = element => {
    const below = element.parentElement ? ground(element.parentElement) : [255, 255, 255, 1];
    return over(parse(getComputedStyle(element).backgroundColor), below);
  };
  let worst = [99, ''];
  for (const element of document.querySelectorAll('body *')) {
    const words = [...element.childNodes].filter(n => n.nodeType === 3).map(n => n.textContent).join('').trim();
    if (!words || !element.checkVisibility() || element.closest('title, desc, style')) continue;
    const style = getComputedStyle(element), back = ground(element);
    const ink = over(parse(element.closest('svg') ? style.fill : style.color), back);
    const [low, high] = [light(ink), light(back)].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < worst[0]) worst = [ratio, element.tagName + ': ' + words.slice(0, 40)];
  }
  return worst;
})()
"""
WIDER = """
[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1
  && !e.closest('.scroll, pre, .hidden, .skip, svg')).map(e => e.outerHTML.slice(0, 80))
"""


def find_browser() -> str | None:
    """Return the path of a Chromium, $CHROMIUM first; None where there is none."""
    return os.environ.get("CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab: sends commands, and keeps the events that came in between as (method, params)."""

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive = send, receive
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[tuple[str, dict[str, Any]]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            if "method" in answer:
                self.events.append((answer["method"], answer["params"]))

    def look(self, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Set the size of the window and whether the user prefers dark pages."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, path: Path | str) -> None:
        """Load a local file, or a URL, and wait until all of it is there."""
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri() if isinstance(path, Path) else path)
        deadline = time.monotonic() + TIMEOUT
        while not any(method == "Page.loadEventFired" for method, _ in self.events):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{path} did not load")
            self.evaluate("1")

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; a promise is waited for."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"])
        return found["result"].get("value")

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Write what is seen, or the whole page, as PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._receive], [], [], TIMEOUT)[0]:
                raise TimeoutError("the browser gave no answer")
            part = os.read(self._receive, 1 << 16)
            if not part:
                raise RuntimeError("the browser has gone")
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found


@contextmanager
def browser(executable: str, profile: Path, *flags: str) -> Iterator[Page]:
    """Start a browser with a profile folder of its own; give a page, and end the browser after it."""
    to_browser, to_us = os.pipe(), os.pipe()

    def take_pipes() -> None:
        # The browser reads from descriptor 3 and writes to 4. Moved up first, so that neither is overwritten.
        reading, writing = os.dup2(to_browser[0], 50), os.dup2(to_us[1], 51)
        os.dup2(reading, 3)
        os.dup2(writing, 4)

    process = subprocess.Popen(
        [executable, *_FLAGS, *flags, f"--user-data-dir={profile}", "about:blank"],
        preexec_fn=take_pipes,  # noqa: PLW1509 - it makes four system calls and takes no lock
        pass_fds=(3, 4),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser[0])
    os.close(to_us[1])
    try:
        yield Page(to_browser[1], to_us[0])
    finally:
        os.close(to_browser[1])
        process.terminate()
        process.wait(timeout=TIMEOUT)
        os.close(to_us[0])
