"""The daily work on the tables and the lake: each task is one command. README.md has the needs.

Nothing here holds state: a task that failed is run again, on the same day or the next.
"""

from datetime import datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG


def variable(name: str, default: str) -> str:
    """The template of an Airflow variable."""
    return f"{{{{ var.value.get('{name}', '{default}') }}}}"


# Values reach the commands by the environment and never by the command line: no quotes can break
# them, and Airflow hides the connection's password in its logs.
ENVIRONMENT = {
    "DATABASE_URL": "{{ conn.shop.get_uri() }}",
    "LAKE_CONFIG": variable("lake_config", "/etc/etl/lake-sink.yaml"),
    "LAKE_SECRETS": variable("lake_secrets", "/etc/etl/secrets.txt"),
    # Earlier days are not compared. Empty: all days.
    "VERIFY_FROM": variable("verify_from", ""),
    # The command that compacts. Empty: the statements are only written into the folder of the
    # reports.
    "COMPACT": variable("compact", ""),
    "KEEP_FACTS": variable("keep_facts", "13months"),
    "DBT_PROJECT_DIR": variable("dbt_project", "/etc/etl/dbt"),
    "DBT_PROFILES_DIR": variable("dbt_profiles", "/etc/etl/dbt"),
    "DBT_TARGET": variable("dbt_target", "s3"),
    "REPORTS": variable("reports", "/var/lib/etl/reports"),
    "DAY": "{{ ds }}",
}
LAKE = '--config "$LAKE_CONFIG" --secrets "$LAKE_SECRETS"'

with DAG(
    dag_id="shop_lake",
    description="Retention with proof, maintenance of the lake, dbt models, and the daily report",
    schedule="17 3 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 2,
        "retry_delay": timedelta(minutes=10),
        "execution_timeout": timedelta(hours=3),
    },
    tags=["shop"],
) as dag:

    def task(name: str, command: str) -> BashOperator:
        return BashOperator(
            task_id=name,
            bash_command=f"set -euo pipefail; {command}",
            env=ENVIRONMENT,
            append_env=True,
        )

    # The lake has each fact that PostgreSQL has, or the day fails here.
    verify = task("verify", f'etl lake verify {LAKE} ${{VERIFY_FROM:+--from "$VERIFY_FROM"}}')
    # Drops partitions of PostgreSQL that the lake is proven to hold, fact by fact.
    retention = task(
        "retention",
        "etl partitions drop --archived"
        ' --lake-config "$LAKE_CONFIG" --secrets "$LAKE_SECRETS" --older-than "$KEEP_FACTS"',
    )
    compact = task(
        "compact",
        f'mkdir -p "$REPORTS"; etl lake compact {LAKE} > "$REPORTS/compact-$DAY.txt"\n'
        # Unquoted: a command with its arguments.
        "$COMPACT",
    )
    expire = task("expire", f"etl lake expire {LAKE} --older-than 7d --keep 10")
    # Those that are older than any commit or compaction takes.
    orphans = task("orphans", f"etl lake orphans {LAKE} --older-than 3d --delete")
    models = task("dbt", "dbt build")
    aggregates = task("aggregates", "etl aggregates check")
    report = task("report", 'mkdir -p "$REPORTS"; etl report --out "$REPORTS/report-$DAY.html"')

    verify >> retention
    compact >> expire >> orphans
    aggregates >> report
