-- A comment for each column of the views that analysts read: sql/DICTIONARY.md is made of them. And of the sealed tables.

-- A column that a view passes on means what it means in its table. (A later migration that gives a
-- column of these tables another meaning has to say so here too.)
DO $$
DECLARE
    passed record;
BEGIN
    FOR passed IN
        SELECT v.view, shown.attname AS name, col_description(origin.attrelid, origin.attnum) AS comment
        FROM (VALUES ('product_interactions'::regclass), ('analytics.purchase_lines'), ('analytics.daily_products'),
                     ('analytics.daily_lists')) AS v(view)
        JOIN pg_attribute shown ON shown.attrelid = v.view AND shown.attnum > 0
        JOIN pg_attribute origin ON origin.attname = shown.attname
         AND origin.attrelid IN ('fact_events'::regclass, 'dim_product'::regclass, 'dim_list'::regclass)
        -- The keys are in the facts and in a dimension: what the fact says of them is what a view shows.
        ORDER BY v.view, shown.attnum, origin.attrelid <> 'fact_events'::regclass DESC
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', passed.view, passed.name, passed.comment);
    END LOOP;
END $$;

COMMENT ON COLUMN product_interactions.person IS 'Who it was: user_id, or user_pseudo_id where nobody is signed in.';
COMMENT ON COLUMN product_interactions.line_amount IS 'price times quantity, one unit where none was sent. Of a purchase, it is revenue.';

COMMENT ON COLUMN analytics.purchase_lines.day IS 'UTC day of event_time.';
COMMENT ON COLUMN analytics.purchase_lines.order_id IS 'The order: transaction_id; without one event_id; without both the fact itself.';
COMMENT ON COLUMN analytics.purchase_lines.person IS 'Who bought: user_id, or user_pseudo_id where nobody is signed in.';
COMMENT ON COLUMN analytics.purchase_lines.units IS 'Units bought; one where no quantity was sent.';
COMMENT ON COLUMN analytics.purchase_lines.revenue IS 'price times units, in currency, without tax and shipping.';

COMMENT ON COLUMN analytics.purchases.order_id IS 'The order: transaction_id; without one event_id; without both the fact itself.';
COMMENT ON COLUMN analytics.purchases.event_time IS 'Time of the order''s earliest event, UTC.';
COMMENT ON COLUMN analytics.purchases.day IS 'UTC day of event_time.';
COMMENT ON COLUMN analytics.purchases.person IS 'Who bought: user_id, or user_pseudo_id where nobody is signed in.';
COMMENT ON COLUMN analytics.purchases.platform IS 'Where it was bought: ANDROID, IOS, WEB, ...';
COMMENT ON COLUMN analytics.purchases.lines IS 'Lines of the order that name a product.';
COMMENT ON COLUMN analytics.purchases.units IS 'Units of these lines.';
COMMENT ON COLUMN analytics.purchases.item_revenue IS 'Sum of price times units, without tax and shipping. NULL where currencies are mixed.';
COMMENT ON COLUMN analytics.purchases.currency IS 'Currency of the order, ISO 4217. NULL where currencies are mixed.';
COMMENT ON COLUMN analytics.purchases.value IS 'Value of the order as its earliest event says.';
COMMENT ON COLUMN analytics.purchases.tax IS 'Tax of the order as its earliest event says.';
COMMENT ON COLUMN analytics.purchases.shipping IS 'Shipping cost of the order as its earliest event says.';

