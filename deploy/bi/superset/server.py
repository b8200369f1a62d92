"""Runs a Superset for the check."""

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SETTINGS = Path(__file__).resolve().parent / "superset_config.py"
ADMIN = "admin"
PREPARE_SECONDS = 900
START_SECONDS = 300
STOP_SECONDS = 30

#: One process for all commands, because each takes long to start.
PREPARE = """
import sys
from superset.cli.main import superset
superset(["db", "upgrade"], standalone_mode=False)
admin = ["--username", sys.argv[1], "--password", sys.argv[2], "--email", "admin@example.com"]
admin += ["--firstname", "Shop", "--lastname", "Admin"]
superset(["fab", "create-admin", *admin], standalone_mode=False)
superset(["init"], standalone_mode=False)
"""


@contextmanager
def run(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields the URL of a Superset with its data in `folder`, and the password of ADMIN."""
    password = secrets.token_hex(16)
    environment = os.environ | {
        "SUPERSET_HOME": str(folder),
        "SUPERSET_CONFIG_PATH": str(SETTINGS),
        "SUPERSET_SECRET_KEY": secrets.token_hex(32),
        "FLASK_APP": "superset",
    }
    log_path = folder / "superset.log.txt"
    with open(log_path, "w") as log:
        prepare = [sys.executable, "-c", PREPARE, ADMIN, password]
        outcome = subprocess.run(
            prepare, env=environment, stdout=log, stderr=log, timeout=PREPARE_SECONDS
        )
        if outcome.returncode:
            raise SystemExit(f"error: Superset cannot be set up:\n{tail(log_path)}")
        address = f"127.0.0.1:{free_port()}"
        serve = [sys.executable, "-m", "gunicorn", "--workers", "1", "--worker-class", "gthread"]
        serve += ["--threads", "8", "--timeout", "120", "--bind", address]
        serve.append("superset.app:create_app()")
        server = subprocess.Popen(serve, env=environment, stdout=log, stderr=log)
        try:
            wait_for(f"http://{address}/health", server, log_path)
            yield f"http://{address}", password
        finally:
            stop(server)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(url: str, server: subprocess.Popen, log_path: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(1)
    raise SystemExit(f"error: Superset did not start within {START_SECONDS} s:\n{tail(log_path)}")


def stop(server: subprocess.Popen) -> None:
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-30:])
