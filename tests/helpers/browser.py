"""A real headless Chromium, driven over the DevTools protocol."""

import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-first-run",
    "--no-default-browser-check",
    "--remote-debugging-port=0",
    "--window-size=1280,900",
)


def find_chromium() -> str | None:
    """Return the path of an installed Chromium, or None."""
    named = os.environ.get("KISBT_CHROMIUM")
    if named:
        return named
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab; everything it said and asked for is kept.

    Attributes:
        errors: texts of console errors, exceptions and policy violations.
        requests: every URL the page asked for.
    """

    def __init__(self, address: str) -> None:
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._socket = websocket.create_connection(
            address, timeout=30, suppress_origin=True
        )
        self._last = 0
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command and return its result."""
        self._last += 1
        wanted = self._last
        self._socket.send(
            json.dumps({"id": wanted, "method": method, "params": params})
        )
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == wanted:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return dict(message["result"])
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"])[:500])
        elif method == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.errors.append(json.dumps(params["args"])[:500])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def open(self, url: str) -> None:
        """Load `url` and wait until the report's script is done."""
        self.call("Page.navigate", url=url)
        self.wait("document.documentElement?.dataset.ready !== undefined")

    def run(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; promises are awaited."""
        answer = self.call(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
            userGesture=True,
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:800])
        return answer["result"].get("value")

    def wait(self, condition: str, *, limit_s: float = 30.0) -> None:
        """Wait until a JavaScript expression is true."""
        end = time.perf_counter() + limit_s
        while not self.run(f"Boolean({condition})"):
            if time.perf_counter() > end:
                raise TimeoutError(f"{condition}; errors: {self.errors}")
            # The page yields to its own work between two questions.
            self.run("new Promise((done) => setTimeout(done, 20))")

    def settle(self) -> None:
        """Let timers and drawing finish."""
        self.run(
            "new Promise((done) => setTimeout(() =>"
            " requestAnimationFrame(() => requestAnimationFrame(done)), 150))"
        )

    def close(self) -> None:
        """Leave the tab."""
        self._socket.close()


@contextmanager
def chromium(path: str) -> Iterator[Page]:
    """Start a browser with a fresh profile and yield its one tab."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [path, *_FLAGS, f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        page = None
        try:
            page = Page(_tab_address(Path(folder) / "DevToolsActivePort"))
            yield page
        finally:
            if page is not None:
                page.close()
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=10)


def _tab_address(port_file: Path) -> str:
    """Return the address of the first tab, once the browser has written its port."""
    end = time.perf_counter() + 30
    while time.perf_counter() < end:
        try:
            port = int(port_file.read_text().split()[0])
            url = f"http://127.0.0.1:{port}/json/list"
            with urllib.request.urlopen(url, timeout=5) as answer:
                tabs = json.load(answer)
            return next(
                str(tab["webSocketDebuggerUrl"])
                for tab in tabs
                if tab["type"] == "page"
            )
        except (OSError, ValueError, IndexError, StopIteration):
            continue
    raise TimeoutError("Chromium did not open its debugging port")
