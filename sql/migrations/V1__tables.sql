-- The star schema: facts, the two dimensions they point at, what could not become a fact,
-- and how far each sink has read. Needs PostgreSQL 14 or newer.

CREATE TABLE dim_product (
    product_key       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    natural_key       text COLLATE "C" NOT NULL UNIQUE,
    product_id        text,
    product_name      text,
    product_brand     text,
    product_category  text,
    product_category2 text,
    product_category3 text,
    product_category4 text,
    product_category5 text,
    product_variant   text,
    name_as_of        timestamptz,
    brand_as_of       timestamptz,
    category_as_of    timestamptz,
    variant_as_of     timestamptz,
    first_seen        timestamptz,
    last_seen         timestamptz
) WITH (fillfactor = 70);  -- room for updates in place: last_seen moves with every minute

COMMENT ON TABLE dim_product IS
    'One row per product. Each attribute holds the newest value that any event gave it, by the '
    'time of the event and not of its arrival; an event that leaves an attribute out changes '
    'nothing. Times are kept to the minute; of two values within a minute the greater one counts. '
    'Texts of more than 512 bytes are cut, as those of fact_events.';
COMMENT ON COLUMN dim_product.product_key IS
    'Surrogate key that fact_events.product_key points at.';
COMMENT ON COLUMN dim_product.natural_key IS
    'Identity of the product: id:<product_id>; where items came without an id, '
    'name:<product_name>; without both, is:<brand, category and variant>.';
COMMENT ON COLUMN dim_product.product_id IS
    'Product id or SKU (GA4 item_id). NULL where the producer sent none.';
COMMENT ON COLUMN dim_product.product_name IS 'Newest product name (GA4 item_name).';
COMMENT ON COLUMN dim_product.product_brand IS 'Newest brand (GA4 item_brand).';
COMMENT ON COLUMN dim_product.product_category IS
    'First level of the newest category path (GA4 item_category). The five levels are replaced '
    'together.';
COMMENT ON COLUMN dim_product.product_category2 IS 'Second level of the category path.';
COMMENT ON COLUMN dim_product.product_category3 IS 'Third level of the category path.';
COMMENT ON COLUMN dim_product.product_category4 IS 'Fourth level of the category path.';
COMMENT ON COLUMN dim_product.product_category5 IS 'Fifth level of the category path.';
COMMENT ON COLUMN dim_product.product_variant IS
    'Newest variant (GA4 item_variant). The variant of one interaction is on the fact.';
COMMENT ON COLUMN dim_product.name_as_of IS
    'Minute of the event that gave product_name. NULL: only events dated in the future gave one.';
COMMENT ON COLUMN dim_product.brand_as_of IS 'Minute of the event that gave product_brand.';
COMMENT ON COLUMN dim_product.category_as_of IS 'Minute of the event that gave the category path.';
COMMENT ON COLUMN dim_product.variant_as_of IS 'Minute of the event that gave product_variant.';
COMMENT ON COLUMN dim_product.first_seen IS
    'Minute of the earliest event of the product. Events dated in the future (a broken clock) do '
    'not count.';
COMMENT ON COLUMN dim_product.last_seen IS
    'Minute of the latest event of the product. Events dated in the future (a broken clock) do '
    'not count.';

CREATE TABLE dim_list (
    list_key    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    natural_key text COLLATE "C" NOT NULL UNIQUE,
    list_id     text,
    list_name   text,
    first_seen  timestamptz,
    last_seen   timestamptz
) WITH (fillfactor = 70);

COMMENT ON TABLE dim_list IS
    'One row per item list (a category page, a search result, a recommendation box), by id and '
    'name together: one list id can carry many names, such as the texts of searches. Counts of '
    'products and events add up over the names of one list_id; counts of people do not. Texts of '
    'more than 512 bytes are cut, as those of fact_events.';
