"""Writes definitions of datasets, charts and dashboards as a bundle that Superset imports.

A bundle is a zip of YAML files, one per object. JSON is YAML, so the standard library suffices.
Names make the UUIDs, so importing a bundle again updates the objects instead of adding others.
"""

import html
import json
import re
import uuid
import zipfile
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

DICTIONARY = Path(__file__).resolve().parents[3] / "sql/DICTIONARY.md"
NAMESPACE = uuid.UUID("5d0c1a52-3b0e-4c56-9b77-3a6f6f2d8a10")
DATABASE = "shop"
#: Superset asks for the password of a database whose URI has this one.
PASSWORD_MASK = "XXXXXXXXXX"
VERSION = "1.0.0"
COLUMNS_OF_DASHBOARD = 12
#: Including today, which `Last 28 days` leaves out.
FOUR_WEEKS = 'DATEADD(DATETIME("today"), -27, day) : DATEADD(DATETIME("today"), 1, day)'


@dataclass
class Column:
    """A column or metric of the data, as analysts read it."""

    type: str
    meaning: str
    label: str


@dataclass
class Dataset:
    """A virtual dataset: a query with the dashboard's time range in it."""

    name: str
    sql: str
    columns: list[str]
    metrics: list[str] = field(default_factory=list)


@dataclass
class Chart:
    """A chart on a dataset. Of 12 columns it takes `width`, and `height` units of 8 pixels."""

    title: str
    dataset: Dataset
    kind: str
    params: dict
    width: int
    height: int
    note: str


@dataclass
class Dashboard:
    """Rows of charts below a time filter, and a platform filter where charts can have one."""

    title: str
    slug: str
    rows: list[list[Chart]]
    note: str


def identify(kind: str, name: str) -> str:
    return str(uuid.uuid5(NAMESPACE, f"{kind}/{name}"))


def read_dictionary() -> dict[str, Column]:
    """Columns of the schema analytics, from the data dictionary."""
    analytics = DICTIONARY.read_text().split("## Schema `analytics`", 1)[1]
    columns: dict[str, Column] = {}
    for name, type_, meaning in re.findall(r"^\| `(\w+)` \| (\S+) \| ([^|]+) \|$", analytics, re.M):
        label = name.replace("_", " ").capitalize()
        columns.setdefault(name, Column(type_, html.unescape(meaning), label))
    return columns


def write(
    url: str, dashboards: list[Dashboard], columns: dict[str, Column], metrics: dict[str, str]
) -> bytes:
    """Returns the bundle of dashboards on the database at `url`, which has no password."""
    charts = [chart for dashboard in dashboards for row in dashboard.rows for chart in row]
    datasets = {chart.dataset.name: chart.dataset for chart in charts}.values()
    files = {"metadata": {"version": VERSION}, f"databases/{DATABASE}": describe_database(url)}
    for dataset in datasets:
        described = describe_dataset(dataset, columns, metrics)
        files[f"datasets/{DATABASE}/{dataset.name}"] = described
    for chart in charts:
        files[f"charts/{slug(chart.title)}"] = describe_chart(chart)
    for dashboard in dashboards:
        files[f"dashboards/{dashboard.slug}"] = describe_dashboard(dashboard)
    bundle = BytesIO()
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"{DATABASE}/{name}.yaml", json.dumps(content, indent=2))
    return bundle.getvalue()


def slug(title: str) -> str:
    return re.sub(r"\W+", "_", title.lower()).strip("_")


def describe_database(url: str) -> dict:
    parts = urlsplit(url)
    if parts.scheme != "postgresql" or not parts.username or not parts.hostname:
        raise SystemExit("error: the URL must be postgresql://USER@HOST:PORT/DATABASE?sslmode=...")
    if parts.password:
        raise SystemExit("error: leave the password out of the URL; the import takes it separately")
    host = parts.netloc.rpartition("@")[2]
    masked = f"{parts.username}:{PASSWORD_MASK}@{host}"
    return {
        "database_name": DATABASE,
        "sqlalchemy_uri": urlunsplit(parts._replace(scheme="postgresql+psycopg2", netloc=masked)),
        "uuid": identify("database", DATABASE),
        "expose_in_sqllab": True,
        "allow_run_async": False,
        "allow_ctas": False,
        "allow_cvas": False,
        "allow_dml": False,
        "allow_file_upload": False,
        "extra": {"allows_virtual_table_explore": True},
        "version": VERSION,
    }


def describe_dataset(dataset: Dataset, columns: dict[str, Column], metrics: dict[str, str]) -> dict:
    described = [describe_column(name, columns[name]) for name in dataset.columns]
    times = [column["column_name"] for column in described if column["is_dttm"]]
    return {
        # Superset on SQLite needs dataset names that are unique across databases.
        "table_name": f"{DATABASE}_{dataset.name}",
        "main_dttm_col": times[0] if times == ["day"] else None,
        "sql": dataset.sql,
        "source_db_engine": "postgresql",
        "columns": described,
        "metrics": [
            {
                "metric_name": name,
                "verbose_name": columns[name].label,
                "description": columns[name].meaning,
                "expression": metrics[name],
            }
            for name in dataset.metrics
        ],
        "uuid": identify("dataset", dataset.name),
        "database_uuid": identify("database", DATABASE),
        "version": VERSION,
    }


