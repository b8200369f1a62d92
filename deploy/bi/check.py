"""Asks what BI tools would ask, of the tables that a demo has filled, with the rights of analysts."""

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import marts
import panels

HERE = Path(__file__).resolve().parent
PROGRAMS = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent.parent / "target")) / "release"
PASSWORD = "for as long as the demo runs"


@contextmanager
def demo(events: int) -> Iterator[str]:
    """The tables after a demo: the URL of their owner."""
    command = [PROGRAMS / "etl", "demo", "--events", str(events), "--keep"]
    with tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=told, text=True)
        try:
            for line in process.stdout:
                if export := re.match(r"export DATABASE_URL='(.*)'$", line):
                    yield export[1]
                    return
            told.seek(0)
            raise SystemExit(f"the demo did not get to its end:\n{told.read()}")
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


def main() -> bool:
    """Whether all is well."""
    with demo(events=3000) as owner, tempfile.TemporaryDirectory() as folder:
        passwords = {"READER_PASSWORD": PASSWORD, "DBT_PASSWORD": PASSWORD}
        subprocess.run(["psql", "--quiet", owner, "--file", HERE / "roles.sql"], env=os.environ | passwords, check=True)
        address = urlsplit(owner)
        reader = f"dbname={address.path[1:]} host={address.hostname} port={address.port} user=bi_reader password='{PASSWORD}'"
        found = panels.faults(reader) + marts.faults(owner, PASSWORD, Path(folder))
    for fault in found:
        print(fault)
    print("Grafana's questions and the dbt project: " + ("see above" if found else "all well"))
    return not found


if __name__ == "__main__":
    raise SystemExit(not main())
