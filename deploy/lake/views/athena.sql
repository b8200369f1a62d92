-- Each fact once, for Athena: see facts_distinct.sql. A view of Athena can't have times with a zone, so
-- here they are plain ones in UTC. A condition on them does not limit the files that a query reads, the
-- one in the view does: change it to what your questions need.
CREATE OR REPLACE VIEW shop.facts_distinct AS
SELECT CAST(event_time AT TIME ZONE 'UTC' AS timestamp(6)) AS event_time, event_name, event_id,
       user_id, user_pseudo_id, session_id, platform, traffic_source, traffic_medium,
       traffic_campaign, device_category, country, app_version, product_id, product_name,
       product_brand, product_category, product_category2, product_category3, product_category4,
       product_category5, product_variant, list_id, list_name, list_position, item_ordinal,
       price, quantity, discount, price_in_usd, item_revenue, item_revenue_in_usd, item_refund,
       item_refund_in_usd, item_coupon, affiliation, location_id, promotion_id, promotion_name,
       creative_name, creative_slot, currency, value, transaction_id, tax, shipping,
       event_coupon, extra, fact_hash, event_version,
       CAST(sent_at AT TIME ZONE 'UTC' AS timestamp(6)) AS sent_at, source_topic,
       source_partition, source_offset
FROM (
    SELECT facts.*, row_number() OVER (
               PARTITION BY event_time, fact_hash
               ORDER BY event_version DESC NULLS LAST, source_partition, source_offset) AS copy
    FROM shop.facts AS facts
    WHERE event_time >= current_timestamp - interval '100' day
) AS facts
WHERE copy = 1
