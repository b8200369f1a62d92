-- Questions about sessions and people. Each question is over the days from from_day to to_day, both
-- included; the table analytics.glossary says what each column means.

CREATE FUNCTION analytics.product_label(product dim_product) RETURNS text IMMUTABLE PARALLEL SAFE
    RETURN coalesce(product.product_name, product.product_id,
                    nullif(concat_ws(' ', product.product_brand, product.product_category,
                                     product.product_variant), ''), 'no name');
COMMENT ON FUNCTION analytics.product_label IS
    'Display name of a product: its name; without one its id; without both its brand, '
    'category and variant.';
CREATE FUNCTION analytics.list_label(list dim_list) RETURNS text
IMMUTABLE PARALLEL SAFE RETURN coalesce(list.list_name, list.list_id, 'no list');
COMMENT ON FUNCTION analytics.list_label IS
    'Display name of a list: its name; without one its id.';
CREATE FUNCTION analytics.list_kind(list dim_list) RETURNS text STABLE PARALLEL SAFE
    RETURN CASE WHEN list.list_id ~* analytics.search_lists() AND list.list_name IS NOT NULL
        AND list.list_name <> list.list_id THEN 'search' ELSE 'list' END;
COMMENT ON FUNCTION analytics.list_kind IS
    'search where the name of a list is what somebody typed (see analytics.search_lists), else '
    'list.';

