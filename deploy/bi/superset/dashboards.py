"""Defines Superset's dashboards: datasets on the functions of the schema analytics, and charts.

Writes them to a file: dashboards.py 'postgresql://bi_reader@HOST/shop?sslmode=verify-full' shop.zip
"""

import json
import sys
from pathlib import Path

import bundle
from bundle import Chart, Column, Dashboard, Dataset

# Superset renders these with the dashboard's time range, whose end is exclusive.
FROM = "{% if from_dttm %}'{{ from_dttm }}'::timestamp::date{% else %}'-infinity'{% endif %}"
TO = (
    "{% if to_dttm %}('{{ to_dttm }}'::timestamp - interval '1 second')::date"
    "{% else %}'infinity'{% endif %}"
)
DAYS = f"{FROM}, {TO}"

#: Columns that are not in the data dictionary.
OWN_COLUMNS = {
    "step_name": Column("text", "A step of the shop, in the order in which it is taken.", "Step"),
    "customers": Column("bigint", "People who bought, once in each currency.", "Customers"),
    "repeat_customers": Column("bigint", "Customers with more than one order.", "Repeat customers"),
    "repeat_customer_rate": Column("numeric", "repeat_customers / customers.", "Repeat rate"),
    "days_between_orders": Column(
        "numeric", "Mean time between two orders of a person, in days.", "Days between orders"
    ),
    "median_days_between_orders": Column(
        "numeric", "Half of the repeat customers order again faster.", "Median days between orders"
    ),
}
#: Labels that differ from the column's name.
LABELS = {
    "click_through_rate": "Click-through rate (CTR)",
    "click_through_user_rate": "Click-through rate of people",
    "converted_sessions": "Sessions with a purchase",
    "engaged_user_rate": "Engagement rate of people",
    "product_id": "Product id",
    "list_id": "List id",
    "monetary_score": "Monetary",
    "frequency_score": "Frequency",
    "recency_score": "Recency",
    "period": "Weeks after",
    "rate_of_first": "Of the first step",
    "rate_of_step_before": "Of the step before",
    "revenue_per_order": "Average order",
    "view_to_purchase_user_rate": "View-to-purchase rate",
}

COLUMNS = {**bundle.read_dictionary(), **OWN_COLUMNS}
for name, label in LABELS.items():
    COLUMNS[name].label = label

#: Rates divide sums, so that they stay right over days, platforms and currencies.
METRICS = {
    "sessions": "SUM(sessions)",
    "engaged_sessions": "SUM(engaged_sessions)",
    "converted_sessions": "SUM(converted_sessions)",
    "bounces": "SUM(bounces)",
    "engagement_rate": "SUM(engaged_sessions) / NULLIF(SUM(sessions), 0)",
    "bounce_rate": "SUM(bounces) / NULLIF(SUM(sessions), 0)",
    "conversion_rate": "SUM(converted_sessions) / NULLIF(SUM(sessions), 0)",
    "impressions": "SUM(impressions)",
    "clicks": "SUM(clicks)",
    "click_through_rate": "SUM(clicks) / NULLIF(SUM(impressions), 0)",
    "orders": "COUNT(DISTINCT order_id)",
    "purchases": "SUM(purchases)",
    "units": "SUM(units)",
    "revenue": "SUM(revenue)",
    "refunds": "SUM(refunds)",
    "net_revenue": "SUM(revenue) - SUM(refunds)",
    "revenue_per_order": "SUM(revenue) / NULLIF(COUNT(DISTINCT order_id), 0)",
    "new_people": "SUM(new_people)",
    "returning_people": "SUM(returning_people)",
    "new_buyers": "SUM(new_buyers)",
    "returning_buyers": "SUM(returning_buyers)",
    "retention_rate": "SUM(people) / NULLIF(SUM(cohort_people), 0)",
    "customers": "COUNT(*)",
    "repeat_customers": "COUNT(*) FILTER (WHERE orders > 1)",
    "repeat_customer_rate": "COUNT(*) FILTER (WHERE orders > 1)::numeric / COUNT(*)",
    "median_days_between_orders": (
        "PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY days_between_orders)"
    ),
}


