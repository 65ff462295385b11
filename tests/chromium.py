"""A headless Chromium driven over a pipe with its own protocol: no driver, no websocket, nothing to install but it."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BINARY = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
TIMEOUT = 60.0


class Page:
    """One open page. ``requests`` are the addresses it asked for, ``troubles`` its errors and warnings."""

    def __init__(self, to: int, back: int):
        self.to, self.back, self.buffer, self.ids = to, back, b"", itertools.count(1)
        self.requests: list[str] = []
        self.troubles: list[str] = []
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        self.session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    session: str | None = None

    def call(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a command and wait for its result; events that come meanwhile are noted."""
        number = next(self.ids)
        message = {"id": number, "method": method, "params": params or {}}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while (found := self.receive()).get("id") != number:
            self.note(found)
        assert "error" not in found, found["error"]
        return found["result"]

    def receive(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.back], [], [], TIMEOUT)
            assert ready, "Chromium does not answer"
            got = os.read(self.back, 1 << 20)
            assert got, "Chromium has ended"
            self.buffer += got
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def note(self, event: dict[str, Any]) -> None:
        given = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(given["request"]["url"])
            case "Log.entryAdded":
                self.troubles.append(given["entry"]["text"])
            case "Runtime.exceptionThrown":
                details = given["exceptionDetails"]
                self.troubles.append(details.get("exception", {}).get("description", details["text"]))
            case "Runtime.consoleAPICalled" if given["type"] in ("error", "warning", "assert"):
                self.troubles.append(str(given["args"]))

    def open(self, path: Path, width: int = 1200, height: int = 900, dark: bool = False, fragment: str = "") -> None:
        """Show a file in a window of ``width`` × ``height`` pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.call("Emulation.setDeviceMetricsOverride", size)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", {"features": scheme})
        self.call("Page.navigate", {"url": "about:blank"})
        self.requests.clear()
        self.call("Page.navigate", {"url": path.resolve().as_uri() + fragment})
        deadline = time.monotonic() + TIMEOUT
        while self.run("document.readyState + location.protocol") != "completefile:":
            assert time.monotonic() < deadline, "the page does not load"
            time.sleep(0.02)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        given = {"expression": script, "returnByValue": True, "awaitPromise": True, "userGesture": True}
        answer = self.call("Runtime.evaluate", given)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def picture(self, path: Path) -> None:
        """Save what the window shows."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def press(self, key: str, code: int) -> None:
        """Press and release a key."""
        for kind in ("rawKeyDown", "keyUp"):
            given = {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code}
            self.call("Input.dispatchKeyEvent", given)
        if key == "Enter":
            self.call("Input.dispatchKeyEvent", {"type": "char", "text": "\r"})


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A page in a browser of its own, whose profile lies in the folder ``profile``."""
    there, to = os.pipe()
    back, here = os.pipe()
    # Chromium reads commands from descriptor 3 and writes to 4.
    flags = "--headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync --remote-debugging-pipe"
    command = f'exec "$0" {flags} --user-data-dir="$1" 3<&{there} 4>&{here}'
    process = subprocess.Popen(
        ["bash", "-c", command, BINARY, str(profile)],
        pass_fds=(there, here),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(there)
    os.close(here)
    try:
        yield Page(to, back)
    finally:
        os.close(to)
        os.close(back)
        process.terminate()
        process.wait()