CREATE FUNCTION analytics.check_dimension(dimension text, VARIADIC dimensions text[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF (dimension = ANY (dimensions)) IS NOT TRUE THEN
        RAISE EXCEPTION '% is not one of %', dimension, array_to_string(dimensions, ', ');
    END IF;
END $$;
COMMENT ON FUNCTION analytics.check_dimension IS 'Refuses a name that is not one of these.';

CREATE FUNCTION analytics.people(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (day date, person bigint, platform text, done integer) STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT p.day, p.person, p.platform, p.done FROM analytics.people_in(from_day, to_day) p;
END;
COMMENT ON FUNCTION analytics.people IS
    'Grain: one person on one day and platform. done has bit n set where the person took step n '
    '(analytics.step_of): done & 64 is not 0 for who bought.';

CREATE FUNCTION analytics.daily_people(from_day date DEFAULT '-infinity',
                                       to_day date DEFAULT 'infinity')
RETURNS TABLE (day date, people bigint, list_viewers bigint, viewers bigint, cart_adders bigint,
               checkout_starters bigint, buyers bigint,
               list_to_view_user_rate numeric, view_to_checkout_user_rate numeric,
               checkout_to_purchase_user_rate numeric) LANGUAGE plpgsql
               STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    SELECT s.day, s.people, s.list_viewers, s.viewers, s.cart_adders, s.checkout_starters, s.buyers,
           s.viewers::numeric / nullif(s.list_viewers, 0),
           s.checkout_starters::numeric / nullif(s.viewers, 0),
           s.buyers::numeric / nullif(s.checkout_starters, 0)
    FROM analytics.steps_in(from_day, to_day) s ORDER BY s.day;
END $$;
COMMENT ON FUNCTION analytics.daily_people IS
    'Grain: one day. People with an event, and with one of each step (GA4 active users by event '
    'name). An open funnel: nobody has to take the steps in order; analytics.session_funnel is '
    'the ordered one.';

CREATE FUNCTION analytics.sessions_by(dimension text, from_day date DEFAULT '-infinity',
                                      to_day date DEFAULT 'infinity')
RETURNS TABLE (value text, sessions bigint, engaged_sessions bigint, converted_sessions bigint,
               bounces bigint, engagement_rate numeric,
               bounce_rate numeric, ga4_bounce_rate numeric, conversion_rate numeric)
               LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN
    PERFORM analytics.check_dimension(dimension, 'day', 'platform', 'entry_list', 'first_source',
                                      'first_medium', 'first_campaign', 'last_source',
                                      'last_medium', 'last_campaign', 'device_category', 'country',
                                      'app_version', 'all');
    RETURN QUERY
    WITH counts AS (
        SELECT CASE dimension WHEN 'day' THEN s.day END AS day,
               CASE dimension WHEN 'entry_list' THEN s.entry_list END AS entry_list,
               CASE dimension WHEN 'platform' THEN s.platform WHEN 'first_source'
                   THEN s.first_source WHEN 'first_medium' THEN s.first_medium
                   WHEN 'first_campaign' THEN s.first_campaign WHEN 'last_source' THEN s.last_source
                       WHEN 'last_medium' THEN s.last_medium
                   WHEN 'last_campaign' THEN s.last_campaign WHEN 'device_category'
                       THEN s.device_category WHEN 'country' THEN s.country
                   WHEN 'app_version' THEN s.app_version END AS named,
               count(*) AS sessions, count(*) FILTER (WHERE s.is_engaged) AS engaged,
               count(*) FILTER (WHERE s.is_converted) AS converted,
               count(*) FILTER (WHERE s.is_bounce) AS bounces
        FROM analytics.sessions_in(from_day, to_day) s GROUP BY 1, 2, 3
    )
    SELECT CASE dimension WHEN 'day' THEN c.day::text WHEN 'entry_list'
           THEN coalesce(analytics.list_label(d), 'no list') WHEN 'all' THEN 'all'
               ELSE coalesce(c.named, 'no ' || replace(dimension, '_', ' ')) END,
           c.sessions, c.engaged, c.converted, c.bounces, c.engaged::numeric / c.sessions,
           c.bounces::numeric / c.sessions,
           1 - c.engaged::numeric / c.sessions, c.converted::numeric / c.sessions
    FROM counts c LEFT JOIN dim_list d ON d.list_key = c.entry_list
    ORDER BY c.day, c.sessions DESC, 1;
END $$;
COMMENT ON FUNCTION analytics.sessions_by IS
    'Grain: one value of a dimension: day, platform, entry_list (the first list that a session '
    'showed), first_source, first_medium, first_campaign, last_source, last_medium, '
    'last_campaign (the first and the last that is not direct), device_category, country, '
    'app_version, or all for one row. engagement_rate = engaged_sessions / sessions (GA4 '
    'engagementRate), ga4_bounce_rate = 1 - engagement_rate (GA4 bounceRate), bounce_rate = '
    'sessions with one event / sessions, conversion_rate = sessions with a purchase / sessions '
    '(GA4 sessionKeyEventRate:purchase). Sessions belong to the day they begin, so that days add '
    'up.';

CREATE FUNCTION analytics.steps_sent(paths text[], counts bigint[]) RETURNS text
IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    WITH letters AS (
        SELECT n.step, n.letter, sum(p.count) FILTER (WHERE strpos(p.path, n.letter) > 0) AS paths
        FROM string_to_table('LSVACP', NULL) WITH ORDINALITY AS n (letter, step),
             unnest(paths, counts) AS p (path, count) GROUP BY 1, 2
    ), compared AS (
        SELECT l.step, l.letter, l.paths,
               max(l.paths) OVER (ORDER BY l.step ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)
                   AS later
        FROM letters l
    )
    SELECT string_agg(c.letter, '' ORDER BY c.step) FROM compared c
    WHERE c.paths > 0 AND 10 * c.paths >= coalesce(c.later, 0);
END;
COMMENT ON FUNCTION analytics.steps_sent IS
    'The letters of the steps that the shop sends, in their order. paths are steps, each taken so '
    'often as counts says. A step that less than a tenth as many have as one of the later steps '
    'is sent by mistake: a funnel with it would say that nobody buys.';

CREATE FUNCTION analytics.closed_funnel(paths text[], counts bigint[], sent text)
RETURNS TABLE (step integer, event_name text, reached bigint, rate_of_first numeric,
               rate_of_step_before numeric)
IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    WITH steps AS (
        SELECT n.step, n.event_name, '%' || string_agg(n.letter, '%') OVER (ORDER BY n.step) || '%'
               AS path
        FROM (VALUES (1, 'view_item_list', 'L'), (2, 'select_item', 'S'), (3, 'view_item', 'V'),
              (4, 'add_to_cart', 'A'),
                     (5, 'begin_checkout', 'C'), (6, 'purchase', 'P')) n (step, event_name, letter)
        WHERE strpos(sent, n.letter) > 0
    ), reached AS (
        SELECT t.step, t.event_name, coalesce(sum(p.count) FILTER (WHERE p.path LIKE t.path),
                                              0)::bigint AS reached
        FROM steps t LEFT JOIN unnest(paths, counts) AS p (path, count) ON true GROUP BY 1, 2
    )
    SELECT r.step, r.event_name, r.reached,
           r.reached::numeric / nullif(first_value(r.reached) OVER (ORDER BY r.step), 0),
           r.reached::numeric / nullif(lag(r.reached) OVER (ORDER BY r.step), 0)
    FROM reached r ORDER BY r.step;
END;
COMMENT ON FUNCTION analytics.closed_funnel IS
    'Counts who took each step after all steps before it. paths are steps in their order, each '
    'taken so often as counts says; steps that are not among the letters of sent are left out.';

CREATE FUNCTION analytics.session_funnel(from_day date DEFAULT '-infinity',
                                         to_day date DEFAULT 'infinity')
RETURNS TABLE (step integer, event_name text, sessions bigint, rate_of_first numeric,
               rate_of_step_before numeric) LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH paths AS (
        SELECT s.steps, count(*) AS sessions FROM analytics.sessions_in(from_day, to_day) s
        WHERE s.steps IS NOT NULL GROUP BY 1
    )
    SELECT f.* FROM (SELECT array_agg(p.steps) AS paths, array_agg(p.sessions) AS counts
                     FROM paths p) a,
                    LATERAL analytics.closed_funnel(a.paths, a.counts,
                                                    analytics.steps_sent(a.paths, a.counts)) f;
END $$;
COMMENT ON FUNCTION analytics.session_funnel IS
    'Grain: one step of the shop. Sessions that took this step after all steps before it, in '
    'this order: a closed funnel, whose steps never rise. A step is left out if less than a tenth '
    'as many sessions have it as have a later step: the shop does not send it.';

CREATE FUNCTION analytics.new_and_returning(from_day date DEFAULT '-infinity',
                                            to_day date DEFAULT 'infinity')
RETURNS TABLE (day date, people bigint, new_people bigint, returning_people bigint, buyers bigint,
               new_buyers bigint, returning_buyers bigint) LANGUAGE plpgsql
               STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    SELECT c.day, c.visited, c.visited - c.returning_visitors, c.returning_visitors, c.bought,
           c.bought - c.returning_buyers, c.returning_buyers
    FROM (SELECT r.day, coalesce(sum(r.people) FILTER (WHERE r.activity = 'visited'), 0)::bigint
                     AS visited,
                 coalesce(sum(r.people) FILTER (WHERE r.activity = 'visited'
                                                AND r.before IS NOT NULL), 0)::bigint
                     AS returning_visitors,
                 coalesce(sum(r.people) FILTER (WHERE r.activity = 'bought'), 0)::bigint AS bought,
                 coalesce(sum(r.people) FILTER (WHERE r.activity = 'bought'
                                                AND r.before IS NOT NULL), 0)::bigint
                     AS returning_buyers
          FROM analytics.reach_counts('{visited,bought}', from_day, to_day, '-infinity') r
          GROUP BY 1) c
    ORDER BY 1;
END $$;
COMMENT ON FUNCTION analytics.new_and_returning IS
    'Grain: one day. New people have their first event of all time on the day (GA4 newUsers), '
    'new buyers their first purchase; the others return.';

CREATE FUNCTION analytics.cohorts(unit text, first_by text DEFAULT 'visit',
                                  from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (cohort date, period integer, cohort_people bigint, people bigint,
               retention_rate numeric, buyers bigint, repeat_rate numeric) LANGUAGE plpgsql
               STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN
    PERFORM analytics.check_dimension(unit, 'day', 'week', 'month');
    PERFORM analytics.check_dimension(first_by, 'visit', 'order');
    RETURN QUERY
    WITH reach AS MATERIALIZED (
        -- One row of a person, period and activity: that of the first day. Weeks begin on a Monday,
        -- as the first day of all did.
        SELECT r.person, p.period, r.activity, r.before
        FROM analytics.reach('{visited,bought}', from_day, to_day, '-infinity') r,
             LATERAL (SELECT CASE unit WHEN 'day' THEN r.day
                                       WHEN 'week' THEN r.day - (r.day - date '0001-01-01') % 7
                                       ELSE date_trunc('month', r.day::timestamp)::date
                             END AS period) p
        WHERE p.period >= from_day AND (r.before >= p.period) IS NOT TRUE
    ), firsts AS MATERIALIZED (
        SELECT r.person, r.period AS cohort FROM reach r
        WHERE r.before IS NULL
          AND r.activity = CASE first_by WHEN 'visit' THEN 'visited'::analytics.activity
              ELSE 'bought' END
    ), sizes AS (
        SELECT f.cohort, count(*) AS people FROM firsts f GROUP BY 1
    ), counts AS (
        SELECT f.cohort, r.period, count(*) FILTER (WHERE r.activity = 'visited') AS people,
               count(*) FILTER (WHERE r.activity = 'bought') AS buyers
        FROM firsts f JOIN reach r ON r.person = f.person AND r.period >= f.cohort
        GROUP BY 1, 2
    )
    SELECT c.cohort, CASE unit WHEN 'day' THEN c.period - c.cohort WHEN 'week'
           THEN (c.period - c.cohort) / 7
                     ELSE ((extract(year FROM age(c.period, c.cohort)) * 12 + extract(month
                         FROM age(c.period, c.cohort))))::integer END,
           s.people, c.people, c.people::numeric / s.people, c.buyers,
           c.buyers::numeric / s.people
    FROM counts c JOIN sizes s USING (cohort) ORDER BY 1, 2;
END $$;
COMMENT ON FUNCTION analytics.cohorts IS
    'Grain: one cohort and period after it. A cohort is the people whose first visit (first_by '
    '=> visit) or first order (order) of all time was in that day, week or month (unit). people: '
    'those with an event in the period; buyers: those with a purchase. retention_rate = people / '
    'cohort_people, repeat_rate = buyers / cohort_people.';
