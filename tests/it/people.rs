//! `etl erase` and `etl export`: after an erasure nothing of the person is in any column, and the
//! numbers of the others are those of tables that never had the person.

use std::collections::BTreeSet;
use std::time::Duration;

use end_to_end::{cli, found};
use private_postgres::PrivatePostgres;
use serde_json::Value;
use tokio_postgres::Client;

/// Events of two people over some days, with a tablet, sessions and orders that they share. Every
/// fifth event is of nobody who is signed in.
const EVENTS: &str = "\
    INSERT INTO dim_product (natural_key, product_id) \
        SELECT 'id:P' || i, 'P' || i FROM generate_series(1, 5) i; \
    INSERT INTO dim_list (natural_key, list_id) \
        SELECT 'id:L' || i, 'L' || i FROM generate_series(1, 3) i; \
    INSERT INTO fact_events (event_time, event_name, user_id, user_pseudo_id, session_id, \
        platform, product_key, list_key, item_ordinal, price, currency, transaction_id, fact_hash, \
        source_topic, source_partition, source_offset) \
    SELECT timestamptz '2026-09-28 22:10Z' + n * interval '47 minutes' \
               + CASE who WHEN 'ben' THEN interval '11 minutes' ELSE '0' END, \
           (ARRAY['view_item_list', 'select_item', 'view_item', 'add_to_cart', 'begin_checkout', \
                  'purchase'])[1 + n % 6], \
           CASE WHEN n % 5 > 0 THEN who END, \
           CASE WHEN n % 7 = 0 THEN 'tablet' ELSE 'phone-of-' || who END, \
           CASE WHEN n % 3 > 0 THEN 's' || n / 20 END, 'WEB', 1 + n / 6 % 5, 1 + n / 6 % 3, 1, 10, \
           'EUR', CASE WHEN n % 6 = 5 THEN \
               CASE WHEN n % 4 = 1 THEN 'of-both-' || n / 30 ELSE who || '-' || n END END, \
           md5(who || n)::uuid, 'shop-events', 0, n \
    FROM generate_series(0, 150) n, unnest(ARRAY['ana', 'ben']) who; \
    INSERT INTO rejected_events (reason, detail, at_path, raw, raw_hash, raw_encoding, \
        source_topic, source_partition, source_offset, source_key, ordinal) \
    SELECT 'not-json', 'd', '$', raw, gen_random_uuid(), encoding, 'shop-events', 0, n, 'k' || n, \
        0 \
    FROM (VALUES (1, '{\"user_id\":\"ana\"}', NULL), (2, '{\"user_id\":\"ben\"}', NULL), \
                 (3, encode('uid=ana', 'base64'), 'base64'), \
                 (4, '{\"user_id\":\"anabel\"}', NULL)) r (n, raw, encoding);";

const ANSWERS: [&str; 7] = [
    "daily_people()",
    "daily_revenue()",
    "orders()",
    "order_lines()",
    "sessions()",
    "new_and_returning()",
    "identities()",
];

/// The columns in which one of these ids or its key occurs, and their comments.
async fn columns_with(client: &Client, ids: &[&str]) -> Vec<(String, Option<String>)> {
    let columns = client
        .query(
            "SELECT c.oid::regclass::text, quote_ident(a.attname), \
                    coalesce(col_description(c.oid, a.attnum), \
                             col_description('fact_events'::regclass, a.attnum)) \
             FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
             WHERE c.relnamespace::regnamespace::text IN ('public', 'analytics') \
               AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped \
               AND c.relname <> 'glossary' ORDER BY 1, a.attnum",
            &[],
        )
        .await
        .unwrap();
    let mut with = Vec::new();
    for column in &columns {
        let (table, name): (&str, &str) = (column.get(0), column.get(1));
        let query = format!(
            "SELECT EXISTS (SELECT FROM {table} t, unnest($1::text[]) AS sought (one) \
             WHERE t.{name}::text ~ ('\\y' || sought.one || '\\y') \
                OR t.{name}::text = hashtextextended(sought.one, 0)::text)"
        );
        if client.query_one(&query, &[&ids]).await.unwrap().get(0) {
            with.push((format!("{table}.{name}"), column.get(2)));
        }
    }
    with
}

