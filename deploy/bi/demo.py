"""Creates the tables of a demo, and the roles of BI tools in them."""

import os
import re
import shutil
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


def prepare_dbt(project: Path, owner: str, password: str, folder: Path) -> None:
    """Has dbt run the project with its example profile on these tables, and write into `folder`."""
    database = urlsplit(owner)
    os.environ |= {
        "DBT_HOST": database.hostname or "",
        "DBT_PORT": str(database.port),
        "DBT_DATABASE": database.path[1:],
        "DBT_PASSWORD": password,
        "DBT_PROFILES_DIR": str(folder),
        "DBT_PROJECT_DIR": str(project),
        "DBT_LOG_PATH": str(folder),
        "DBT_TARGET_PATH": str(folder / "target"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
    }
    shutil.copy(project / "profiles.example.yml", folder / "profiles.yml")


def add_roles(owner: str) -> str:
    """Creates the roles of roles.sql with PASSWORD; returns the URL of bi_reader without it."""
    passwords = {"READER_PASSWORD": PASSWORD, "DBT_PASSWORD": PASSWORD}
    command = ["psql", "--quiet", owner, "--file", HERE / "roles.sql"]
    subprocess.run(command, env=os.environ | passwords, check=True)
    address = urlsplit(owner)
    return f"postgresql://bi_reader@{address.hostname}:{address.port}{address.path}"
