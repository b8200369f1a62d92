-- Each fact once, for Trino and Spark. A producer's repeat of an event is another record, so the
-- table has its facts twice, with the same fact_hash: of these the newest version. Metrics that
-- count or sum read this view.
CREATE OR REPLACE VIEW shop.facts_distinct AS
SELECT event_time, event_name, event_id, user_id, user_pseudo_id, session_id, platform,
       traffic_source, traffic_medium, traffic_campaign, device_category, country,
       app_version, product_id, product_name, product_brand, product_category,
       product_category2, product_category3, product_category4, product_category5,
       product_variant, list_id, list_name, list_position, item_ordinal, price, quantity,
       discount, price_in_usd, item_revenue, item_revenue_in_usd, item_refund,
       item_refund_in_usd, item_coupon, affiliation, location_id, promotion_id,
       promotion_name, creative_name, creative_slot, currency, value, transaction_id, tax,
       shipping, event_coupon, extra, fact_hash, event_version, sent_at, source_topic,
       source_partition, source_offset
FROM (
    SELECT facts.*, row_number() OVER (
               PARTITION BY event_time, fact_hash
               ORDER BY event_version DESC NULLS LAST, source_partition, source_offset) AS copy
    FROM shop.facts AS facts
) AS facts
WHERE copy = 1
