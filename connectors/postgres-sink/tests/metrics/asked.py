"""The questions as SQL, by the names of the methods of metrics.Range.

`$range` stands for two dates.
"""

SESSIONS = """value, sessions, engaged_sessions, converted_sessions, bounces, engagement_rate,
    bounce_rate, ga4_bounce_rate, conversion_rate"""
SOLD = "currency, purchases, orders, units, revenue, reporting_revenue"
AMOUNTS = "units, revenue, currency, reporting_revenue"
AT = "extract(epoch FROM event_time) AS at"
PRODUCT = "analytics.product_label(d) AS product"


def of_each(function, argument, values, columns="*"):
    """A question with a dimension, for each of its values."""
    return " UNION ALL ".join(
        f"SELECT '{value}' AS {argument}, {columns} FROM analytics.{function}('{value}', $range)"
        for value in values
    )


QUESTIONS = {
    "funnel": "SELECT * FROM analytics.daily_funnel($range)",
    "people": "SELECT * FROM analytics.daily_people($range)",
    "session_rows": """SELECT day, extract(epoch FROM started_at) AS started_at,
        extract(epoch FROM ended_at) AS ended_at, platform, has_session_id, events, views,
        is_engaged, is_converted, is_bounce,
        coalesce(analytics.list_label(d), 'no list') AS entry_list
        FROM analytics.sessions($range) LEFT JOIN dim_list d ON d.list_key = entry_list""",
    "sessions_by_day": f"SELECT {SESSIONS} FROM analytics.sessions_by('day', $range)",
    "sessions_of_all": f"SELECT {SESSIONS} FROM analytics.sessions_by('all', $range)",
    "sessions_by_platform": f"SELECT {SESSIONS} FROM analytics.sessions_by('platform', $range)",
    "sessions_by_entry_list": f"SELECT {SESSIONS} FROM analytics.sessions_by('entry_list', $range)",
    "sessions_by_traffic": of_each("sessions_by", "dimension", (
        "first_source", "first_medium", "first_campaign", "last_source", "last_medium",
        "last_campaign", "device_category", "country", "app_version"), SESSIONS),
    "session_funnel": "SELECT * FROM analytics.session_funnel($range)",
    "journey_funnel": "SELECT * FROM analytics.journey_funnel(2, $range)",
    "abandonment": of_each("abandonment", "dimension", ("day", "platform", "all")),
    "time_to_purchase": of_each("time_to_purchase", "dimension", ("day", "all"), """
        value, counted_from, measured, extract(epoch FROM first_quartile) AS first_quartile,
        extract(epoch FROM median) AS median,
        extract(epoch FROM third_quartile) AS third_quartile"""),
    "identities": """SELECT user_pseudo_id, user_id, extract(epoch FROM first_at) AS first_at,
        extract(epoch FROM last_at) AS last_at FROM analytics.identities($range)""",
    "order_lines": f"""SELECT day, extract(epoch FROM order_began) AS began, {AT}, person,
        session_id, platform, {PRODUCT}, item_ordinal, event_coupon, item_coupon, {AMOUNTS},
        revenue_in_usd FROM analytics.order_lines($range) JOIN dim_product d USING (product_key)""",
    "order_rows": """SELECT day, extract(epoch FROM order_began) AS began, person, platform,
        purchases, units, revenue, currency, reporting_revenue, is_by_value, value, tax, shipping,
        coupon
        FROM analytics.orders($range)""",
    "refund_rows": """SELECT day, person, refunded_units, refunds, currency, reporting_refunds,
        is_by_value FROM analytics.refunds($range)""",
    "revenue": "SELECT * FROM analytics.daily_revenue($range)",
    "orders_by": of_each(
        "orders_by", "dimension", ("platform", "brand", "category", "coupon", "list", "all")
    ),
    "customers": """SELECT person, currency, orders, purchases, revenue, revenue_per_order,
        extract(epoch FROM first_order_at) AS first_order_at,
        extract(epoch FROM last_order_at) AS last_order_at,
        round(extract(epoch FROM time_between_orders), 3) AS time_between_orders, recency_score,
        frequency_score, monetary_score FROM analytics.customers($range)""",
    "products": f"""SELECT product, viewers, cart_adders, checkout_starters, buyers, impressions,
        views, add_to_carts, checkouts, {SOLD}, cart_to_view_user_rate, view_to_purchase_user_rate,
        view_to_purchase_event_rate FROM analytics.product_performance($range)""",
    "daily_products": f"""SELECT day, {PRODUCT}, impressions, views,
        add_to_carts, checkouts, purchases, units, revenue, currency, reporting_revenue
        FROM analytics.daily_products($range) JOIN dim_product d USING (product_key)""",
    "product_pairs": """SELECT a, b, orders, orders_a, orders_b, confidence, lift
        FROM (SELECT *, product_a AS a, product_b AS b, confidence_a_to_b AS confidence
              FROM analytics.product_pairs($range, 1)
              UNION ALL
              SELECT product_key_b, product_b, product_key_a, product_a, orders, orders_b, orders_a,
                     NULL, lift, product_b, product_a, orders::numeric / orders_b
              FROM analytics.product_pairs($range, 1)) p""",
    "viewed_together": """SELECT a, b, sessions, sessions_a, sessions_b, confidence, lift
        FROM (SELECT *, product_a AS a, product_b AS b, confidence_a_to_b AS confidence
              FROM analytics.viewed_together($range, 1)
              UNION ALL
              SELECT product_key_b, product_b, product_key_a, product_a, sessions, sessions_b,
                     sessions_a, NULL, lift, product_b, product_a, sessions::numeric / sessions_b
              FROM analytics.viewed_together($range, 1)) p""",
    "lists": f"""SELECT list_id, list, list_views, impressions, viewers, clicks, clickers, engaged,
        engaged_viewers, click_through_rate, click_through_event_rate, click_through_user_rate,
        engagement_rate, engaged_user_rate, substitutes, {SOLD}
        FROM analytics.list_performance($range)""",
    "lists_by_id": f"""SELECT list_id, list, list_views, impressions, viewers, clicks, clickers,
        engaged, engaged_viewers, click_through_rate, click_through_event_rate,
        click_through_user_rate, engagement_rate, engaged_user_rate, substitutes, {SOLD}
        FROM analytics.list_performance($range, 0, 'id')""",
    "list_clicks": f"""SELECT day, {AT}, analytics.list_label(l) AS list, {PRODUCT}, list_position,
        is_substitute FROM analytics.list_clicks($range) JOIN dim_list l USING (list_key)
        JOIN dim_product d USING (product_key)""",
    "list_sales": f"""SELECT day, {AT}, analytics.list_label(l) AS list, {PRODUCT}, {AMOUNTS}
        FROM analytics.list_sales($range) JOIN dim_list l USING (list_key)
        JOIN dim_product d USING (product_key)""",
    "daily_lists": """SELECT day, analytics.list_label(d) AS list, impressions, clicks, engaged
        FROM analytics.daily_lists($range) JOIN dim_list d USING (list_key)""",
    "positions": """SELECT list, list_position AS at, impressions, clicks,
        click_through_rate AS rate FROM analytics.list_positions($range)""",
    "search_terms": """SELECT search_term, list_views, impressions, viewers, clicks, clickers,
        click_through_rate, click_through_user_rate, purchases, orders
        FROM analytics.search_terms($range)""",
    "promotion_sales": f"""SELECT day, {AT}, {PRODUCT}, promotion_id, promotion_name, is_named,
        {AMOUNTS} FROM analytics.promotion_sales($range) JOIN dim_product d USING (product_key)""",
    "promotions": f"""SELECT promotion_id, promotion_name, promotion_views, promotion_clicks,
        viewers, clickers, click_through_user_rate, click_through_rate, {SOLD}
        FROM analytics.promotions($range)""",
    "new_and_returning": "SELECT * FROM analytics.new_and_returning($range)",
    "cohorts": " UNION ALL ".join(
        f"""SELECT '{unit}' AS unit, '{first_by}' AS first_by, *
            FROM analytics.cohorts('{unit}', '{first_by}', $range)"""
        for unit in ("day", "week", "month") for first_by in ("visit", "order")
    ),
    "lateness": """SELECT day, facts, late_facts, early_facts,
        extract(epoch FROM median_delay) AS median_delay FROM analytics.lateness($range)""",
}

#: Sets the times when facts were sent and written to those of shop.sent_after and shop.delay_of.
ARRIVALS = """
    UPDATE fact_events SET ingested_at = d.ingested_at, sent_at = d.sent_at
    FROM (SELECT n.event_time, n.fact_hash,
                 n.event_time + make_interval(secs => n.number * 977 % 400000 - 1000)
                     AS ingested_at,
                 CASE WHEN n.number % 7 > 0 THEN
                     n.event_time + make_interval(secs => n.number * 1429 % 700000 - 400000) END
                     AS sent_at
          FROM (SELECT f.event_time, f.fact_hash,
                       ('x' || right(f.fact_hash::text, 7))::bit(28)::int::bigint AS number
                FROM fact_events f) n) d
    WHERE fact_events.event_time = d.event_time AND fact_events.fact_hash = d.fact_hash
      AND (fact_events.ingested_at, fact_events.sent_at)
          IS DISTINCT FROM (d.ingested_at, d.sent_at)"""
