-- Lists: what they show, what is clicked in them, and what that sells.

CREATE VIEW analytics.daily_lists AS
SELECT r.day, r.list_key, l.list_id, l.list_name,
       coalesce(sum(r.interactions) FILTER (WHERE r.event_name = 'view_item_list'), 0)::bigint AS impressions,
       coalesce(sum(r.units) FILTER (WHERE r.event_name = 'view_item_list'), 0) AS items_viewed_in_list,
       coalesce(sum(r.interactions) FILTER (WHERE r.event_name = 'select_item'), 0)::bigint AS selects,
       coalesce(sum(r.interactions) FILTER (WHERE r.event_name = 'view_item'), 0)::bigint AS views_from_list
FROM analytics.list_counts r
LEFT JOIN dim_list l USING (list_key)
GROUP BY r.day, r.list_key, l.list_id, l.list_name;
COMMENT ON VIEW analytics.daily_lists IS
    'Grain: one list on one UTC day, from the rollups. impressions = products shown; items_viewed_in_list = their units (GA4 itemsViewedInList); selects = select_item items (GA4 itemListClickEvents by item); views_from_list = view_item items that name the list.';

CREATE FUNCTION analytics.list_clicks(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (event_time timestamptz, fact_hash uuid, person text, product_key bigint, list_key bigint, list_position integer, is_substitute boolean)
STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    WITH selecting AS MATERIALIZED (
        SELECT r.list_key FROM analytics.list_counts r
        WHERE r.event_name = 'select_item' AND r.day BETWEEN from_day AND to_day
        GROUP BY r.list_key HAVING sum(r.interactions) > 0
    )
    SELECT c.event_time, c.fact_hash, c.person, c.product_key, c.list_key, c.list_position, c.is_substitute
    FROM analytics.possible_clicks(from_day, to_day) c
    WHERE NOT (c.is_substitute AND c.list_key IN (SELECT s.list_key FROM selecting s));
END;
COMMENT ON FUNCTION analytics.list_clicks IS
    'Grain: one click on a product in a list. For a list that sends select_item in the range, its select_item items (GA4). For the others the substitute: a view_item of a product by a person to whom it was shown in the list (view_item_list) within the 30 minutes before; of several lists the one that showed it last. list_position is the position clicked, or shown.';

CREATE FUNCTION analytics.list_sales(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (event_time timestamptz, order_id text, product_key bigint, units numeric, revenue numeric, currency text, list_key bigint)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED ROWS 10000
SET plan_cache_mode = force_custom_plan SET jit = off SET enable_mergejoin = off SET work_mem = '64MB' AS $$
#variable_conflict use_column
BEGIN
    -- Of the two sides the purchases are few; to sort the clicks by people would take longer than all the rest.
    RETURN QUERY
    SELECT DISTINCT ON (l.event_time, l.fact_hash)
           l.event_time, l.order_id, l.product_key, l.units, l.revenue, l.currency, coalesce(l.list_key, c.list_key)
    FROM analytics.lines(from_day, to_day) l
    LEFT JOIN analytics.list_clicks(from_day - 1, to_day) c
      ON l.list_key IS NULL AND c.person = l.person AND c.product_key = l.product_key
     AND c.event_time <= l.event_time AND c.event_time >= l.event_time - interval '24 hours'
    WHERE coalesce(l.list_key, c.list_key) IS NOT NULL
    ORDER BY l.event_time, l.fact_hash, c.event_time DESC, c.list_key DESC;
END $$;
COMMENT ON FUNCTION analytics.list_sales IS
    'Grain: one line of an order that a list led to: the list that the purchase''s item names, else the list of the person''s last click on the product (list_clicks) in the 24 hours before. GA4 item-list attribution.';

CREATE FUNCTION analytics.list_engagement(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (list_key bigint, impressions bigint, engaged bigint, viewers bigint, engaged_viewers bigint)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED ROWS 100 SET plan_cache_mode = force_custom_plan SET jit = off SET work_mem = '64MB' AS $$
#variable_conflict use_column
DECLARE
    days date[];
    first_day date;
    last_day date;
    first_open date;
BEGIN
    SELECT coalesce(array_agg(d.day) FILTER (WHERE d.is_sealed), '{}'), min(d.day) FILTER (WHERE d.is_sealed),
           max(d.day) FILTER (WHERE d.is_sealed), min(d.day) FILTER (WHERE NOT d.is_sealed)
    INTO days, first_day, last_day, first_open
    FROM analytics.days(from_day, to_day) d;
    IF last_day - first_day < least(cardinality(days), analytics.days_looked_back() + 1) AND (first_open > last_day) IS NOT FALSE THEN
        -- Each day from the first to the last sealed one is sealed, and the last looks back to the first: a person's first row in a
        -- list is the one without a row before it in the range. The days behind them, today for one, have few people, who are looked for.
        RETURN QUERY
        WITH opened AS (
            SELECT o.list_key, o.person, sum(o.impressions) AS impressions, sum(o.engaged) AS engaged
            FROM analytics.open_list_people(from_day, to_day) o
            GROUP BY o.list_key, o.person
        ), known AS (
            SELECT s.list_key, s.person, bool_or(s.engaged > 0) AS is_engaged
            FROM analytics.sealed_list_people s
            WHERE s.day BETWEEN first_day AND last_day AND (s.list_key, s.person) IN (SELECT o.list_key, o.person FROM opened o)
            GROUP BY s.list_key, s.person
        ), counted AS (
            SELECT s.list_key, sum(s.impressions) AS impressions, sum(s.engaged) AS engaged,
                   count(*) FILTER (WHERE s.seen_before IS NULL OR s.seen_before < first_day) AS viewers,
                   count(*) FILTER (WHERE s.engaged > 0 AND (s.engaged_before IS NULL OR s.engaged_before < first_day)) AS engaged_viewers
            FROM analytics.sealed_list_people s
            WHERE s.day BETWEEN first_day AND last_day
            GROUP BY s.list_key
            UNION ALL
            SELECT o.list_key, sum(o.impressions), sum(o.engaged), count(*) FILTER (WHERE k.person IS NULL),
                   count(*) FILTER (WHERE o.engaged > 0 AND k.is_engaged IS NOT TRUE)
            FROM opened o LEFT JOIN known k ON k.list_key = o.list_key AND k.person = o.person
            GROUP BY o.list_key
        )
        SELECT c.list_key, sum(c.impressions)::bigint, sum(c.engaged)::bigint, sum(c.viewers)::bigint, sum(c.engaged_viewers)::bigint
        FROM counted c
        GROUP BY c.list_key;
    ELSE
        -- A row that names a sealed day of the range is not the first. Of the others people are compared.
        RETURN QUERY
        SELECT p.list_key, sum(p.impressions), sum(p.engaged), count(DISTINCT p.person COLLATE "C") FILTER (WHERE p.may_be_first),
               count(DISTINCT p.person COLLATE "C") FILTER (WHERE p.engaged > 0 AND p.may_be_first_engaged)
        FROM (SELECT s.list_key, s.person, s.impressions, s.engaged, (s.seen_before = ANY (days)) IS NOT TRUE AS may_be_first,
                     (s.engaged_before = ANY (days)) IS NOT TRUE AS may_be_first_engaged
              FROM analytics.sealed_list_people s WHERE s.day = ANY (days)
              UNION ALL
              SELECT o.list_key, o.person, o.impressions, o.engaged, true, true FROM analytics.open_list_people(from_day, to_day) o) p
        GROUP BY p.list_key;
    END IF;
END $$;
COMMENT ON FUNCTION analytics.list_engagement IS
    'Grain: one list. impressions = products shown to known people; engaged = those that the person selected, viewed, added, checked out or bought at that time or within the 30 minutes after; viewers = people who saw the list; engaged_viewers = those with an engaged impression in it. GA4 defines no engagement rate of lists: it is engaged / impressions.';

CREATE FUNCTION analytics.list_performance(
    from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity', min_impressions bigint DEFAULT 0
) RETURNS TABLE (list_key bigint, list_id text, list text, impressions bigint, viewers bigint, clicks bigint, clickers bigint,
                 click_through_user_rate numeric, click_through_event_rate numeric, engagement_rate numeric, engaged_user_rate numeric,
                 purchases bigint, units_sold numeric, revenue numeric, currency text, clicks_are_substitute boolean)
STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    WITH seen AS (
        SELECT r.list_key, sum(r.interactions)::bigint AS impressions
        FROM analytics.list_counts r
        WHERE r.event_name = 'view_item_list' AND r.day BETWEEN from_day AND to_day
        GROUP BY r.list_key
    ), engagement AS (
        SELECT * FROM analytics.list_engagement(from_day, to_day)
    ), clicked AS (
        SELECT c.list_key, count(*) AS clicks, count(DISTINCT c.person COLLATE "C") AS clickers, bool_or(c.is_substitute) AS is_substitute
        FROM analytics.list_clicks(from_day, to_day) c GROUP BY c.list_key
    ), sold AS (
        SELECT s.list_key, count(DISTINCT s.order_id COLLATE "C") AS purchases, sum(s.units) AS units,
               CASE WHEN min(s.currency) IS NOT DISTINCT FROM max(s.currency) THEN sum(s.revenue) END AS revenue,
               CASE WHEN min(s.currency) IS NOT DISTINCT FROM max(s.currency) THEN min(s.currency) END AS currency
        FROM analytics.list_sales(from_day, to_day) s GROUP BY s.list_key
    )
    SELECT s.list_key, d.list_id, coalesce(d.list_name, d.list_id, d.natural_key), s.impressions, coalesce(e.viewers, 0),
           coalesce(c.clicks, 0), coalesce(c.clickers, 0),
           coalesce(c.clickers, 0)::numeric / nullif(e.viewers, 0), coalesce(c.clicks, 0)::numeric / nullif(s.impressions, 0),
           e.engaged::numeric / nullif(e.impressions, 0), e.engaged_viewers::numeric / nullif(e.viewers, 0),
           coalesce(b.purchases, 0), coalesce(b.units, 0), b.revenue, b.currency, c.is_substitute
    FROM seen s
    JOIN dim_list d USING (list_key)
    LEFT JOIN engagement e USING (list_key)
    LEFT JOIN clicked c USING (list_key)
    LEFT JOIN sold b USING (list_key)
    WHERE s.impressions >= min_impressions;
END;
COMMENT ON FUNCTION analytics.list_performance IS
    'Grain: one list. impressions = products shown; click_through_user_rate = people who clicked / people who saw the list (GA4 itemListClickThroughRate, with the clicks of list_clicks); click_through_event_rate = clicks / impressions, for data without people; engagement_rate = engaged / impressions of list_engagement, engaged_user_rate = engaged_viewers / viewers; purchases, units and revenue are those of list_sales. clicks_are_substitute tells whether select_item was missing.';

CREATE FUNCTION analytics.list_positions(
    from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity', min_impressions bigint DEFAULT 0
) RETURNS TABLE (list_key bigint, list text, list_position integer, impressions bigint, clicks bigint, click_through_event_rate numeric)
STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    WITH seen AS (
        SELECT r.list_key, r.list_position, sum(r.interactions)::bigint AS impressions
        FROM analytics.list_counts r
        WHERE r.event_name = 'view_item_list' AND r.list_position >= 0 AND r.day BETWEEN from_day AND to_day
        GROUP BY r.list_key, r.list_position
        HAVING sum(r.interactions) >= greatest(min_impressions, 1)
    ), clicked AS (
        SELECT c.list_key, least(c.list_position, 1000) AS list_position, count(*) AS clicks
        FROM analytics.list_clicks(from_day, to_day) c GROUP BY 1, 2
    )
    SELECT s.list_key, coalesce(d.list_name, d.list_id, d.natural_key), s.list_position, s.impressions,
           coalesce(c.clicks, 0), coalesce(c.clicks, 0)::numeric / nullif(s.impressions, 0)
    FROM seen s JOIN dim_list d USING (list_key) LEFT JOIN clicked c USING (list_key, list_position);
END;
COMMENT ON FUNCTION analytics.list_positions IS
    'Grain: one position of one list, as sent (GA4 index). click_through_event_rate = clicks at the position / products shown there; the curve of a list. Positions from 1000 on are one.';
