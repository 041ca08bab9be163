"""`run.py view`: the page at an address of this machine, made anew when the run changes; one sentence for bad input."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from absl import flags as absl_flags

from experiments.base.errors import UserError
from experiments.commands import view

ROOT = Path(__file__).parents[3]


def parse(*arguments):
    return view.parse(["run.py", *arguments], absl_flags.FlagValues())


@contextlib.contextmanager
def served(folder):
    """Address of a server of the folder's page."""
    server = view.serve(view.Page(Path(folder)), 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{view.HOST}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def fetch(address):
    with urllib.request.urlopen(address, timeout=60) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def test_flags():
    assert parse("--results=a") == view.ViewSettings("a", 8080, True)
    assert parse("--results=a", "--port=0", "--open=false") == view.ViewSettings("a", 0, False)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["--results is missing", "--results=results/kick"]),
        (["--results=a", "--port=70000"], ["--port=70000", "65535"]),
        (["--results=a", "--port=-1"], ["--port=-1", "0 to"]),
        (["--results=a", "--port=x"], ["--port=x", "a whole number"]),
        (["--result=a"], ["--result ", "--results"]),
        (["results/kick"], ["results/kick", "--results="]),
    ],
)
def test_bad_flags(arguments, parts):
    with pytest.raises(UserError) as error:
        parse(*arguments)
    for part in parts:
        assert part in str(error.value)


def test_help(capsys):
    with pytest.raises(SystemExit) as end:
        parse("--help")
    text = capsys.readouterr().out
    assert end.value.code == 0
    for word in ("viewer.html", "--results=string", "--port=int", "(0 to 65535;", "default 8080)", "--open=bool"):
        assert word in text


def test_the_page_is_served_and_follows_the_run(saved_run, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(saved_run, folder)
    with served(folder) as address:
        kind, first = fetch(f"{address}/")
        assert kind == "text/html; charset=utf-8" and "pitch_0" in first
        assert fetch(f"{address}/viewer.html?again")[1] == first
        with pytest.raises(urllib.error.HTTPError, match="404"):
            fetch(f"{address}/params.npz")
        config = folder / "config.json"
        config.write_text(config.read_text().replace("baseball_pitch", "tennis_serve"))
        shutil.move(folder / "clips" / "baseball_pitch", folder / "clips" / "tennis_serve")
        # In the middle of a change there is no run to show, and the server goes on.
        with pytest.raises(urllib.error.HTTPError, match="503") as error:
            fetch(address)
        assert "run its command again" in error.value.read().decode()
        shutil.move(folder / "clips" / "tennis_serve", folder / "clips" / "baseball_pitch")
        shutil.copy(saved_run / "config.json", config)
        assert fetch(address)[1] == first


def test_a_port_that_is_taken(saved_run):
    with socket.socket() as other:
        other.bind((view.HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"--port={port} is in use") as error:
            view.serve(view.Page(saved_run), port)
    assert "--port=0" in str(error.value)


def test_folders_without_a_finished_run(saved_run, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        view.Page(tmp_path / "none").html()
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(UserError, match="did not finish"):
        view.Page(tmp_path).html()


def test_it_says_its_address_and_ends_on_ctrl_c(saved_run):
    # A shell that starts tests in the background has Ctrl-C ignored in all that it starts.
    code = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from experiments.commands import view as view_command
view_command.run(view_command.parse(sys.argv))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, f"--results={saved_run}", "--port=0", "--open=false"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
    )
    try:
        line = process.stdout.readline()
        assert str(saved_run) in line and "http://127.0.0.1:" in line
        assert process.stdout.readline() == "Ctrl-C ends this.\n"
        assert "<title>baseball pitch in 3D</title>" in fetch(line.split()[-1])[1]
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
        assert process.returncode == 0
        assert out == "\nEnded.\n"
        assert "Traceback" not in errors
    finally:
        process.kill()