COMMENT ON COLUMN dim_list.list_key IS 'Surrogate key that fact_events.list_key points at.';
COMMENT ON COLUMN dim_list.natural_key IS
    'Identity of the list: id:<list_id>, then name:<list_name>, with the control character '
    'U+001F between them where events gave both. A list that is sent with and without a name is '
    'two rows. Can have personal data: what people typed.';
COMMENT ON COLUMN dim_list.list_id IS
    'List id (GA4 item_list_id). NULL where the producer sent none.';
COMMENT ON COLUMN dim_list.list_name IS
    'List name (GA4 item_list_name). NULL where the producer sent none. Can have personal data: '
    'what people typed.';
COMMENT ON COLUMN dim_list.first_seen IS
    'Minute of the earliest event of the list. Events dated in the future (a broken clock) do '
    'not count.';
COMMENT ON COLUMN dim_list.last_seen IS
    'Minute of the latest event of the list. Events dated in the future (a broken clock) do not '
    'count.';

-- product_key and list_key carry no foreign keys. The sink looks them up or creates them in the
-- transaction that writes the fact, so they can't dangle, and a check for each of two keys of
-- each row would cost more than the insert itself.
CREATE TABLE fact_events (
    event_time       timestamptz NOT NULL,
    event_name       text NOT NULL,
    event_id         text,
    user_id          text,
    user_pseudo_id   text,
    session_id       text,
    platform         text,
    traffic_source   text,
    traffic_medium   text,
    traffic_campaign text,
    device_category  text,
    country          text,
    app_version      text,
    product_key      bigint,
    product_variant  text,
    list_key         bigint,
    list_position    integer,
    item_ordinal     integer NOT NULL,
    price            numeric,
    quantity         numeric,
    discount         numeric,
    price_in_usd     numeric,
    item_revenue     numeric,
    item_revenue_in_usd numeric,
    item_refund      numeric,
    item_refund_in_usd numeric,
    item_coupon      text,
    affiliation      text,
    location_id      text,
    promotion_id     text,
    promotion_name   text,
    creative_name    text,
    creative_slot    text,
    currency         text,
    value            numeric,
    transaction_id   text,
    tax              numeric,
    shipping         numeric,
    event_coupon     text,
    extra            jsonb,
    event_version    numeric,
    sent_at          timestamptz,
    fact_hash        uuid NOT NULL,
    source_topic     text NOT NULL,
    source_partition integer NOT NULL,
    source_offset    bigint NOT NULL,
    ingested_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (event_time, fact_hash)
) PARTITION BY RANGE (event_time);

-- The sink adds partitions as it needs them. What is dated far from now stays in here.
CREATE TABLE fact_events_default PARTITION OF fact_events DEFAULT;

COMMENT ON TABLE fact_events IS
    'One row per product interaction: one item of one event. An event without items is one row '
    'with item_ordinal 0. Partitioned by month or day of event_time (UTC). For the attributes of '
    'product and list read the view product_interactions. A text column holds up to 512 bytes: a '
    'longer text is cut, ends with … and a hash of the whole, and is whole in extra.';
COMMENT ON TABLE fact_events_default IS
    'Facts whose date is too far from the day they arrived to deserve a partition of their own: '
    'mostly clocks that are wrong.';
COMMENT ON COLUMN fact_events.event_time IS
    'When the event happened, by the producer''s clock, in UTC to the microsecond.';
COMMENT ON COLUMN fact_events.event_name IS
    'GA4 event name: view_item_list, view_item, begin_checkout, purchase, ... Other names pass '
    'through as they came.';
COMMENT ON COLUMN fact_events.event_id IS
    'The producer''s id of the event. All items of one event share it.';
COMMENT ON COLUMN fact_events.user_id IS
    'Id of a signed-in user (GA4 user_id). Personal data.';
COMMENT ON COLUMN fact_events.user_pseudo_id IS
    'Id of the app installation or browser (GA4 user_pseudo_id). Personal data.';
COMMENT ON COLUMN fact_events.session_id IS 'Session id (GA4 ga_session_id). Personal data.';
COMMENT ON COLUMN fact_events.platform IS
    'Platform of the event in upper case: ANDROID, IOS, WEB, ...';
