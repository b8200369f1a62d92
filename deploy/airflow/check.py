"""Runs each task of the DAG once, on the tables and the lake of a demo.

check.py AIRFLOW_VENV: in the environment of the lake's check, which has dbt and DuckDB.
"""

import os
import subprocess
import sys
import tempfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from secrets import token_hex
from urllib.parse import urlsplit

import duckdb

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "bi"))
import demo  # noqa: E402

TASKS = "verify retention dbt compact expire orphans aggregates report".split()
LIMIT = 1800


def lake_check():
    """The module of the lake's check."""
    spec = spec_from_file_location("lake_check", HERE.parent / "lake/check.py")
    module = module_from_spec(spec)
    sys.path.append(str(HERE.parent / "lake"))
    spec.loader.exec_module(module)
    return module


def settings(database_url: str, lake: Path, folder: Path, airflow: Path) -> dict:
    """Writes the files of the settings, and returns the environment of Airflow and its workers."""
    config = (HERE.parent / "cluster/lake-sink.yaml").read_text()
    config = config.replace("s3://my-bucket/lake", f"file://{lake}")
    (folder / "lake-sink.yaml").write_text(config)
    secrets = f"DATABASE_URL={database_url}\nNOTIFICATIONS_SECRET={token_hex(32)}\n"
    (folder / "secrets.txt").write_text(secrets)
    example = HERE.parent / "lake/dbt/profiles.example.yml"
    (folder / "profiles.yml").write_text(example.read_text())
    programs = [demo.PROGRAMS, airflow / "bin", Path(sys.executable).parent]
    project = HERE.parent / "lake/dbt"
    return os.environ | {
        "PATH": os.pathsep.join([*map(str, programs), os.environ["PATH"]]),
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(HERE),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_SHOP": database_url,
        "AIRFLOW_VAR_LAKE_CONFIG": str(folder / "lake-sink.yaml"),
        "AIRFLOW_VAR_LAKE_SECRETS": str(folder / "secrets.txt"),
        "AIRFLOW_VAR_DBT_PROJECT": str(project),
        "AIRFLOW_VAR_DBT_PROFILES": str(folder),
        "AIRFLOW_VAR_DBT_TARGET": "lake",
        "AIRFLOW_VAR_REPORTS": str(folder / "reports"),
        "AIRFLOW_VAR_COMPACT": f"touch {folder}/compacted",
        "LAKE_FACTS": str(lake / "shop/facts"),
        "LAKE_MARTS": str(folder / "lake.duckdb"),
        "DUCKDB_EXTENSIONS": str(folder / "extensions"),
        "DBT_LOG_PATH": str(folder),
        "DBT_TARGET_PATH": str(folder / "target"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
    }


def run_airflow(environment: dict, *arguments: str) -> subprocess.CompletedProcess:
    """Runs a command of Airflow."""
    command = [Path(sys.argv[1]) / "bin/airflow", *arguments]
    return subprocess.run(command, env=environment, text=True, timeout=LIMIT,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def faults(log: str, password: str, folder: Path) -> list[str]:
    """What the run should have left."""
    found = []
    for task in TASKS:
        if f"end task task_id={task} " not in log:
            found.append(f"the task {task} did not run")
    if password in log:
        found.append("the log has the password")
    for name in ("report-*.html", "compact-*.txt"):
        if not list((folder / "reports").glob(name)):
            found.append(f"there is no {name}")
    if not (folder / "compacted").exists():
        found.append("the command that compacts did not run")
    marts = duckdb.connect(folder / "lake.duckdb")
    if not marts.execute("SELECT count(*) FROM lake.marts.sessions").fetchone()[0]:
        found.append("dbt built no sessions")
    return found


def main() -> bool:
    """Prints the faults; returns true if there are none."""
    airflow = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        folder, lake = Path(name), Path(name) / "lake"
        lake_check().extensions(folder / "extensions")
        arguments = ["--events", "1000", "--lake", str(lake), "--report", str(folder / "r.html")]
        with demo.tables(*arguments) as owner:
            environment = settings(owner, lake, folder, airflow)
            run_airflow(environment, "db", "migrate").check_returncode()
            run = run_airflow(environment, "dags", "test", "shop_lake")
            found = faults(run.stdout, urlsplit(owner).password, folder)
        if run.returncode or found:
            print(run.stdout)
    if run.returncode:
        found.append(f"the DAG failed with exit code {run.returncode}")
    for fault in found:
        print(fault)
    print(f"The DAG: {len(TASKS)} tasks, {len(found)} faults")
    return not found


if __name__ == "__main__":
    raise SystemExit(not main())