COMMENT ON COLUMN analytics.daily_funnel.day IS 'UTC day of event_time.';
COMMENT ON COLUMN analytics.daily_funnel.impressions IS 'Products shown in lists: items of view_item_list.';
COMMENT ON COLUMN analytics.daily_funnel.list_views IS 'view_item_list events (GA4 itemListViewEvents).';
COMMENT ON COLUMN analytics.daily_funnel.selects IS 'select_item events (GA4 itemListClickEvents).';
COMMENT ON COLUMN analytics.daily_funnel.views IS 'view_item events (GA4 itemViewEvents).';
COMMENT ON COLUMN analytics.daily_funnel.add_to_carts IS 'add_to_cart events (GA4 addToCarts).';
COMMENT ON COLUMN analytics.daily_funnel.checkouts IS 'begin_checkout events (GA4 checkouts).';
COMMENT ON COLUMN analytics.daily_funnel.purchases IS 'purchase events (GA4 ecommercePurchases). Orders are counted by analytics.purchases.';

COMMENT ON COLUMN analytics.daily_revenue.day IS 'UTC day of event_time.';
COMMENT ON COLUMN analytics.daily_revenue.currency IS 'Currency, ISO 4217. NULL where none was sent.';
COMMENT ON COLUMN analytics.daily_revenue.purchase_events IS 'purchase events; an order sent twice counts twice.';
COMMENT ON COLUMN analytics.daily_revenue.units IS 'Units bought; one of an item without quantity.';
COMMENT ON COLUMN analytics.daily_revenue.revenue IS 'Sum of price times quantity (GA4 gross item revenue); orders sent twice count twice.';

COMMENT ON COLUMN analytics.daily_products.day IS 'UTC day of event_time.';
COMMENT ON COLUMN analytics.daily_products.product_key IS 'The product, dim_product.product_key.';
COMMENT ON COLUMN analytics.daily_products.views IS 'view_item items of the product.';
COMMENT ON COLUMN analytics.daily_products.add_to_carts IS 'add_to_cart items of the product.';
COMMENT ON COLUMN analytics.daily_products.checkouts IS 'begin_checkout items of the product.';
COMMENT ON COLUMN analytics.daily_products.purchases IS 'purchase items of the product.';
COMMENT ON COLUMN analytics.daily_products.units_sold IS 'Units bought (GA4 items purchased).';
COMMENT ON COLUMN analytics.daily_products.revenue IS 'Sum of price times quantity over purchase items. NULL where currencies are mixed.';

COMMENT ON COLUMN analytics.daily_lists.day IS 'UTC day of event_time.';
COMMENT ON COLUMN analytics.daily_lists.list_key IS 'The list, dim_list.list_key.';
COMMENT ON COLUMN analytics.daily_lists.impressions IS 'Products shown: items of view_item_list.';
COMMENT ON COLUMN analytics.daily_lists.items_viewed_in_list IS 'Units of these items (GA4 itemsViewedInList).';
COMMENT ON COLUMN analytics.daily_lists.selects IS 'select_item items that name the list.';
COMMENT ON COLUMN analytics.daily_lists.views_from_list IS 'view_item items that name the list.';

COMMENT ON COLUMN analytics.rejections.day IS 'UTC day of arrival.';
COMMENT ON COLUMN analytics.rejections.reason IS 'Kind of fault, as in rejected_events.reason.';
COMMENT ON COLUMN analytics.rejections.rejected IS 'Events, or parts of events, refused for that reason on that day.';

COMMENT ON COLUMN analytics.duplicates.topic IS 'Fluvio topic.';
COMMENT ON COLUMN analytics.duplicates.partition IS 'Partition of the topic.';
COMMENT ON COLUMN analytics.duplicates.records IS 'Records read; one that was read twice counts twice.';
COMMENT ON COLUMN analytics.duplicates.records_with_rows IS 'Of them, those that brought new facts or rejected events.';
COMMENT ON COLUMN analytics.duplicates.records_without_rows IS 'Of them, those that brought nothing new.';

-- In the sealed tables most columns mean the same.
DO $$
DECLARE
    kept record;