COMMENT ON COLUMN fact_events.traffic_source IS
    'Traffic source that the event names: google, newsletter, (direct), ... In GA4 the manual '
    'source or the parameter source; not the source of the user''s first visit.';
COMMENT ON COLUMN fact_events.traffic_medium IS
    'Medium of the traffic source: cpc, organic, email, (none), ...';
COMMENT ON COLUMN fact_events.traffic_campaign IS 'Campaign name.';
COMMENT ON COLUMN fact_events.device_category IS
    'Device category, as sent: mobile, tablet, desktop, ...';
COMMENT ON COLUMN fact_events.country IS
    'Country, as sent: a name in GA4''s BigQuery export, an ISO 3166-1 code in its Measurement '
    'Protocol.';
COMMENT ON COLUMN fact_events.app_version IS 'Version of the app.';
COMMENT ON COLUMN fact_events.product_key IS
    'The product, dim_product.product_key. NULL where the event names none.';
COMMENT ON COLUMN fact_events.product_variant IS
    'Variant of the product in this interaction (GA4 item_variant).';
COMMENT ON COLUMN fact_events.list_key IS
    'The list the item was shown in or taken from, dim_list.list_key. NULL where the event names '
    'none.';
COMMENT ON COLUMN fact_events.list_position IS
    'Position of the item in the list (GA4 index), as sent.';
COMMENT ON COLUMN fact_events.item_ordinal IS
    'Position of the item in the event''s items, from 1. 0: the event has no items.';
COMMENT ON COLUMN fact_events.price IS 'Price of one unit, in currency.';
COMMENT ON COLUMN fact_events.quantity IS
    'Units. NULL where none was sent; GA4 counts that as one.';
COMMENT ON COLUMN fact_events.discount IS 'Discount on one unit, in currency.';
COMMENT ON COLUMN fact_events.price_in_usd IS 'Price of one unit in US dollars, as sent.';
COMMENT ON COLUMN fact_events.item_revenue IS
    'Price times quantity of a purchased item in currency, as sent (GA4 item_revenue). NULL '
    'where none was sent.';
COMMENT ON COLUMN fact_events.item_revenue_in_usd IS 'item_revenue in US dollars, as sent.';
COMMENT ON COLUMN fact_events.item_refund IS
    'Price times quantity of a refunded item in currency, as sent (GA4 item_refund). NULL where '
    'none was sent.';
COMMENT ON COLUMN fact_events.item_refund_in_usd IS 'item_refund in US dollars, as sent.';
COMMENT ON COLUMN fact_events.item_coupon IS 'Coupon of the item.';
COMMENT ON COLUMN fact_events.affiliation IS 'Supplying shop or company (GA4 affiliation).';
COMMENT ON COLUMN fact_events.location_id IS 'Physical location of the item (GA4 location_id).';
COMMENT ON COLUMN fact_events.promotion_id IS 'Promotion id.';
COMMENT ON COLUMN fact_events.promotion_name IS 'Promotion name.';
COMMENT ON COLUMN fact_events.creative_name IS 'Creative of the promotion.';
COMMENT ON COLUMN fact_events.creative_slot IS 'Slot of the creative.';
COMMENT ON COLUMN fact_events.currency IS 'Currency of all amounts of the row, ISO 4217.';
COMMENT ON COLUMN fact_events.value IS
    'Value of the whole event, repeated on each of its items: take it once for each event.';
COMMENT ON COLUMN fact_events.transaction_id IS
    'Order id of a purchase or refund. Personal data.';
COMMENT ON COLUMN fact_events.tax IS 'Tax of the whole event, repeated on each of its items.';
COMMENT ON COLUMN fact_events.shipping IS
    'Shipping cost of the whole event, repeated on each of its items.';
COMMENT ON COLUMN fact_events.event_coupon IS 'Coupon of the whole event.';
COMMENT ON COLUMN fact_events.extra IS
    'Keys no column is made for, and whole texts of which a column has the beginning: '
    '{"event": {...}, "item": {...}}. plan lists the rules of the tracking plan that it violates. '
    'Can have personal data.';
