"""A headless Chromium for tests, driven over the DevTools protocol by two pipes: no server, no packages."""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --disable-extensions --disable-dev-shm-usage --hide-scrollbars
    --use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader --remote-debugging-pipe
""".split()  # noqa: SIM905
# The protocol is spoken on descriptors 3 and 4 of the browser.
_LAUNCH = "import os, sys; [os.dup2(int(sys.argv[i]), i + 2) for i in (1, 2)]; os.execvp(sys.argv[3], sys.argv[3:])"


def find() -> str | None:
    """The browser's program, or None where none is installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Tab:
    """One open page. errors: what it wrote to the console as an error, and exceptions that nothing caught."""

    def __init__(self, send: int, receive: int):
        self._send, self._receive, self._rest, self._last, self._session = send, receive, b"", 0, None
        self.errors: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        # Self-contained: what it asks of a network fails, and shows as an error.
        self.call("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)

    def call(self, method: str, timeout: float = 120, **params: Any) -> dict[str, Any]:
        """The answer to a command of the protocol."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._send, data) :]
        deadline = time.monotonic() + timeout
        while True:
            answer = self._read(deadline)
            self._watch(answer)
            if answer.get("id") == self._last:
                assert "error" not in answer, f"{method}: {answer}"
                return answer["result"]

    def _read(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._receive], [], [], max(0, deadline - time.monotonic()))
            assert ready, "the browser did not answer in time"
            block = os.read(self._receive, 1 << 20)
            assert block, "the browser ended"
            self._rest += block
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def _watch(self, event: dict[str, Any]) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert", "warning"):
            self.errors.append(json.dumps(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])

    def open(self, url: str, width: int = 1280, height: int = 800, mobile: bool = False) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def value(self, expression: str) -> Any:
        """The value of JavaScript in the page; a promise's, once it is there."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str, timeout: float = 60) -> None:
        deadline = time.monotonic() + timeout
        while not self.value(condition):
            assert time.monotonic() < deadline, f"still not: {condition}; {self.errors}"
            time.sleep(0.05)

    def key(self, key: str, code: str = "", text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=code or key, text=text if kind == "keyDown" else ""
            )

    def drag(self, start: tuple[float, float], end: tuple[float, float], button: str = "left") -> None:
        for kind, (x, y) in (("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)):
            held = {"left": 1, "right": 2}[button] if kind != "mouseReleased" else 0
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, buttons=held, clickCount=1)

    def screenshot(self, path: Path) -> Path:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
        return path


@contextlib.contextmanager
def browser(program: str, profile: Path) -> Iterator[Tab]:
    """A tab of a browser that ends with the block; `profile` is its folder."""
    to_browser, from_browser = os.pipe(), os.pipe()
    # Out of the way of 3 and 4.
    ends = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (to_browser[0], from_browser[1])]
    process = subprocess.Popen(
        [sys.executable, "-c", _LAUNCH, *map(str, ends), program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
        pass_fds=ends,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for fd in (*ends, to_browser[0], from_browser[1]):
        os.close(fd)
    try:
        yield Tab(to_browser[1], from_browser[0])
    finally:
        os.close(to_browser[1])
        os.close(from_browser[0])
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