BEGIN
    FOR kept IN
        WITH meant (name, comment) AS (
            VALUES ('day', 'UTC day of event_time.'),
                   ('event_time', 'Time of the click''s fact.'),
                   ('fact_hash', 'The click''s fact, fact_events.fact_hash.'),
                   ('sealed_purchases.event_time', 'When it was bought, in UTC to the microsecond.'),
                   ('sealed_purchases.fact_hash', 'The purchase''s fact, fact_events.fact_hash.'),
                   ('sealed_purchases.list_key', 'The list that the purchase names, dim_list.list_key.'),
                   ('order_id', 'The order: transaction_id; without one event_id; without both the fact itself.'),
                   ('has_transaction_id', 'Whether order_id is a transaction_id, by which an order that is sent twice is known.'),
                   ('item_ordinal', 'Position of the item in the event''s items, from 1. 0: the event has no items.'),
                   ('units', 'Units bought; one where no quantity was sent.'),
                   ('revenue', 'price times units, in currency, without tax and shipping.'),
                   ('currency', 'Currency, ISO 4217. NULL where none was sent.'),
                   ('order_began', 'Time of the order''s earliest purchase in this table.'),
                   ('is_line', 'Whether it is the earliest purchase in this table with its transaction_id, product and item_ordinal; false: sent again.'),
                   ('product_key', 'The product, dim_product.product_key.'),
                   ('list_key', 'The list, dim_list.list_key.'),
                   ('list_position', 'The position clicked, or shown.'),
                   ('is_substitute', 'Whether it is a view_item that the list led to; false: a select_item.'),
                   ('person', 'Who it was: user_id, or user_pseudo_id where nobody is signed in. NULL: nobody knows.'),
                   ('sealed_sessions.person', 'Who it was: user_pseudo_id, or user_id where there is none.'),
                   ('platform', 'Where it happened: ANDROID, IOS, WEB, ...'),
                   ('saw_list', 'Whether the person had a view_item_list.'),
                   ('selected', 'Whether the person had a select_item.'),
                   ('viewed', 'Whether the person had a view_item.'),
                   ('added', 'Whether the person had an add_to_cart.'),
                   ('started', 'Whether the person had a begin_checkout.'),
                   ('bought', 'Whether the person had a purchase.'),
                   ('session_id', 'Session of the person.'),
                   ('started_at', 'Time of the session''s first fact of the day.'),
                   ('ended_at', 'Time of the session''s last fact of the day.'),
                   ('sealed_sessions.views', 'Events of the session on the day that are views: of a list, a product, a page or a screen.'),
                   ('is_converted', 'Whether the session had a purchase on the day.'),
                   ('views', 'view_item items of the product by the person.'),
                   ('add_to_carts', 'add_to_cart items of the product by the person.'),
                   ('checkouts', 'begin_checkout items of the product by the person.'),
                   ('purchases', 'purchase items of the product by the person; orders sent twice count twice.'),
                   ('impressions', 'Products that the list showed to the person.'),
                   ('engaged', 'Of them, those that the person went on with at that time or within the 30 minutes after.'),
                   ('seen_before', 'The last of the 31 days before on which there is a row of the same list and person. NULL: none.'),
                   ('engaged_before', 'Where engaged is above 0: the last of the 31 days before on which it was, too. NULL: none.'),
                   ('facts', 'Facts of the day.'),
                   ('late_facts', 'Of them, those that arrived more than 24 hours after their event.'),
                   ('early_facts', 'Of them, those dated more than 5 minutes after their arrival.'),
                   ('median_delay', 'Half of the facts arrived faster than this after their event.')
        )
        SELECT c.oid::regclass AS sealed, a.attname AS name, coalesce(own.comment, usual.comment) AS comment
        FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        LEFT JOIN meant usual ON usual.name = a.attname
        LEFT JOIN meant own ON own.name = c.relname || '.' || a.attname
        WHERE c.relnamespace = 'analytics'::regnamespace AND c.relname LIKE 'sealed\_%' AND c.relkind = 'r'
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', kept.sealed, kept.name, kept.comment);
    END LOOP;
END $$;
