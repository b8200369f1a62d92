"""Creates the tables of a demo, and the roles of BI tools in them."""

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
PROGRAMS = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent.parent / "target")) / "release"
PASSWORD = "for as long as the demo runs"


@contextmanager
def tables(*arguments: str) -> Iterator[str]:
    """Yields the database URL of the tables' owner after a demo with these arguments."""
    command = [PROGRAMS / "etl", "demo", "--keep", *arguments]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            for line in process.stdout:
                if export := re.match(r"export DATABASE_URL='(.*)'$", line):
                    yield export[1]
                    return
            log.seek(0)
            raise SystemExit(f"the demo failed:\n{log.read()}")
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


def add_roles(owner: str) -> str:
    """Creates the roles of roles.sql with PASSWORD; returns the URL of bi_reader without it."""
    passwords = {"READER_PASSWORD": PASSWORD, "DBT_PASSWORD": PASSWORD}
    command = ["psql", "--quiet", owner, "--file", HERE / "roles.sql"]
    subprocess.run(command, env=os.environ | passwords, check=True)
    address = urlsplit(owner)
    return f"postgresql://bi_reader@{address.hostname}:{address.port}{address.path}"
