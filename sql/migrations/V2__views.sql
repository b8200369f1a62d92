-- What most questions are asked of: the facts with the attributes of product and list beside them.
CREATE VIEW product_interactions AS
SELECT
    f.event_time,
    f.event_name,
    f.event_id,
    f.user_id,
    f.user_pseudo_id,
    coalesce(f.user_id, f.user_pseudo_id) AS person,
    f.session_id,
    f.platform,
    f.product_key,
    p.product_id,
    p.product_name,
    p.product_brand,
    p.product_category,
    p.product_category2,
    p.product_category3,
    p.product_category4,
    p.product_category5,
    f.product_variant,
    f.list_key,
    l.list_id,
    l.list_name,
    f.list_position,
    f.item_ordinal,
    f.price,
    f.quantity,
    f.price * coalesce(f.quantity, 1) AS item_revenue,
    f.discount,
    f.item_coupon,
    f.affiliation,
    f.location_id,
    f.promotion_id,
    f.promotion_name,
    f.creative_name,
    f.creative_slot,
    f.currency,
    f.value,
    f.transaction_id,
    f.tax,
    f.shipping,
    f.event_coupon,
    f.extra,
    f.fact_hash,
    f.ingested_at
FROM fact_events f
LEFT JOIN dim_product p USING (product_key)
LEFT JOIN dim_list l USING (list_key);

COMMENT ON VIEW product_interactions IS
    'fact_events with the newest attributes of product and list. person is the user: user_id, or user_pseudo_id where nobody is signed in. item_revenue is price times quantity (one unit where none was sent).';
