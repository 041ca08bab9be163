"""`python run.py view`: a finished run's page in 3D, served to the browser of this machine."""

import dataclasses
import errno
import http.server
import os
import sys
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags as absl_flags

from body_models.loaders import BodyModelError
from experiments.base import flags, shared_options, stopping
from experiments.base.errors import UserError
from nemo_jax.options import option

USAGE = """\
Shows a finished run in 3D: play, scrub by phase, compare instances, cameras, and the motion
field at any phase and between instances.

  python run.py view --results=results/kick        then open the address that it prints

The same page is in the results folder as viewer.html and opens from there without this command;
here it is made anew whenever the run's files change.
"""
HOST = "127.0.0.1"  # this machine alone
_INPUTS = ("params.npz", "config.json", "metrics.json")


@dataclasses.dataclass(frozen=True)
class ViewSettings:
    """Everything the command line says; each field is a flag."""

    results: str = shared_options.results()
    port: int = option(8080, "Port of the page's address; 0 takes any free one.", least=0, most=2**16 - 1)
    open: bool = option(True, "Open the page in a browser, where this machine has a screen.")


def parse(argv: Sequence[str], values: absl_flags.FlagValues = absl_flags.FLAGS) -> ViewSettings:
    """Settings of a command line; see `flags.read`."""
    return flags.read(ViewSettings, USAGE, argv, values).settings


def run(settings: ViewSettings) -> None:
    """Serves the page until Ctrl-C.

    Raises:
      UserError: no finished run in the folder, or a port that cannot be had.
    """
    from experiments.base import devices

    # Not before: choosing a device starts JAX. A page needs no accelerator, and should not take one from a fit.
    devices.choose("cpu")
    devices.keep_compiled()
    page = Page(Path(settings.results))
    page.html()
    with serve(page, settings.port) as server:
        address = f"http://{HOST}:{server.server_port}/"
        try:
            with stopping.as_exception():
                print(f"{settings.results} is shown at {address}\nCtrl-C ends this.")
                sys.stdout.flush()
                if settings.open and _has_screen():
                    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
                server.serve_forever()
        except KeyboardInterrupt:
            print("\nEnded.")


class Page:
    """The page of a results folder, made anew when the files that it is made from change."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._lock = threading.Lock()
        self._made: tuple[Any, str] | None = None

    def html(self) -> str:
        """Raises UserError: the folder holds no finished run."""
        from experiments.results import reading
        from experiments.show.viewer import page

        with self._lock:
            times = [_changed(self._folder / name) for name in _INPUTS]
            if self._made is None or self._made[0] != times:
                self._made = (times, page.render(reading.load(self._folder)))
            return self._made[1]


def serve(page: Page, port: int) -> http.server.ThreadingHTTPServer:
    """A server of the page on this machine's own address; `serve_forever` starts it.

    Raises:
      UserError: the port is taken, or not for this user.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.split("?")[0] not in ("/", "/viewer.html"):
                return self._answer(404, "text/plain", "There is only one page here, /")
            try:
                return self._answer(200, "text/html", page.html())
            except (UserError, BodyModelError) as error:  # while a new run writes its files, for example
                return self._answer(503, "text/plain", f"{error}")

        def _answer(self, status: int, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any, **__: Any) -> None:
            """The terminal shows the address; requests would push it away."""

    try:
        return _Server((HOST, port), Handler)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL):
            raise
        state = "is not for this user" if error.errno == errno.EACCES else "is in use by another program"
        raise UserError(
            f"--port={port} {state}; give another, such as --port=8081, or --port=0 for any free one"
        ) from None


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True  # a browser's open connection does not hold up the end
    allow_reuse_address = os.name == "posix"  # elsewhere that would share a port with another program


def _changed(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _has_screen() -> bool:
    """Whether a browser can show; without a screen some systems start one in the terminal."""
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