COMMENT ON COLUMN fact_events.event_version IS
    'Version of the event: the sequence number of its message in a FIFO queue, else the '
    'milliseconds of Unix time at which SQS received the message. With on-conflict: update the '
    'greater one wins, in whichever order they arrive. NULL, the lowest, where the record''s key '
    'tells neither.';
COMMENT ON COLUMN fact_events.sent_at IS
    'When SQS received the message that brought the fact first; one that comes again changes '
    'nothing. With on-conflict: update the earliest such time of all versions of the event, in '
    'whichever order they arrive. NULL, which is earlier than any time, where the record''s key '
    'tells none.';
COMMENT ON COLUMN fact_events.fact_hash IS
    'Identity of the fact: 128-bit hash of what happened, equal however often and by whatever '
    'way it arrives.';
COMMENT ON COLUMN fact_events.source_topic IS
    'Fluvio topic of the record that brought the fact first; with on-conflict: update, of the '
    'record with the newest version of the event.';
COMMENT ON COLUMN fact_events.source_partition IS 'Partition of that record.';
COMMENT ON COLUMN fact_events.source_offset IS
    'Offset of that record: the raw event can be read there.';
COMMENT ON COLUMN fact_events.ingested_at IS
    'When the transaction that wrote the row, or replaced its content, began.';

-- One fact outside of these ranges would end each refresh of its hour with an error, and one NaN
-- would be every sum that it is in. flatten-items keeps to narrower ones.
DO $$
DECLARE
    numbers record;
BEGIN
    ALTER TABLE fact_events
        ADD CHECK (event_time >= '1970-01-01 00:00:00+00'
                   AND event_time < '2300-01-01 00:00:00+00'),
        ADD CHECK (ingested_at >= '1970-01-01 00:00:00+00'
                   AND ingested_at < '2300-01-01 00:00:00+00'),
        ADD CHECK (sent_at >= '1970-01-01 00:00:00+00' AND sent_at < '2300-01-01 00:00:00+00'),
        ADD CHECK (event_version >= 0 AND event_version < 1e40);
    FOR numbers IN
        SELECT a.attname AS name FROM pg_attribute a
        WHERE a.attrelid = 'fact_events'::regclass AND a.atttypid = 'numeric'::regtype
          AND a.attnum > 0 AND a.attname <> 'event_version'
        ORDER BY a.attnum
    LOOP
        EXECUTE format('ALTER TABLE fact_events ADD CHECK (%1$I > -1e30 AND %1$I < 1e30)',
                       numbers.name);
    END LOOP;
END $$;

-- An index entry holds up to 2,704 bytes, and analysts index and group by what they like.
-- flatten-items cuts longer texts, and the sink longer natural keys; what another SmartModule
-- doesn't cut is refused.
DO $$
DECLARE
    texts record;
BEGIN
    FOR texts IN
        SELECT a.attrelid::regclass AS of_table, a.attname AS name,
               CASE a.attname WHEN 'natural_key' THEN 2048 ELSE 512 END AS bytes
        FROM pg_attribute a
        WHERE a.attrelid = ANY (ARRAY['dim_product', 'dim_list', 'fact_events']::regclass[])
          AND a.attnum > 0 AND a.atttypid = 'text'::regtype
        ORDER BY a.attrelid, a.attnum
    LOOP
        EXECUTE format('ALTER TABLE %s ADD CHECK (octet_length(%I) <= %s)',
                       texts.of_table, texts.name, texts.bytes);
    END LOOP;
END $$;

CREATE TABLE rejected_events (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reason           text NOT NULL,
    detail           text NOT NULL,
    at_path          text NOT NULL,
    raw              text NOT NULL,
    raw_encoding     text CHECK (raw_encoding = 'base64'),
    raw_hash         uuid NOT NULL,
    source_topic     text NOT NULL,
    source_partition integer NOT NULL,
    source_offset    bigint NOT NULL,
    source_key       text NOT NULL,
    ordinal          integer NOT NULL,
    first_seen       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (source_topic, source_key, ordinal, raw_hash)
);

