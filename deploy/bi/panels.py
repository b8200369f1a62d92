"""Runs every query of a Grafana dashboard as Grafana does."""

import json
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import psycopg2

BOARD = Path(__file__).parent.parent / "grafana/dashboards/analysts.json"


def faults(url: str, password: str) -> list[str]:
    """Queries all panels over the last 28 days; returns their faults."""
    board = json.loads(BOARD.read_text())
    connection = psycopg2.connect(url, password=password)
    connection.autocommit = True
    with connection.cursor() as cursor:
        values = variables(board, cursor)
        return [
            f"{panel['title']}: {fault}"
            for panel in board["panels"]
            for target in panel["targets"]
            for fault in ask(cursor, target, values)
        ]


def variables(board: dict, cursor: psycopg2.extensions.cursor) -> dict[str, str]:
    """Returns the values of Grafana's macros and of the board's variables."""
    now = datetime.now(timezone.utc)
    values = {
        "$__timeFrom()": f"'{now - timedelta(days=28):%Y-%m-%dT%H:%M:%SZ}'",
        "$__timeTo()": f"'{now:%Y-%m-%dT%H:%M:%SZ}'",
    }
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            cursor.execute(variable["query"])
            values[f"${variable['name']}"] = ",".join(f"'{row[1]}'" for row in cursor.fetchall())
        else:
            # The first choice is the smallest volume, which suits a small demo.
            values[f"${variable['name']}"] = variable["options"][0]["value"]
    return values


def ask(cursor: psycopg2.extensions.cursor, target: dict, values: dict[str, str]) -> list[str]:
    """Returns an error, or that rows or a needed time column are missing."""
    question = target["rawSql"]
    for name, value in values.items():
        question = question.replace(name, value)
    if unknown := re.findall(r"\$\w+", question):
        return [f"{', '.join(unknown)} has no value"]
    try:
        cursor.execute(question)
    except psycopg2.Error as error:
        return [str(error)]
    if not cursor.fetchall():
        return ["no rows"]
    if target["format"] == "time_series" and cursor.description[0].name != "time":
        return ["the first column is not `time`"]
    return []
