-- The ten last events after $1 and up to $2. The read ends after 1,000 facts by the primary key,
-- because an event has up to 200 items.
WITH facts AS (
    SELECT event_time, event_name, event_id, coalesce(user_id, user_pseudo_id) AS person, platform,
           item_ordinal, product_key, list_key, ingested_at, sent_at
    FROM fact_events WHERE event_time > $1 AND event_time <= $2
    ORDER BY event_time DESC LIMIT 1000
), events AS (
    SELECT event_time, event_name, min(platform) AS platform,
           count(*) FILTER (WHERE item_ordinal > 0) AS items,
           (array_agg(product_key ORDER BY item_ordinal)
               FILTER (WHERE product_key IS NOT NULL))[1] AS product_key,
           (array_agg(list_key ORDER BY item_ordinal)
               FILTER (WHERE list_key IS NOT NULL))[1] AS list_key,
           min(ingested_at) AS ingested_at, min(sent_at) AS sent_at
    FROM facts GROUP BY event_time, event_name, event_id, person
    ORDER BY event_time DESC LIMIT 10
)
SELECT event_time, event_name, platform, items,
       (SELECT analytics.product_label(p) FROM dim_product p WHERE p.product_key = e.product_key),
       (SELECT analytics.list_label(l) FROM dim_list l WHERE l.list_key = e.list_key), ingested_at,
       sent_at
FROM events e ORDER BY event_time DESC