COMMENT ON TABLE rejected_events IS
    'Events, or parts of events, that could not become facts: with the payload and the reason, '
    'so that they can be sent again after a fix. One row for each place in a message, however '
    'often the message is delivered or its record is read.';
COMMENT ON COLUMN rejected_events.id IS 'Number of the row, in order of arrival.';
COMMENT ON COLUMN rejected_events.reason IS
    'Kind of fault, for programs: not-json, missing-time, refused-by-postgres, not-an-envelope, '
    'set-aside, ...';
COMMENT ON COLUMN rejected_events.detail IS
    'The fault in a sentence, for people. Can have personal data.';
COMMENT ON COLUMN rejected_events.at_path IS
    'Location in the payload: $ is all of it, $.items[2] the third item.';
COMMENT ON COLUMN rejected_events.raw IS
    'The payload. For refused-by-postgres and not-an-envelope it is the record as the sink read '
    'it, else the message body as it was sent. Can have personal data.';
COMMENT ON COLUMN rejected_events.raw_encoding IS
    'base64 where the payload is no text that PostgreSQL can hold; else NULL.';
COMMENT ON COLUMN rejected_events.raw_hash IS
    'XXH3-128 of raw. In the unique key, so that same-named topics of two clusters do not hide '
    'each other''s rejections.';
COMMENT ON COLUMN rejected_events.source_topic IS 'Fluvio topic of the record.';
COMMENT ON COLUMN rejected_events.source_partition IS 'Partition of the record.';
COMMENT ON COLUMN rejected_events.source_offset IS 'Offset of the record.';
COMMENT ON COLUMN rejected_events.source_key IS
    'Identity of the message: the record''s key, with the id of the SQS message, the time when it '
    'was sent and its trace context; where a producer sets none, partition:offset. SQS can deliver '
    'a message twice, and then it has two records.';
COMMENT ON COLUMN rejected_events.ordinal IS 'Number of the rejection within its record, from 0.';
COMMENT ON COLUMN rejected_events.first_seen IS 'When the transaction that wrote the row began.';

CREATE TABLE sink_offsets (
    sink        text NOT NULL,
    topic       text NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint NOT NULL CHECK (next_offset >= 0),
    records     bigint NOT NULL DEFAULT 0,
    records_without_rows bigint NOT NULL DEFAULT 0,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    last_record text,
    set_aside   bigint,
    PRIMARY KEY (sink, topic, partition)
);

COMMENT ON TABLE sink_offsets IS
    'Committed offsets of each sink. Updated in the transaction that writes the records, so that '
    'facts and offset are there together or not at all. To read a topic again from its start, '
    'stop the sink and delete its rows: what is there already stays as it is.';
COMMENT ON COLUMN sink_offsets.sink IS
    'Name of the sink (meta.name of its connector file): two clusters with a topic of the same '
    'name need sinks of different names, which sink_clusters ensures.';
COMMENT ON COLUMN sink_offsets.topic IS 'Fluvio topic.';
COMMENT ON COLUMN sink_offsets.partition IS 'Partition of the topic.';
COMMENT ON COLUMN sink_offsets.next_offset IS 'Offset of the first record that is not written yet.';
COMMENT ON COLUMN sink_offsets.records IS
    'Records that the sink has read since this row was made; one that was read twice counts '
    'twice.';
COMMENT ON COLUMN sink_offsets.records_without_rows IS
    'Records that added no new fact and no new rejected event: sent again by a producer, '
    'delivered again by SQS, or read again.';
COMMENT ON COLUMN sink_offsets.updated_at IS 'When the offset moved last.';
COMMENT ON COLUMN sink_offsets.last_record IS
    'Offset and key of the last record that was written. Another record at that offset means that '
    'the topic was created again: the sink reads it from its start.';