async fn assert_nothing_of_ana(client: &Client) {
    let left = columns_with(client, &ANA).await;
    assert!(left.is_empty(), "{left:?}");
}

async fn answers(client: &Client) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for question in ANSWERS {
        let query = format!("SELECT a::text FROM analytics.{question} a ORDER BY 1");
        let rows = client.query(&query, &[]).await.unwrap();
        all.push(rows.iter().map(|row| row.get(0)).collect());
    }
    all
}

async fn differences(client: &Client) -> usize {
    let query = "SELECT FROM analytics.differences()";
    client.query(query, &[]).await.unwrap().len()
}

struct Shop {
    server: PrivatePostgres,
    client: Client,
}

impl Shop {
    /// The events, with stored hours and days.
    async fn new() -> Self {
        let server = PrivatePostgres::start().await.unwrap();
        let client = found::connect(&server.url()).await.unwrap();
        let shop = Self { server, client };
        shop.etl(&["migrate"], 0, &[]).await;
        shop.client.batch_execute(EVENTS).await.unwrap();
        shop.etl(&["aggregates", "rebuild"], 0, &[]).await;
        shop
    }

    async fn etl(&self, args: &[&str], code: i32, parts: &[&str]) {
        let mut command = cli::command().unwrap();
        command.args(args).env("DATABASE_URL", self.server.url());
        cli::ensure_output(&mut command, code, parts).await.unwrap();
    }

    async fn stdout(&self, args: &[&str]) -> String {
        let mut command = cli::command().unwrap();
        command.args(args).env("DATABASE_URL", self.server.url());
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    async fn count(&self, query: &str) -> i64 {
        self.client.query_one(query, &[]).await.unwrap().get(0)
    }
}

const ANA: [&str; 2] = ["ana", "phone-of-ana"];
const FACTS_OF_ANA: &str = "\
    SELECT count(*) FROM fact_events \
    WHERE user_id = 'ana' OR user_id IS NULL AND user_pseudo_id IN ('phone-of-ana', 'tablet')";

#[tokio::test]
async fn nothing_of_an_erased_person_remains() {
    let shop = Shop::new().await;
    let before = columns_with(&shop.client, &ANA).await;
    let unmarked: Vec<_> = before
        .iter()
        .filter(|(_, comment)| !comment.as_ref().is_some_and(|c| c.contains("ersonal data")))
        .collect();
    assert!(unmarked.is_empty(), "not marked as such: {unmarked:?}");
    assert!(before.len() > 15, "{before:?}");

    let erase = ["erase", "--user", "ana", "--linked"];
    shop.etl(&erase, 1, &["nothing was erased", "--yes"]).await;
    let dry = [&erase[..], &["--dry-run", "--json"]].concat();
    shop.etl(
        &[&erase[..], &["--dry-run"]].concat(),
        0,
        &["etl rejected show 3"],
    )
    .await;
    let account: Value = serde_json::from_str(&shop.stdout(&dry).await).unwrap();
    let facts = shop.count(FACTS_OF_ANA).await;
    assert_eq!(account["facts"], facts);
    assert_eq!(account["rejected_events"], 2);
    assert_eq!(account["linked_devices"][1]["user_pseudo_id"], "tablet");
    assert_eq!(account["linked_devices"][1]["other_users"], 1);
    assert_eq!(columns_with(&shop.client, &ANA).await, before);

    let yes = [&erase[..], &["--yes", "--json"]].concat();
    let account: Value = serde_json::from_str(&shop.stdout(&yes).await).unwrap();
    assert_eq!(account["facts"], facts);
    assert!(account["aggregate_rows"].as_i64().unwrap() > 100);
    assert!(account["stays"].to_string().contains("topic shop-events"));
    assert_nothing_of_ana(&shop.client).await;
    assert_eq!(differences(&shop.client).await, 0);
    let rejected = "SELECT count(*) FROM rejected_events WHERE source_offset IN (2, 4)";
    assert_eq!(shop.count(rejected).await, 2, "those of others stay");
    let again: Value = serde_json::from_str(&shop.stdout(&yes).await).unwrap();
    assert_eq!(again["facts"], 0);

    let other = Shop::new().await;
    let never = FACTS_OF_ANA.replace("SELECT count(*)", "DELETE");
    other.client.execute(&never, &[]).await.unwrap();
    other.etl(&["aggregates", "rebuild"], 0, &[]).await;
    assert_eq!(answers(&shop.client).await, answers(&other.client).await);
}

#[tokio::test]
async fn hours_without_facts_forget_the_person_too() {
    let shop = Shop::new().await;
    let make = "SELECT etl_make_partition('2026-09-28'), etl_make_partition('2026-10-01')";
    shop.client.query(make, &[]).await.unwrap();
    let drop = "SELECT analytics.keep_history('2026-09-01Z', '2026-10-01Z'); \
                DROP TABLE fact_events_y2026m09";
    shop.client.batch_execute(drop).await.unwrap();
    assert!(columns_with(&shop.client, &ANA).await.len() > 15);
    let erase = ["erase", "--user", "ana", "--linked", "--yes"];
    shop.etl(&erase, 0, &["facts erased"]).await;
    assert_nothing_of_ana(&shop.client).await;
    assert_eq!(differences(&shop.client).await, 0);
    let ben = columns_with(&shop.client, &["ben"]).await;
    assert!(ben.len() > 10, "{ben:?}");
}

#[tokio::test]
async fn an_erasure_that_was_killed_is_repeated() {
    let shop = Shop::new().await;
    let erase = ["erase", "--user", "ana", "--linked", "--yes"];
    // A transaction that holds one of the facts stops the command in the middle.
    let blocker = found::connect(&shop.server.url()).await.unwrap();
    blocker
        .batch_execute(
            "BEGIN; SELECT FROM fact_events WHERE user_id = 'ana' \
             AND event_time >= '2026-10-01Z' ORDER BY event_time LIMIT 1 FOR UPDATE",
        )
        .await
        .unwrap();
    let all = shop.count(FACTS_OF_ANA).await;
    let mut command = cli::command().unwrap();
    command.args(erase).env("DATABASE_URL", shop.server.url());
    let mut child = command.spawn().unwrap();
    let own = "SELECT count(*) FROM fact_events \
               WHERE user_id = 'ana' AND event_time < '2026-10-01Z'";
    let in_the_middle = async {
        while shop.count(own).await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), in_the_middle)
        .await
        .unwrap();
    child.kill().await.unwrap();
    blocker.batch_execute("ROLLBACK").await.unwrap();
    let left = shop.count(FACTS_OF_ANA).await;
    assert!(left > 0 && left < all, "{left} of {all}");
    assert_eq!(differences(&shop.client).await, 0);