def describe_column(name: str, column: Column) -> dict:
    return {
        "column_name": name,
        "verbose_name": column.label,
        "description": column.meaning,
        "type": column.type.upper(),
        "is_dttm": column.type in ("date", "timestamptz"),
        "groupby": True,
        "filterable": True,
    }


def describe_chart(chart: Chart) -> dict:
    params = {"viz_type": chart.kind, "adhoc_filters": [], **chart.params}
    if "day" in chart.dataset.columns:
        any_time = {
            "expressionType": "SIMPLE",
            "clause": "WHERE",
            "subject": "day",
            "operator": "TEMPORAL_RANGE",
            "comparator": "No filter",
        }
        params["adhoc_filters"] = [any_time, *params["adhoc_filters"]]
    return {
        "slice_name": chart.title,
        "description": chart.note,
        "viz_type": chart.kind,
        "params": params,
        "uuid": identify("chart", chart.title),
        "dataset_uuid": identify("dataset", chart.dataset.name),
        "version": VERSION,
    }


def describe_dashboard(dashboard: Dashboard) -> dict:
    # The import replaces these ids; they connect filters to charts within the file.
    charts = [chart for row in dashboard.rows for chart in row]
    ids = {chart.title: number for number, chart in enumerate(charts, start=1)}
    return {
        "dashboard_title": dashboard.title,
        "description": dashboard.note,
        "slug": dashboard.slug,
        "uuid": identify("dashboard", dashboard.title),
        "published": True,
        "position": lay_out(dashboard, ids),
        "metadata": {
            "native_filter_configuration": describe_filters(charts, ids),
            "color_scheme": "supersetColors",
            "cross_filters_enabled": True,
            # Above the charts, so that these have the whole width.
            "filter_bar_orientation": "HORIZONTAL",
            "refresh_frequency": 0,
        },
        "version": VERSION,
    }


def lay_out(dashboard: Dashboard, ids: dict[str, int]) -> dict:
    rows = [f"ROW-{number}" for number, _ in enumerate(dashboard.rows, start=1)]
    position: dict = {
        "DASHBOARD_VERSION_KEY": "v2",
        "ROOT_ID": {"type": "ROOT", "id": "ROOT_ID", "children": ["GRID_ID"]},
        "GRID_ID": {"type": "GRID", "id": "GRID_ID", "children": rows, "parents": ["ROOT_ID"]},
        "HEADER_ID": {"type": "HEADER", "id": "HEADER_ID", "meta": {"text": dashboard.title}},
    }
    for row, charts in zip(rows, dashboard.rows):
        if sum(chart.width for chart in charts) != COLUMNS_OF_DASHBOARD:
            raise ValueError(f"{dashboard.title}: the row of {charts[0].title} is not 12 columns")
        position[row] = {
            "type": "ROW",
            "id": row,
            "children": [f"CHART-{ids[chart.title]}" for chart in charts],
            "parents": ["ROOT_ID", "GRID_ID"],
            "meta": {"background": "BACKGROUND_TRANSPARENT"},
        }
        for chart in charts:
            name = f"CHART-{ids[chart.title]}"
            position[name] = {
                "type": "CHART",
                "id": name,
                "children": [],
                "parents": ["ROOT_ID", "GRID_ID", row],
                "meta": {
                    "chartId": ids[chart.title],
                    "uuid": identify("chart", chart.title),
                    "sliceName": chart.title,
                    "width": chart.width,
                    "height": chart.height,
                },
            }
    return position


def describe_filters(charts: list[Chart], ids: dict[str, int]) -> list[dict]:
    days = {
        "id": "NATIVE_FILTER-days",
        "name": "Days",
        "description": "Days of the reporting time zone.",
        "type": "NATIVE_FILTER",
        "filterType": "filter_time",
        "targets": [{}],
        "defaultDataMask": {
            "extraFormData": {"time_range": FOUR_WEEKS},
            "filterState": {"value": FOUR_WEEKS},
        },
        "controlValues": {},
        "cascadeParentIds": [],
        "scope": {"rootPath": ["ROOT_ID"], "excluded": []},
    }
    by_platform = [chart for chart in charts if "platform" in chart.dataset.columns]
    if not by_platform:
        return [days]
    target = {
        "column": {"name": "platform"},
        "datasetUuid": identify("dataset", by_platform[0].dataset.name),
    }
    platform = {
        "id": "NATIVE_FILTER-platform",
        "name": "Platform",
        "description": "Applies to: " + ", ".join(chart.title for chart in by_platform) + ".",
        "type": "NATIVE_FILTER",
        "filterType": "filter_select",
        "targets": [target],
        "defaultDataMask": {"extraFormData": {}, "filterState": {}},
        "controlValues": {"multiSelect": True, "enableEmptyFilter": False},
        "cascadeParentIds": [days["id"]],
        "scope": {
            "rootPath": ["ROOT_ID"],
            "excluded": [ids[chart.title] for chart in charts if chart not in by_platform],
        },
    }
    return [days, platform]
