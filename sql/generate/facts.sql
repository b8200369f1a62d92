-- Made-up facts of the sessions $1 to $2 of $3, which spread over the time from $4 to $5. As in a
-- shop, a few products, lists and people have most of it; of the lists that somebody sees (1 to 4,
-- with 4 to 9 products), some lead to a view_item, fewer to a checkout and a purchase. A person
-- keeps the device and the country, and follows the releases of the app, one in ten days, sooner or
-- later. The same numbers make the same facts.
--
-- Each random number is a hash of what it is for. OFFSET 0 keeps the planner from computing a thing
-- wherever it is named.
WITH products AS (
    SELECT product_key, row_number() OVER (ORDER BY product_key) - 1 AS product FROM dim_product
    WHERE natural_key LIKE 'id:GEN\_%'
), lists AS (
    SELECT list_key, row_number() OVER (ORDER BY list_key) - 1 AS list FROM dim_list
    WHERE natural_key LIKE 'id:gen\_%'
), sessions AS (
    SELECT number, $4::timestamptz + ($5::timestamptz - $4::timestamptz) * (number::float8 / $3::bigint) AS began,
           -- Six sessions a person; one person in three is signed in.
           (greatest($3::bigint / 6, 1) * power((hashint8extended(number,
                                                                  1) & 1048575) / 1048576.0::float8,
                                                                      1.3))::bigint AS person
    FROM generate_series($1::bigint, $2::bigint) AS number
    OFFSET 0
), origins AS (
    SELECT s.*, 1 + width_bucket((hashint8extended(number, 7) & 1023)::int, ARRAY[390, 630, 770,
                                 850, 920, 970, 1010]) AS traffic,
           CASE WHEN hashint8extended(person, 8) & 1023 < 90 THEN 'tablet' ELSE 'mobile' END
               AS device_category,
           (ARRAY['Mexico', 'United States', 'Brazil', 'France', 'Colombia'])[
               1 + width_bucket((hashint8extended(person, 9) & 1023)::int, ARRAY[520, 700, 850,
                                930])] AS country,
           '7.' || 4 + floor((extract(epoch
                                      FROM began - $4::timestamptz) / 86400 - person % 13) / 10)::int || '.0' AS app_version
    FROM sessions s
    OFFSET 0
), visits AS (
    SELECT s.*, visit, hashint8extended(number * 4 + visit, 2) & 9223372036854775807 AS dice,
           began + (visit - 1) * interval '3 minutes' AS at,
           4 + (hashint8extended(number * 4 + visit, 3) & 1048575)::int % 6 AS shown,
           floor(50 * power((hashint8extended(number * 4 + visit, 4) & 1048575) / 1048576.0::float8,
                            1.5))::bigint AS list
    FROM origins s, generate_series(1, 1 + (hashint8extended(number, 5) & 3)::int) AS visit
    OFFSET 0
), steps AS (
    -- Steps from 1 to shown are the items of the list; behind them come view_item, begin_checkout,
    -- purchase, and another product of the purchase.
    SELECT v.*, step, least(greatest(step - shown, 0), 3) AS stage,
           CASE WHEN step <= shown THEN step WHEN step - shown = 4 THEN 2 ELSE 1 END AS ordinal,
           CASE WHEN step <= shown THEN step
               ELSE 1 + ((dice & 1023)::int + (step - shown) / 4) % shown END AS place
    FROM visits v,
         generate_series(1, shown + CASE WHEN (dice >> 10) & 1023 >= 300 + list * 8 THEN 0
                                         WHEN (dice >> 20) & 1023 >= 350 THEN 1
                                         WHEN (dice >> 30) & 1023 >= 600 THEN 2
                                             ELSE 3 + ((dice >> 41) & 1)::int END) AS step
    OFFSET 0
), items AS (
    SELECT s.*, md5(number::text || '/' || visit || '/' || stage) AS event,
           floor(2000 * power((hashint8extended(number * 64 + visit * 16 + place,
                                                6) & 1048575) / 1048576.0::float8, 2))::bigint
                                                    AS product,
           CASE WHEN stage >= 2 THEN 1 + ((dice >> 40) & 1) ELSE 1 END AS units
    FROM steps s
    OFFSET 0
), priced AS (
    SELECT i.*, product_key, list_key, round((499 + product * 37 % 24500) / 100.0, 2) AS price
    FROM items i JOIN products USING (product) JOIN lists USING (list)
    OFFSET 0
)
INSERT INTO fact_events (
    event_time, event_name, event_id, user_id, user_pseudo_id, session_id, platform, traffic_source,
        traffic_medium,
    traffic_campaign, device_category, country, app_version, product_key, product_variant, list_key,
        list_position,
    item_ordinal, price, quantity, currency, value, transaction_id, tax, shipping, extra, fact_hash,
        source_topic,
    source_partition, source_offset
)
SELECT at + stage * interval '25 seconds' + (dice >> 50 & 1023) * interval '1 millisecond',
       (ARRAY['view_item_list', 'view_item', 'begin_checkout', 'purchase'])[1 + stage],
       event::uuid::text,
       CASE WHEN person % 3 = 0 THEN 'U' || person END, lpad(to_hex(person * 2654435761), 16, '0'),
       extract(epoch FROM began)::bigint::text,
           CASE WHEN person % 5 < 3 THEN 'ANDROID' ELSE 'IOS' END,
       (ARRAY['(direct)', 'google', 'google', 'instagram', 'newsletter', 'push', 'tiktok',
        'bing'])[traffic],
       (ARRAY['(none)', 'organic', 'cpc', 'paid_social', 'email', 'push', 'paid_social',
        'organic'])[traffic],
       (ARRAY[NULL, NULL, 'brand_search', 'autumn_looks', 'weekly_offers', 'back_in_stock',
        'first_order', NULL])[traffic],
       device_category, country, app_version,
       product_key, (ARRAY['black', 'white', 'green', 'sand', 'blue'])[1 + product % 5],
       CASE WHEN stage < 2 THEN list_key END, CASE WHEN stage < 2 THEN place - 1 END,
       ordinal, price, units, 'EUR', CASE WHEN stage IN (1, 2) THEN price * units END,
       CASE WHEN stage = 3 THEN 'T' || number || '-' || visit END,
           CASE WHEN stage = 3 THEN round(price * units / 5, 2) END,
       CASE WHEN stage = 3 THEN 4.9 END, '{"event": {"connection": "wifi"}}',
           md5(event || step)::uuid,
       'generated', (number % 4)::int, number * 4 + visit
FROM priced
ON CONFLICT DO NOTHING
