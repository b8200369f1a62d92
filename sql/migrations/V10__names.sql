-- Data quality, and what all questions have in common: views, settings, names.

CREATE FUNCTION analytics.lateness(from_day date DEFAULT '-infinity',
                                   to_day date DEFAULT 'infinity')
RETURNS TABLE (day date, facts bigint, late_facts bigint, early_facts bigint, median_delay interval)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH delays AS (
        SELECT d.day, d.seconds, sum(d.facts) AS facts, sum(d.late_facts) AS late_facts,
               sum(d.early_facts) AS early_facts
        FROM analytics.delays(analytics.start_of(from_day), analytics.start_of(to_day + 1)) d
        WHERE d.day BETWEEN from_day AND to_day GROUP BY 1, 2
    ), reached AS (
        SELECT d.*, sum(d.facts) OVER (PARTITION BY d.day ORDER BY d.seconds) AS so_far,
               sum(d.facts) OVER (PARTITION BY d.day) AS of_day FROM delays d
    )
    SELECT r.day, sum(r.facts)::bigint, sum(r.late_facts)::bigint, sum(r.early_facts)::bigint,
           make_interval(secs => min(r.seconds) FILTER (WHERE 2 * r.so_far >= r.of_day))
    FROM reached r GROUP BY 1 ORDER BY 1;
END $$;
COMMENT ON FUNCTION analytics.lateness IS
    'Grain: one day of events. late_facts arrived more than 24 hours after the event; '
    'early_facts are dated more than 5 minutes after their arrival (a clock that is wrong); half '
    'of the facts arrived within median_delay, which is known to two digits.';

CREATE VIEW analytics.rejections AS
SELECT analytics.day_of(first_seen) AS day, reason, count(*) AS rejected FROM rejected_events
GROUP BY 1, 2;
COMMENT ON VIEW analytics.rejections IS
    'Grain: one day of arrival and reason. Events, or parts of events, that could not become '
    'facts.';

CREATE FUNCTION analytics.plan_violations(from_day date DEFAULT '-infinity',
                                          to_day date DEFAULT 'infinity')
RETURNS TABLE (day date, event_name text, rule text, facts bigint, first_at timestamptz,
               last_at timestamptz)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    SELECT analytics.day_of(f.event_time), f.event_name, r.rule, count(*), min(f.event_time),
           max(f.event_time)
    FROM fact_events f CROSS JOIN jsonb_array_elements_text(f.extra -> 'plan') r (rule)
    WHERE f.extra ? 'plan' AND f.event_time >= analytics.start_of(from_day)
        AND f.event_time < analytics.start_of(to_day + 1)
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
END $$;
COMMENT ON FUNCTION analytics.plan_violations IS
    'Grain: one day, event name and rule of the tracking plan. Facts that violate the rule and '
    'were flagged; those that were rejected are in rejections. Reads all facts of the range.';

CREATE VIEW analytics.duplicates AS
SELECT topic, partition, sum(records)::bigint AS records,
       sum(records - records_without_rows)::bigint AS records_with_rows,
       sum(records_without_rows)::bigint AS records_without_rows
FROM sink_offsets GROUP BY topic, partition HAVING sum(records) > 0;
COMMENT ON VIEW analytics.duplicates IS
    'Grain: one partition of a topic, as all sinks have read it. records_without_rows = records '
    'that brought no new fact and no new rejected event: sent again by a producer, delivered '
    'again by SQS, or read again.';

