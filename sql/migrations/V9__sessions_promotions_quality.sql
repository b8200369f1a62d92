-- Sessions, promotions, and how good the data are.

CREATE FUNCTION analytics.sessions(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (person text, session_id text, started_at timestamptz, ended_at timestamptz, day date, platform text,
               views bigint, is_engaged boolean, is_converted boolean)
STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT s.person, s.session_id, min(s.started_at), max(s.ended_at), analytics.day_of(min(s.started_at)), min(s.platform),
           sum(s.views)::bigint,
           max(s.ended_at) - min(s.started_at) > interval '10 seconds' OR bool_or(s.is_converted) OR sum(s.views) >= 2,
           bool_or(s.is_converted)
    FROM analytics.session_parts(from_day, to_day) s
    GROUP BY 1, 2;
END;
COMMENT ON FUNCTION analytics.sessions IS
    'Grain: one session: user_pseudo_id (or user_id where there is none) and session_id, since a session id is only unique for an installation; a sign-in within a session doesn''t split it. is_engaged as in GA4: longer than 10 seconds, or a purchase, or two views or more. The part of a session outside the range is not seen.';

CREATE FUNCTION analytics.daily_sessions(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (day date, sessions bigint, engaged_sessions bigint, converted_sessions bigint, engagement_rate numeric, conversion_rate numeric)
STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT s.day, count(*), count(*) FILTER (WHERE s.is_engaged), count(*) FILTER (WHERE s.is_converted),
           count(*) FILTER (WHERE s.is_engaged)::numeric / nullif(count(*), 0),
           count(*) FILTER (WHERE s.is_converted)::numeric / nullif(count(*), 0)
    FROM analytics.sessions(from_day, to_day) s
    GROUP BY s.day ORDER BY s.day;
END;
COMMENT ON FUNCTION analytics.daily_sessions IS
    'Grain: the UTC day a session began. engagement_rate = engaged sessions / sessions (GA4 engagementRate); conversion_rate = sessions with a purchase / sessions (GA4 sessionKeyEventRate:purchase).';

-- Promotions are few, too.
CREATE INDEX fact_events_promotion ON fact_events (event_time) INCLUDE (event_name, promotion_id, promotion_name, user_id, user_pseudo_id)
    WHERE event_name IN ('view_promotion', 'select_promotion');

CREATE FUNCTION analytics.promotions(
    from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity', min_views bigint DEFAULT 0
) RETURNS TABLE (promotion_id text, promotion_name text, views bigint, clicks bigint, viewers bigint, clickers bigint,
                 click_through_user_rate numeric, click_through_event_rate numeric)
STABLE PARALLEL SAFE
BEGIN ATOMIC
    WITH counts AS (
        SELECT f.promotion_id, max(f.promotion_name) AS promotion_name,
               count(*) FILTER (WHERE f.event_name = 'view_promotion') AS views,
               count(*) FILTER (WHERE f.event_name = 'select_promotion') AS clicks,
               count(DISTINCT coalesce(f.user_id, f.user_pseudo_id) COLLATE "C") FILTER (WHERE f.event_name = 'view_promotion') AS viewers,
               count(DISTINCT coalesce(f.user_id, f.user_pseudo_id) COLLATE "C") FILTER (WHERE f.event_name = 'select_promotion') AS clickers
        FROM fact_events f
        WHERE f.event_name IN ('view_promotion', 'select_promotion')
          AND f.event_time >= analytics.start_of(from_day) AND f.event_time < analytics.start_of(to_day + 1)
        GROUP BY f.promotion_id, CASE WHEN f.promotion_id IS NULL THEN f.promotion_name END
    )
    SELECT c.promotion_id, c.promotion_name, c.views, c.clicks, c.viewers, c.clickers,
           c.clickers::numeric / nullif(c.viewers, 0), c.clicks::numeric / nullif(c.views, 0)
    FROM counts c WHERE c.views >= min_views;
END;
COMMENT ON FUNCTION analytics.promotions IS
    'Grain: one promotion, by id, or by name where no id was sent. views and clicks are items of view_promotion and select_promotion (GA4 promotionViews, promotionClicks); click_through_user_rate = people who clicked / people who saw it (GA4 itemPromotionClickThroughRate); click_through_event_rate = clicks / views.';

CREATE VIEW analytics.rejections AS
SELECT analytics.day_of(first_seen) AS day, reason, count(*) AS rejected
FROM rejected_events GROUP BY 1, 2;
COMMENT ON VIEW analytics.rejections IS 'Grain: one UTC day of arrival and reason. Events, or parts of events, that could not become facts.';

-- The function is one of those of V6.
COMMENT ON FUNCTION analytics.lateness IS
    'Grain: one UTC day of events. late_facts arrived more than 24 hours after the event; early_facts are dated more than 5 minutes after their arrival (a clock that is wrong); half of the facts arrived faster than median_delay.';

CREATE VIEW analytics.duplicates AS
SELECT topic, partition, sum(records)::bigint AS records, sum(records - records_without_rows)::bigint AS records_with_rows,
       sum(records_without_rows)::bigint AS records_without_rows
FROM sink_offsets
GROUP BY topic, partition
HAVING sum(records) > 0;
COMMENT ON VIEW analytics.duplicates IS
    'Grain: one partition of a topic, as all sinks have read it. records_without_rows = records that brought no new fact and no new rejected event: sent again by a producer, delivered again by SQS, or read again.';

-- The readers' group reads this schema too.
SELECT etl_grant_roles();