    shop.etl(&erase, 0, &["facts erased"]).await;
    assert_nothing_of_ana(&shop.client).await;
    assert_eq!(differences(&shop.client).await, 0);
    assert_eq!(
        shop.count("SELECT count(*) FROM analytics.open_hours")
            .await,
        0
    );
}

#[tokio::test]
async fn an_export_has_every_fact() {
    let shop = Shop::new().await;
    let printed = shop.stdout(&["export", "--user", "ana", "--linked"]).await;
    let lines: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |table: &str| lines.iter().filter(|line| line["table"] == table).count();
    assert_eq!(
        i64::try_from(of("fact_events")).unwrap(),
        shop.count(FACTS_OF_ANA).await
    );
    assert_eq!(of("rejected_events"), 2);
    let fact = lines.iter().find(|line| line["table"] == "fact_events");
    let product = &fact.unwrap()["row"]["product"]["product_id"];
    assert!(product.as_str().unwrap().starts_with('P'), "{product}");
    let tables: BTreeSet<&str> = lines
        .iter()
        .filter_map(|line| line["table"].as_str())
        .collect();
    for table in ["analytics.hourly_sign_ins", "analytics.day_reach"] {
        assert!(tables.contains(table), "{tables:?}");
    }
    let others = [
        "\"user_id\":\"ben\"",
        "\"user_id\": \"ben\"",
        "phone-of-ben",
    ];
    assert!(!others.iter().any(|other| printed.contains(other)));

    shop.etl(&["export"], 1, &["--user ID"]).await;
    let alone = shop.stdout(&["export", "--user", "ana"]).await;
    assert!(alone.lines().count() < lines.len(), "--linked adds nothing");
}