def dataset(name: str, sql: str, columns: str, metrics: str = "") -> Dataset:
    return Dataset(name, sql, columns.split(), metrics.split())


def whole(name: str, function: str, columns: str, metrics: str = "") -> Dataset:
    """Returns a dataset of these columns of a function."""
    listed = ", ".join(columns.split())
    return dataset(name, f"SELECT {listed}\nFROM analytics.{function}", columns, metrics)


SESSIONS = dataset(
    "sessions",
    f"""SELECT day, coalesce(platform, 'no platform') AS platform, count(*) AS sessions,
       count(*) FILTER (WHERE is_engaged) AS engaged_sessions,
       count(*) FILTER (WHERE is_converted) AS converted_sessions,
       count(*) FILTER (WHERE is_bounce) AS bounces
FROM analytics.sessions({DAYS})
GROUP BY 1, 2""",
    "day platform sessions engaged_sessions converted_sessions bounces",
    "sessions engaged_sessions converted_sessions bounces engagement_rate bounce_rate "
    "conversion_rate",
)
ORDERS = dataset(
    "orders_and_refunds",
    f"""SELECT day, coalesce(platform, 'no platform') AS platform, currency, order_id, purchases,
       units, revenue, 0 AS refunds
FROM analytics.orders({DAYS})
UNION ALL
SELECT day, coalesce(platform, 'no platform'), currency, NULL, 0, 0, 0, refunds
FROM analytics.refunds({DAYS})""",
    "day platform currency order_id purchases units revenue refunds",
    "orders purchases units revenue refunds net_revenue revenue_per_order",
)
SESSION_FUNNEL = dataset(
    "session_funnel",
    f"""SELECT step, sessions, rate_of_first, rate_of_step_before,
       (ARRAY['Saw a list', 'Chose a product in a list', 'Viewed a product', 'Added to cart',
              'Began checkout', 'Purchased'])[step] AS step_name
FROM analytics.session_funnel({DAYS})""",
    "step step_name sessions rate_of_first rate_of_step_before",
)
LISTS_BY_DAY = whole(
    "lists_by_day",
    f"daily_lists({DAYS})",
    "day list_key impressions clicks",
    "impressions clicks click_through_rate",
)
NEW_AND_RETURNING = whole(
    "new_and_returning",
    f"new_and_returning({DAYS})",
    "day new_people returning_people new_buyers returning_buyers",
    "new_people returning_people new_buyers returning_buyers",
)
LISTS = whole(
    "lists",
    f"list_performance({DAYS})",
    "list list_id kind impressions viewers clicks clickers engaged engagement_rate "
    "engaged_user_rate click_through_rate click_through_user_rate orders units revenue currency",
)
LIST_POSITIONS = whole(
    "list_positions",
    f"list_positions({DAYS})",
    "list list_position impressions clicks",
    "impressions clicks click_through_rate",
)
SEARCH_TERMS = whole(
    "search_terms",
    f"search_terms({DAYS})",
    "search_term list_views impressions viewers clicks click_through_rate engagement_rate orders",
)
PRODUCTS = whole(
    "products",
    f"product_performance({DAYS})",
    "product product_id brand category impressions views viewers cart_adders checkout_starters "
    "buyers view_to_purchase_user_rate orders units revenue currency",
)
COHORTS = whole(
    "weekly_cohorts",
    f"cohorts('week', 'visit', {DAYS})",
    "cohort period cohort_people people buyers",
    "retention_rate",
)
CUSTOMERS = dataset(
    "customers",
    f"""SELECT person, currency, orders, purchases, revenue, revenue_per_order, last_order_at,
       round(extract(epoch FROM time_between_orders) / 86400, 1) AS days_between_orders,
       recency_score, frequency_score, monetary_score
FROM analytics.customers({DAYS})""",
    "person currency orders purchases revenue revenue_per_order last_order_at days_between_orders "
    "recency_score frequency_score monetary_score",
    "customers repeat_customers repeat_customer_rate median_days_between_orders",
)


def orders_by(dimension: str) -> Dataset:
    return dataset(
        f"orders_by_{dimension}",
        f"""SELECT value AS {dimension}, currency, orders, units, revenue, revenue_per_order
FROM analytics.orders_by('{dimension}', {DAYS})""",
        f"{dimension} currency orders units revenue revenue_per_order",
    )


