"""Runs the queries of BI tools on the tables of a demo, with the rights of analysts."""

import tempfile
from pathlib import Path

import demo
import marts
import panels


def main() -> bool:
    """Prints the faults; returns true if there are none."""
    with demo.tables("--events", "3000") as owner, tempfile.TemporaryDirectory() as folder:
        reader = demo.add_roles(owner)
        found = panels.faults(reader, demo.PASSWORD)
        found += marts.faults(owner, demo.PASSWORD, Path(folder))
    for fault in found:
        print(fault)
    print(f"Grafana's queries and the dbt project: {len(found)} faults")
    return not found


if __name__ == "__main__":
    raise SystemExit(not main())