-- Other questions are made of these, which the planner takes apart. Whoever calls one alone calls a
-- function that sets what it needs.
DO $make$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['sessions', 'orders', 'order_lines', 'refunds', 'list_sales'] LOOP
        EXECUTE format($template$
CREATE FUNCTION analytics.%1$s(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS %2$s
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $body$
#variable_conflict use_column
BEGIN RETURN QUERY SELECT * FROM analytics.%1$s_in(from_day, to_day); END $body$;
COMMENT ON FUNCTION analytics.%1$s IS %3$L;
COMMENT ON FUNCTION analytics.%1$s_in IS 'analytics.%1$s, for the questions that are made of it.';
$template$, name, pg_get_function_result(format('analytics.%s_in', name)::regproc),
obj_description(format('analytics.%s_in', name)::regproc, 'pg_proc'));
    END LOOP;
END $make$;

-- Questions that add up much are planned for their range, with memory for it.
DO $$
DECLARE
    name regprocedure;
BEGIN
    FOR name IN SELECT p.oid FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
                WHERE p.pronamespace = 'analytics'::regnamespace AND l.lanname = 'plpgsql'
                    AND p.provolatile = 's' LOOP
        EXECUTE format('ALTER FUNCTION %s SET plan_cache_mode = force_custom_plan', name);
        EXECUTE format('ALTER FUNCTION %s SET jit = off', name);
        EXECUTE format('ALTER FUNCTION %s SET work_mem = ''256MB''', name);
        -- The planner can't know how many rows a window leaves, and would compare each with each.
        EXECUTE format('ALTER FUNCTION %s SET enable_nestloop = off', name);
    END LOOP;
END $$;

-- For tools that read no functions: the same over all days. A condition on day doesn't make them
-- faster; the functions read only their range.
DO $$
DECLARE
    question record;
BEGIN
    FOR question IN
        SELECT p.proname, obj_description(p.oid, 'pg_proc') AS comment FROM pg_proc p
        WHERE p.pronamespace = 'analytics'::regnamespace
          AND p.proname IN ('daily_people', 'daily_revenue', 'daily_funnel', 'daily_products',
                            'daily_lists', 'orders',
                            'order_lines', 'identities', 'viewed_together', 'promotion_sales',
                            'promotions', 'plan_violations')
    LOOP
        EXECUTE format('CREATE VIEW analytics.%1$I AS SELECT * FROM analytics.%1$I()',
                       question.proname);
        EXECUTE format('COMMENT ON VIEW analytics.%I IS %L', question.proname,
                       'The function of this name over all days. ' || question.comment);
    END LOOP;
END $$;
CREATE VIEW analytics.daily_sessions AS
SELECT s.value::date AS day, s.sessions, s.engaged_sessions, s.converted_sessions, s.bounces,
       s.engagement_rate, s.bounce_rate, s.ga4_bounce_rate, s.conversion_rate
FROM analytics.sessions_by('day') s;
CREATE VIEW analytics.daily_abandonment AS
SELECT a.value::date AS day, a.cart_sessions, a.checkout_sessions, a.abandoned_carts,
       a.abandoned_checkouts, a.cart_abandonment_rate, a.checkout_abandonment_rate, a.cart_adders,
       a.checkout_starters, a.cart_abandoners, a.checkout_abandoners, a.cart_abandonment_user_rate,
       a.checkout_abandonment_user_rate
FROM analytics.abandonment('day') a;
CREATE VIEW analytics.daily_time_to_purchase AS
SELECT t.value::date AS day, t.counted_from, t.measured, t.first_quartile, t.median,
       t.third_quartile
FROM analytics.time_to_purchase('day') t;
COMMENT ON VIEW analytics.daily_sessions IS 'The function sessions_by(''day'') over all days.';
COMMENT ON VIEW analytics.daily_abandonment IS 'The function abandonment(''day'') over all days.';
COMMENT ON VIEW analytics.daily_time_to_purchase IS
    'The function time_to_purchase(''day'') over all days.';

-- The range and the threshold of the files in sql/queries: with psql, parameters.sql makes settings
-- of the variables from, to and min.
CREATE FUNCTION analytics.first_day() RETURNS date STABLE PARALLEL SAFE
    RETURN coalesce(nullif(current_setting('etl.first_day', true), '')::date, '-infinity');
CREATE FUNCTION analytics.last_day() RETURNS date STABLE PARALLEL SAFE
    RETURN coalesce(nullif(current_setting('etl.last_day', true), '')::date, 'infinity');
CREATE FUNCTION analytics.at_least(usually bigint) RETURNS bigint STABLE PARALLEL SAFE
    RETURN coalesce(nullif(current_setting('etl.at_least', true), '')::bigint, usually);
COMMENT ON FUNCTION analytics.first_day IS
    'The first day asked for: the setting etl.first_day, else all.';
COMMENT ON FUNCTION analytics.last_day IS
    'The last day asked for: the setting etl.last_day, else all.';
COMMENT ON FUNCTION analytics.at_least IS
    'The volume below which rates are chance and left out: the setting etl.at_least, else the '
    'one given.';

-- One name, one meaning.
CREATE TABLE analytics.glossary (name text PRIMARY KEY, meaning text NOT NULL);
COMMENT ON TABLE analytics.glossary IS
    'Definitions of the columns in the schema analytics, valid in every table, view and function.';
COMMENT ON COLUMN analytics.glossary.name IS 'Name of the column.';
COMMENT ON COLUMN analytics.glossary.meaning IS 'Its definition.';
INSERT INTO analytics.glossary VALUES
    ('day',
     'The day in the reporting time zone. Of orders, lines and sessions it is the day they begin.'),
    ('hour', 'Beginning of the hour (UTC).'),
    ('event_name', 'GA4 event name.'),
    ('event_time', 'When the event happened, UTC.'),
    ('fact_hash', 'The fact, fact_events.fact_hash.'),
    ('platform', 'Platform of the event: ANDROID, IOS, WEB, ...'),
    ('person',
     'user_id, or user_pseudo_id where nobody is signed in. A number is its key, '
     'analytics.person_of. Personal data.'),
    ('visitor',
     'Key of the device, and of the session id where one is sent: analytics.visitor_of. Personal '
     'data.'),
    ('has_session_id', 'True if events of the session have a session id.'),
    ('session_id', 'Session id (GA4 ga_session_id). Personal data.'),
    ('product_key', 'The product, dim_product.product_key.'),
    ('product_id', 'Product id or SKU (GA4 item_id).'),
    ('product', 'Name of the product; where it has none, its id.'),
    ('product_variant', 'Variant of the product in this interaction (GA4 item_variant).'),
    ('brand', 'Newest brand of the product.'),
    ('category', 'First level of the product''s newest category path.'),
    ('list_key', 'The list, dim_list.list_key.'),
    ('list_id', 'List id (GA4 item_list_id).'),
    ('list', 'Name of the list; where it has none, its id.'),
    ('kind', 'search where the name of the list is what somebody typed, else list.'),
    ('list_position',
     'Position in the list as sent; from 1000 on one. NULL: none or a negative one was sent.'),
    ('search_term', 'Text that people typed, in lower case. Can have personal data.'),
    ('item_ordinal',
     'Position of the item in the event''s items, from 1. 0: the event has no items.'),
    ('events', 'Events, each once however many items it has.'),
    ('items', 'Items of events.'),
    ('list_views', 'Events that show a list: view_item_list.'),
    ('impressions', 'Products shown in lists: items of view_item_list.'),
    ('selects', 'Products selected in lists: items of select_item.'),
    ('views',
     'Products viewed: items of view_item. Of visits and sessions: page, screen, product and '
     'list views, as GA4 counts them for engagement.'),
    ('add_to_carts', 'Products added to the cart: items of add_to_cart.'),
    ('checkouts', 'Products checked out: items of begin_checkout.'),
    ('purchases',
     'Products bought: lines of orders, each order once. In hourly_products: items of purchase '
     'events.'),
    ('orders',
     'Orders, each once: by transaction_id; without one the purchase event is the order.'),
    ('units', 'Units bought, one where no quantity was sent.'),
    ('revenue',
     'Revenue in currency, without tax and shipping: item_revenue where it is sent, else price '
     'times units.'),
    ('revenue_in_usd', 'Revenue in US dollars, where the events say it.'),
    ('refunds', 'Refunded amounts in currency.'),
    ('refunded_units', 'Units refunded.'),
    ('rate', 'Units of the reporting currency for one unit of the currency.'),
    ('net_revenue', 'revenue - refunds.'),
    ('reporting_revenue',
     'Revenue in the reporting currency; NULL where none is set or a rate is missing.'),
    ('reporting_refunds', 'Refunds in the reporting currency.'),
    ('currency',
     'Currency of the amounts, ISO 4217; no currency where none was sent. NULL: nothing was sold.'),
    ('revenue_per_order', 'Average order value (AOV): revenue / orders.'),
    ('purchases_per_order', 'Lines an order: purchases / orders.'),
    ('order_id',
     'The order: transaction_id; without one event_id; without both a hash of time, person and '
     'platform. Personal data.'),
    ('transaction_key', 'Hash of transaction_id. Personal data.'),
    ('order_began',
     'Time of the order''s first event; of those that arrived within 72 hours, if there are any.'),
    ('is_by_value', 'True if the amount is value, because the event has no items.'),
    ('value',
     'Value of the whole event as sent. In functions with a dimension: the dimension''s value.'),
    ('tax', 'Tax of the whole order.'),
    ('shipping', 'Shipping cost of the whole order.'),
    ('coupon', 'Coupon of the order, or of one of its items.'),
    ('event_coupon', 'Coupon of the whole event.'),
    ('item_coupon', 'Coupon of the item.'),
    ('is_distant',
     'True if the event is dated more than 72 hours from the time when SQS received it.'),
    ('is_repeated',
     'True if an earlier fact has the same transaction, product and item_ordinal, or if the event '
     'is distant and others of the transaction are not.'),
    ('is_refund', 'True for a refund, false for a purchase.'),
    ('people', 'People with an event. Of a step of journey_funnel: people who took it in order.'),
    ('list_viewers', 'People to whom a list was shown.'),
    ('viewers', 'People who viewed the product, or to whom the list or promotion was shown.'),
    ('cart_adders', 'People who added to the cart.'),
    ('checkout_starters', 'People who began a checkout.'),
    ('buyers', 'People who purchased.'),
    ('clickers', 'People who clicked.'),
    ('engaged_viewers', 'People with an engaged impression.'),
    ('new_people', 'People with their first event of all time.'),
    ('returning_people', 'People who have had events on earlier days.'),
    ('new_buyers', 'People with their first purchase of all time.'),
    ('returning_buyers', 'People who have bought on earlier days.'),
    ('clicks',
     'Clicks on products in lists: select_item items, or the views that stand in for them '
     '(analytics.list_clicks).'),
    ('is_click', 'True for a click, false for an engaged impression.'),
    ('substitutes', 'Clicks that are views counted in place of select_item.'),
    ('is_substitute', 'True if the click is a view counted in place of select_item.'),
    ('engaged',
     'Impressions that the person followed up within 30 minutes: selected, viewed, added, '
     'checked out or bought the product.'),
    ('engagement_rate',
     'Of lists: engaged / impressions of known people. Of sessions: engaged_sessions / sessions '
     '(GA4).'),
    ('engaged_user_rate', 'engaged_viewers / viewers.'),
    ('click_through_rate', 'clicks / impressions (of promotions: clicks / views).'),
    ('click_through_event_rate', 'clicks / list_views.'),
    ('click_through_user_rate', 'clickers / viewers (GA4 itemListClickThroughRate).'),
    ('cart_to_view_user_rate', 'cart_adders / viewers.'),
    ('view_to_purchase_user_rate', 'buyers / viewers.'),
    ('view_to_purchase_event_rate', 'purchases / views.'),
    ('list_to_view_user_rate', 'viewers / list_viewers.'),
    ('view_to_checkout_user_rate', 'checkout_starters / viewers.'),
    ('checkout_to_purchase_user_rate', 'buyers / checkout_starters.'),
    ('sessions',
     'Sessions that begin in the range. Of a step of session_funnel: those that took it in '
     'order; of viewed_together: those with a view of both products.'),
    ('engaged_sessions',
     'Sessions longer than 10 seconds, or with a purchase, or with two views or more.'),
    ('converted_sessions', 'Sessions with a purchase.'),
    ('bounces', 'Sessions with one event.'),
    ('bounce_rate', 'bounces / sessions.'),
    ('ga4_bounce_rate', '1 - engagement_rate, which GA4 calls bounce rate.'),
    ('conversion_rate', 'converted_sessions / sessions.'),
    ('is_engaged',
     'True if the session is longer than 10 seconds, or has a purchase or at least two views.'),
    ('is_converted', 'True if the session has a purchase.'),
    ('is_bounce', 'True if the session has one event.'),
    ('started_at', 'Time of the session''s first event.'),
    ('ended_at', 'Time of its last event.'),
    ('first_at', 'Time of the first event.'),
    ('last_at', 'Time of the last event.'),
    ('done', 'Bit n is set where step n was taken (analytics.step_of).'),
    ('steps',
     'The steps in their order: L view_item_list, S select_item, V view_item, A add_to_cart, C '
     'begin_checkout, P purchase.'),
    ('step', 'Number of the step (analytics.step_of).'),
    ('first_source',
     'Traffic source of the session''s first event that names one other than (direct); (direct) '
     'where none does.'),
    ('first_medium', 'Medium of that event.'),
    ('first_campaign', 'Campaign of that event.'),
    ('last_source',
     'Traffic source of the session''s last event that names one other than (direct); (direct) '
     'where none does.'),
    ('last_medium', 'Medium of that event.'),
    ('last_campaign', 'Campaign of that event.'),
    ('first_traffic',
     'Source, medium and campaign of the first event that names one other than (direct).'),
    ('last_traffic',
     'Source, medium and campaign of the last event that names one other than (direct).'),
    ('device_category',
     'Device category of the first event that names one: mobile, tablet, desktop.'),
    ('country', 'Country of the first event that names one.'),
    ('app_version', 'App version of the first event that names one.'),
    ('activity',
     'Activity of the person: visited or bought at all; viewed, clicked, engaged with a list; or '
     'viewed, added, checked out, bought a product.'),
    ('key', 'The list or product that it was done with; 0 for what is done without one.'),
    ('before', 'The last day before on which the person did the same. NULL: there is none.'),
    ('known_impressions', 'Impressions of known people.'),
    ('led_by',
     'The list that led to the purchase, dim_list.list_key: that of the purchase''s item, else '
     'that of the person''s last click on the product in the 24 hours before.'),
    ('reached', 'Sessions, or people, that took this step after all steps before it.'),
    ('entry_list', 'The first list that the session showed, dim_list.list_key.'),
    ('rate_of_first', 'sessions, or people, / those of the first step.'),
    ('rate_of_step_before', 'sessions, or people, / those of the step before.'),
    ('product_key_a', 'A product, dim_product.product_key.'),
    ('product_a', 'Its name.'),
    ('product_key_b', 'Another product.'),
    ('product_b', 'Its name.'),
    ('orders_a', 'Orders with the first product.'),
    ('orders_b', 'Orders with the second one.'),
    ('confidence_a_to_b', 'orders / orders_a; of viewed_together: sessions / sessions_a.'),
    ('lift', 'Ratio of orders (sessions) with both products to the number expected by chance.'),
    ('promotion_id', 'Promotion id.'),
    ('promotion_name', 'Promotion name.'),
    ('promotion_views', 'Items of view_promotion.'),
    ('promotion_clicks', 'Items of select_promotion.'),
    ('cohort', 'First day of the period in which these people were first seen.'),
    ('period', 'Periods since then, from 0.'),
    ('cohort_people', 'People of the cohort.'),
    ('retention_rate', 'people / cohort_people.'),
    ('repeat_rate', 'buyers / cohort_people.'),
    ('first_order_at', 'Time of the person''s first order in the range.'),
    ('last_order_at', 'Time of the last one.'),
    ('time_between_orders', 'Mean time between two orders.'),
    ('recency_score', '1 to 5: 5 bought last.'),
    ('frequency_score', '1 to 5: 5 has most orders.'),
    ('monetary_score', '1 to 5: 5 has most revenue.'),
    ('user_id', 'Id of a signed-in user (GA4 user_id). Personal data.'),
    ('user_pseudo_id',
     'Id of the app installation or browser (GA4 user_pseudo_id). Personal data.'),
    ('cart_sessions', 'Sessions with an add_to_cart.'),
    ('checkout_sessions', 'Sessions with a begin_checkout.'),
    ('abandoned_carts', 'Sessions with an add_to_cart and no purchase.'),
    ('abandoned_checkouts', 'Sessions with a begin_checkout and no purchase.'),
    ('cart_abandonment_rate', 'abandoned_carts / cart_sessions.'),
    ('checkout_abandonment_rate', 'abandoned_checkouts / checkout_sessions.'),
    ('cart_abandoners', 'People who added to the cart and did not purchase.'),
    ('checkout_abandoners', 'People who began a checkout and did not purchase.'),
    ('cart_abandonment_user_rate', 'cart_abandoners / cart_adders.'),
    ('checkout_abandonment_user_rate', 'checkout_abandoners / checkout_starters.'),
    ('counted_from', 'The beginning: first_visit, session_start or first_view.'),
    ('began', 'Time of the beginning. NULL: none is known up to the order.'),
    ('measured', 'Orders (first_view: lines of orders) for which the beginning is known.'),
    ('first_quartile', 'A quarter of them took at most this long.'),
    ('median', 'Half of them took at most this long.'),
    ('third_quartile', 'Three quarters of them took at most this long.'),
    ('sessions_a', 'Sessions with a view of the first product.'),
    ('sessions_b', 'Sessions with a view of the second one.'),
    ('is_named', 'True if the item of the purchase names the promotion itself.'),
    ('facts', 'Facts.'),
    ('late_facts', 'Facts that arrived more than 24 hours after the event.'),
    ('early_facts', 'Facts dated more than 5 minutes after their arrival.'),
    ('median_delay', 'Half of the facts arrived within this time.'),
    ('seconds', 'Seconds from event to arrival, rounded to two digits.'),
    ('rule', 'Rule of the tracking plan: a key''s path, a colon, and the keyword of its schema.'),
    ('reason', 'Kind of fault.'),
    ('rejected', 'Events, or parts of events.'),
    ('topic', 'Fluvio topic.'),
    ('partition', 'Partition of the topic.'),
    ('records', 'Records read.'),
    ('records_with_rows', 'Records that brought a new fact or rejected event.'),
    ('records_without_rows', 'Records that brought nothing new.');

DO $$
DECLARE
    shown record;
BEGIN
    FOR shown IN
        SELECT a.attrelid::regclass AS relation, a.attname, g.meaning FROM pg_attribute a
        JOIN pg_class c ON c.oid = a.attrelid
        JOIN analytics.glossary g ON g.name = a.attname
        WHERE c.relnamespace = 'analytics'::regnamespace AND c.relkind IN ('r', 'v')
            AND a.attnum > 0 AND col_description(c.oid, a.attnum) IS NULL
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', shown.relation, shown.attname,
                       shown.meaning);
    END LOOP;
END $$;

SELECT etl_pin_functions();
SELECT etl_grant_roles();