COUNT, MONEY, RATE = ",d", ",.2f", ".1%"


def number_format(name: str) -> str:
    if name.endswith("_rate") or name.startswith("rate_of_"):
        return RATE
    if "revenue" in name or name == "refunds":
        return MONEY
    return ",.1f" if "days" in name else COUNT


def headline(title: str, data: Dataset, metric: str, note: str) -> Chart:
    params = {
        "metric": metric,
        "y_axis_format": number_format(metric),
        "header_font_size": 0.5,
    }
    return Chart(title, data, "big_number_total", params, 4, 16, note)


def by_day(
    title: str, data: Dataset, kind: str, metrics: str, width: int, note: str, groupby: str = ""
) -> Chart:
    names = metrics.split()
    params = {
        "x_axis": "day",
        "time_grain_sqla": "P1D",
        "metrics": names,
        "groupby": groupby.split(),
        "row_limit": 10000,
        "truncate_metric": True,
        "show_legend": True,
        "legendOrientation": "top",
        "rich_tooltip": True,
        "x_axis_time_format": "%d %b",
        "y_axis_format": RATE if names[0].endswith("_rate") else COUNT,
        "truncateYAxis": False,
        # Currencies don't add up.
        "stack": "Stack" if kind == "bar" and groupby != "currency" else None,
    }
    return Chart(title, data, f"echarts_timeseries_{kind}", params, width, 44, note)


def table(
    title: str,
    data: Dataset,
    columns: str,
    order: str,
    width: int,
    note: str,
    only: tuple = (),
    is_paged: bool = True,
    has_bars: bool = False,
) -> Chart:
    """Returns a table of rows, ordered by columns; a `-` before a column means descending."""
    params = {
        "query_mode": "raw",
        "all_columns": columns.split(),
        "order_by_cols": [
            json.dumps([name.lstrip("-"), not name.startswith("-")]) for name in order.split()
        ],
        "row_limit": 1000,
        "page_length": 10 if is_paged else 0,
        "column_config": formats(columns),
        "adhoc_filters": [
            {
                "expressionType": "SIMPLE",
                "clause": "WHERE",
                "subject": subject,
                "operator": operator,
                "comparator": comparator,
            }
            for subject, operator, comparator in only
        ],
        "table_timestamp_format": "%Y-%m-%d",
        "show_cell_bars": has_bars,
    }
    return Chart(title, data, "table", params, width, 60 if is_paged else 36, note)


def summary(
    title: str, data: Dataset, groupby: str, metrics: str, width: int, height: int, note: str
) -> Chart:
    names = metrics.split()
    params = {
        "query_mode": "aggregate",
        "groupby": groupby.split(),
        "metrics": names,
        "timeseries_limit_metric": names[0],
        "order_desc": True,
        "row_limit": 100,
        "column_config": formats(metrics),
        "show_cell_bars": False,
    }
    return Chart(title, data, "table", params, width, height, note)


def formats(names: str) -> dict:
    numbers = ("bigint", "integer", "numeric")
    numeric = [name for name in names.split() if COLUMNS[name].type in numbers]
    return {name: {"d3NumberFormat": number_format(name)} for name in numeric}


SHOWN_OFTEN = ("impressions", ">=", 20)
VIEWED_OFTEN = ("viewers", ">=", 10)