COMMENT ON COLUMN sink_offsets.set_aside IS
    'Offset of a record to set aside, given by etl rejected skip: while the cluster can''t '
    'transform it, the sink writes it to rejected_events as it is in the topic, and goes on.';

CREATE TABLE sink_clusters (
    sink    text NOT NULL,
    topic   text NOT NULL,
    cluster text NOT NULL,
    since   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (sink, topic)
);

COMMENT ON TABLE sink_clusters IS
    'The Fluvio cluster that the committed offsets of a sink in a topic belong to. A sink of '
    'another cluster with the same name is refused.';
COMMENT ON COLUMN sink_clusters.sink IS 'Name of the sink, as in sink_offsets.';
COMMENT ON COLUMN sink_clusters.topic IS 'Fluvio topic.';
COMMENT ON COLUMN sink_clusters.cluster IS
    'Id of the cluster: the first record of its topic ecommerce-etl-cluster-id.';
COMMENT ON COLUMN sink_clusters.since IS 'Last start of a sink of this name in this cluster.';

-- Most queries read this view: the facts with the attributes of their product and list.
CREATE VIEW product_interactions AS
SELECT
    f.event_time, f.event_name, f.event_id, f.user_id, f.user_pseudo_id,
    coalesce(f.user_id, f.user_pseudo_id) AS person, f.session_id, f.platform, f.traffic_source,
    f.traffic_medium, f.traffic_campaign, f.device_category, f.country, f.app_version,
    f.product_key, p.product_id,
    p.product_name, p.product_brand, p.product_category, p.product_category2, p.product_category3,
    p.product_category4, p.product_category5, f.product_variant, f.list_key, l.list_id, l.list_name,
    f.list_position,
    f.item_ordinal, f.price, f.quantity, f.price * coalesce(f.quantity, 1) AS line_amount,
    f.discount, f.price_in_usd,
    f.item_revenue, f.item_revenue_in_usd, f.item_refund, f.item_refund_in_usd, f.item_coupon,
    f.affiliation,
    f.location_id, f.promotion_id, f.promotion_name, f.creative_name, f.creative_slot, f.currency,
    f.value,
    f.transaction_id, f.tax, f.shipping, f.event_coupon, f.extra, f.fact_hash, f.ingested_at
FROM fact_events f
LEFT JOIN dim_product p USING (product_key)
LEFT JOIN dim_list l USING (list_key);

COMMENT ON VIEW product_interactions IS
    'fact_events with the newest attributes of product and list. person is the user: user_id, or '
    'user_pseudo_id where nobody is signed in. line_amount is price times quantity (one unit '
    'where none was sent).';

-- A column that a view passes on means what it means in its table. The fact's own comment wins over
-- the dimension's.
CREATE FUNCTION etl_pass_comments(of_view regclass, VARIADIC of_tables regclass[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    passed record;
BEGIN
    FOR passed IN
        SELECT DISTINCT ON (shown.attnum) shown.attname AS name,
               col_description(origin.attrelid, origin.attnum) AS comment
        FROM pg_attribute shown
        JOIN pg_attribute origin ON origin.attname = shown.attname
            AND origin.attrelid = ANY (of_tables) AND origin.attnum > 0
        WHERE shown.attrelid = of_view AND shown.attnum > 0
        ORDER BY shown.attnum, array_position(of_tables, origin.attrelid::regclass)
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', of_view, passed.name, passed.comment);
    END LOOP;
END $$;
COMMENT ON FUNCTION etl_pass_comments IS
    'Gives the columns of a view the comments that the columns of the same name have in these '
    'tables; the first table wins.';

SELECT etl_pass_comments('product_interactions', 'fact_events', 'dim_product', 'dim_list');
COMMENT ON COLUMN product_interactions.person IS
    'Person: user_id, or user_pseudo_id where nobody is signed in. Personal data.';
COMMENT ON COLUMN product_interactions.line_amount IS
    'price times quantity, one unit where none was sent.';
