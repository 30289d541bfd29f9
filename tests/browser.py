"""A headless Chromium for tests, spoken to in the DevTools protocol over a pipe: no driver, no port, no package."""

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --remote-debugging-pipe"
)


class Page:
    """One page; `problems` collects what it complained about: console errors, warnings, exceptions, failed loads."""

    def __init__(self, profile: Path, width: int = 1240, height: int = 900):
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._last, self._buffer = 0, b""
        read_here, write_there = os.pipe()
        read_there, self._write = os.pipe()
        self._read = read_here

        def give_pipe():  # Chromium reads from descriptor 3 and writes to 4
            ends = os.dup(read_there), os.dup(write_there)
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        command = [
            CHROMIUM,
            *FLAGS.split(),
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
            "about:blank",
        ]
        self._process = subprocess.Popen(
            command, preexec_fn=give_pipe, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(read_there)
        os.close(write_there)
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Page", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def call(self, method: str, **params) -> dict:
        """Sends a command and waits for its result; raises AssertionError where the browser refuses."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self._note(answer)

    def _receive(self) -> dict:
        while b"\0" not in self._buffer:
            part = os.read(self._read, 1 << 16)
            assert part, "Chromium ended"
            self._buffer += part
        one, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(one)

    def _note(self, event: dict) -> None:
        name, facts = event.get("method"), event.get("params", {})
        if name == "Runtime.consoleAPICalled" and facts["type"] in ("error", "warning", "assert"):
            self.problems.append(f"console: {facts['args']}")
        elif name == "Runtime.exceptionThrown":
            self.problems.append(f"exception: {facts['exceptionDetails']}")
        elif name == "Log.entryAdded" and facts["entry"]["level"] in ("error", "warning"):
            self.problems.append(f"log: {facts['entry']}")
        elif name == "Network.requestWillBeSent":
            self.requests.append(facts["request"]["url"][:100])

    def open(self, address: str, ready: str, timeout: float = 60) -> None:
        """Loads a page and waits until the JavaScript expression `ready` is true there."""
        self.call("Page.navigate", url=address)
        start = time.monotonic()
        while not self.run(f"Boolean({ready})"):
            assert time.monotonic() - start < timeout, f"not ready: {ready}; {self.problems}"
            time.sleep(0.05)

    def run(self, script: str):
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """A key, as a person presses it, to whatever has the focus."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def screenshot(self, path: Path, whole: bool = False) -> Path:
        """PNG of the window, or of the whole page."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]))
        return path

    def close(self) -> None:
        self._session = None
        try:
            self.call("Browser.close")
        except (AssertionError, OSError):
            pass  # it was gone already
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        os.close(self._write)