OVERVIEW = Dashboard(
    "Shop overview",
    "shop-overview",
    [
        [
            headline("Sessions", SESSIONS, "sessions", "Sessions that begin in these days."),
            headline("Bounce rate", SESSIONS, "bounce_rate", "Sessions with one event / sessions."),
            headline(
                "Conversion rate",
                SESSIONS,
                "conversion_rate",
                "Sessions with a purchase / sessions.",
            ),
        ],
        [
            headline("Orders", ORDERS, "orders", "Each order once, by transaction_id."),
            headline("Impressions", LISTS_BY_DAY, "impressions", "Products shown in lists."),
            headline(
                "Click-through rate",
                LISTS_BY_DAY,
                "click_through_rate",
                "Clicks on products in lists / impressions (CTR).",
            ),
        ],
        [
            summary(
                "Revenue by currency",
                ORDERS,
                "currency",
                "net_revenue revenue refunds orders revenue_per_order",
                7,
                36,
                "Without tax and shipping. Net revenue is revenue - refunds; the average order "
                "(AOV) is revenue / orders.",
            ),
            table(
                "Session funnel",
                SESSION_FUNNEL,
                "step_name sessions rate_of_first rate_of_step_before",
                "step",
                5,
                "Sessions that took the step after all steps before it, in one session.",
                is_paged=False,
                has_bars=True,
            ),
        ],
        [
            by_day(
                "Net revenue by day",
                ORDERS,
                "bar",
                "net_revenue",
                6,
                "Revenue of the day's orders - refunds of the day, without tax and shipping.",
                groupby="currency",
            ),
            by_day(
                "Sessions by day",
                SESSIONS,
                "line",
                "sessions engaged_sessions converted_sessions",
                6,
                "By the day on which the session begins.",
            ),
        ],
        [
            by_day(
                "New and returning people",
                NEW_AND_RETURNING,
                "bar",
                "new_people returning_people",
                6,
                "New people have their first event of all time on the day; the others return.",
            ),
            by_day(
                "Bounce and conversion by day",
                SESSIONS,
                "line",
                "bounce_rate conversion_rate",
                6,
                "Sessions with one event / sessions, and sessions with a purchase / sessions.",
            ),
        ],
    ],
    "Sessions, funnel, orders and revenue at a glance.",
)

LISTS_AND_PRODUCTS = Dashboard(
    "Lists and products",
    "lists-and-products",
    [
        [
            table(
                "Top lists by engagement rate",
                LISTS,
                "list impressions engagement_rate click_through_rate orders revenue currency",
                "-engagement_rate -impressions list",
                7,
                "Impressions that the person followed up within 30 minutes / impressions. Lists "
                "with fewer than 20 impressions are left out: their rates are chance. A list that "
                "sold in two currencies has two rows.",
                only=(SHOWN_OFTEN, ("engagement_rate", "IS NOT NULL", None)),
            ),
            table(
                "Search terms",
                SEARCH_TERMS,
                "search_term impressions click_through_rate orders",
                "-impressions search_term",
                5,
                "What people search for most. Lists of search results tell it by their names.",
            ),
        ],
        [
            table(
                "Best products by view-to-purchase rate",
                PRODUCTS,
                "product brand viewers buyers view_to_purchase_user_rate units revenue currency",
                "-view_to_purchase_user_rate -viewers product",
                7,
                "People who bought / people who viewed. Products with fewer than 10 viewers are "
                "left out. A product that sold in two currencies has two rows.",
                only=(VIEWED_OFTEN,),
            ),
            table(
                "Products viewed but not bought",
                PRODUCTS,
                "product brand category viewers cart_adders",
                "-viewers product",
                5,
                "Price, stock or description? Products with fewer than 10 viewers are left out.",
                only=(VIEWED_OFTEN, ("buyers", "==", 0)),
            ),
        ],
        [
            by_day(
                "Click-through rate by day",
                LISTS_BY_DAY,
                "line",
                "click_through_rate",
                6,
                "Clicks on products in lists / impressions, over all lists.",
            ),
            Chart(
                "Click-through rate by position",
                LIST_POSITIONS,
                "echarts_timeseries_bar",
                {
                    "x_axis": "list_position",
                    "metrics": ["click_through_rate"],
                    "groupby": [],
                    "x_axis_sort": "list_position",
                    "x_axis_sort_asc": True,
                    "xAxisForceCategorical": True,
                    "row_limit": 1000,
                    "show_legend": False,
                    "rich_tooltip": True,
                    "x_axis_title": "Position in the list, as sent",
                    "x_axis_title_margin": 30,
                    "y_axis_format": RATE,
                    "adhoc_filters": [
                        {
                            "expressionType": "SIMPLE",
                            "clause": "WHERE",
                            "subject": "list_position",
                            "operator": "<",
                            "comparator": 30,
                        }
                    ],
                },
                6,
                44,
                "Clicks at a position / products shown there, over all lists.",
            ),
        ],
    ],
    "Which lists make people go on, what they search for, and which products sell.",
)

ORDERS_AND_CUSTOMERS = Dashboard(
    "Orders and customers",
    "orders-and-customers",
    [
        [
            summary(
                "Orders by platform",
                ORDERS,
                "platform currency",
                "orders net_revenue revenue_per_order",
                4,
                36,
                "Each order once. Net revenue is revenue - refunds.",
            ),
            table(
                "Orders by category",
                orders_by("category"),
                "category currency orders revenue revenue_per_order",
                "-orders category currency",
                4,
                "Orders with a line of the category: an order with two categories is in both.",
                is_paged=False,
            ),
            table(
                "Orders by coupon",
                orders_by("coupon"),
                "coupon currency orders revenue revenue_per_order",
                "-orders coupon currency",
                4,
                "By the coupon of the order, else that of its lines.",
                is_paged=False,
            ),
        ],
        [
            by_day(
                "Orders by day",
                ORDERS,
                "bar",
                "orders",
                6,
                "By the day of the order's first event.",
                groupby="platform",
            ),
            by_day(
                "New and returning buyers",
                NEW_AND_RETURNING,
                "bar",
                "new_buyers returning_buyers",
                6,
                "New buyers have their first purchase of all time on the day; the others return.",
            ),
        ],
        [
            Chart(
                "Weekly cohorts",
                COHORTS,
                "pivot_table_v2",
                {
                    "groupbyRows": ["cohort"],
                    # A pivot table shows names of columns and not their labels.
                    "groupbyColumns": [
                        {
                            "expressionType": "SQL",
                            "sqlExpression": "period",
                            "label": COLUMNS["period"].label,
                        }
                    ],
                    "metrics": ["retention_rate"],
                    "metricsLayout": "COLUMNS",
                    "aggregateFunction": "Sum",
                    "rowOrder": "key_a_to_z",
                    "colOrder": "key_a_to_z",
                    "row_limit": 10000,
                    "valueFormat": RATE,
                    "date_format": "%Y-%m-%d",
                    "conditional_formatting": [
                        {"column": "retention_rate", "colorScheme": "#1FA8C9", "operator": "None"}
                    ],
                },
                7,
                44,
                "Of the people who first came in a week, the part that came again so many weeks "
                "after.",
            ),
            summary(
                "Repeat customers",
                CUSTOMERS,
                "currency",
                "customers repeat_customers repeat_customer_rate median_days_between_orders",
                5,
                44,
                "Customers with more than one order in these days.",
            ),
        ],
        [
            Chart(
                "Customers by recency (across) and frequency (up)",
                CUSTOMERS,
                "heatmap_v2",
                {
                    "x_axis": "recency_score",
                    "groupby": "frequency_score",
                    "metric": "customers",
                    "sort_x_axis": "alpha_asc",
                    "sort_y_axis": "alpha_asc",
                    "normalize_across": "heatmap",
                    "linear_color_scheme": "superset_seq_1",
                    "legend_type": "continuous",
                    "show_legend": False,
                    "show_values": True,
                    "show_percentage": False,
                    "xscale_interval": -1,
                    "yscale_interval": -1,
                    "left_margin": "auto",
                    "bottom_margin": "auto",
                    "y_axis_format": COUNT,
                    "value_bounds": [None, None],
                    "row_limit": 100,
                },
                5,
                60,
                "Scores are fifths of the customers (RFM): 5 bought last, and most often.",
            ),
            table(
                "Best customers",
                CUSTOMERS,
                "person currency orders revenue last_order_at recency_score frequency_score "
                "monetary_score",
                "-monetary_score -frequency_score -recency_score -revenue person",
                7,
                "Scores from 1 to 5 are fifths of the customers of the currency (RFM).",
            ),
        ],
    ],
    "Where orders come from, and who comes back.",
)

DASHBOARDS = [OVERVIEW, LISTS_AND_PRODUCTS, ORDERS_AND_CUSTOMERS]


def make_bundle(url: str) -> bytes:
    return bundle.write(url, DASHBOARDS, COLUMNS, METRICS)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    Path(sys.argv[2]).write_bytes(make_bundle(sys.argv[1]))
