//! `etl report`: its page in a real browser, its tables on the terminal, and what it says when it can't.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::path::{Path, PathBuf};

use local_stack::artefacts::Artefacts;
use private_postgres::PrivatePostgres;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio_postgres::{Client, NoTls};

/// What a shop's catalogue should not hold, and might.
const MARKUP: &str =
    r#"</script><script>document.title="taken"</script><b onclick='alert(1)'>A & "B"</b>{{mark}}"#;
const ARABIC: &str = "كرسي خشبي مريح \u{202e}!desrever";
const EMOJI: &str = "=1+1 👩‍👩‍👧‍👦 Family tent 🏕️";

struct Shop {
    server: PrivatePostgres,
    client: Client,
    folder: tempfile::TempDir,
}

impl Shop {
    async fn open() -> Self {
        let server = PrivatePostgres::start().await.unwrap();
        let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        let folder = tempfile::tempdir().unwrap();
        Self {
            server,
            client,
            folder,
        }
    }

    /// The exit code, and what was said.
    async fn etl(&self, args: &[&str]) -> (Option<i32>, String) {
        self.etl_as(&self.server.url(), args).await
    }

    async fn etl_as(&self, url: &str, args: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(Artefacts::find().unwrap().program("etl"))
            .args(args)
            .env("DATABASE_URL", url)
            .current_dir(self.folder.path())
            .output()
            .await
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    }

    async fn says(&self, args: &[&str], code: i32, parts: &[&str]) {
        let (found, said) = self.etl(args).await;
        assert_eq!(found, Some(code), "{args:?}: {said}");
        for part in parts {
            assert!(said.contains(part), "no «{part}» of {args:?} in\n{said}");
        }
    }

    /// Three days of a shop, few enough to count by hand.
    async fn fill(&self) {
        let long = format!("Long {}", "x".repeat(400));
        let brand = "<img src=x onerror=\"document.title='taken'\">";
        for (key, name) in (1_i32..).zip([MARKUP, ARABIC, &long, EMOJI]) {
            let product = "INSERT INTO dim_product (product_key, natural_key, product_id, product_name, product_brand) \
                           OVERRIDING SYSTEM VALUE VALUES ($1::int, 'id:' || $1::int, $1::int::text, $2, $3)";
            self.client
                .execute(product, &[&key, &name, &brand])
                .await
                .unwrap();
        }
        for (key, name) in [(1_i32, "Search <i>results</i>"), (2, "Related")] {
            let list = "INSERT INTO dim_list (list_key, natural_key, list_id, list_name) \
                        OVERRIDING SYSTEM VALUE VALUES ($1::int, 'id:' || $1::int, $1::int::text, $2)";
            self.client.execute(list, &[&key, &name]).await.unwrap();
        }
        self.client.batch_execute(&facts()).await.unwrap();
    }
}

/// Events as `day time, name, person, session, list, order, currency, items (product, position, price, quantity)`.
fn facts() -> String {
    type Item = (i32, i32, f64, i32);
    type Event<'a> = ([&'a str; 7], &'a [Item]);
    let shown: &[Item] = &[
        (1, 1, 1.0, 1),
        (2, 2, 1.0, 1),
        (3, 3, 1.0, 1),
        (4, 4, 1.0, 1),
    ];
    #[rustfmt::skip]
    let events: [Event; 11] = [
        (["2026-11-01 10:00:00", "view_item_list", "p1", "s1", "1", "NULL", "NULL"], shown),
        (["2026-11-01 10:01:00", "view_item", "p1", "s1", "NULL", "NULL", "'EUR'"], &[(1, 0, 100.0, 1)]),
        (["2026-11-01 10:02:00", "begin_checkout", "p1", "s1", "NULL", "NULL", "'EUR'"], &[(1, 0, 100.0, 2)]),
        (["2026-11-01 10:03:00", "purchase", "p1", "s1", "NULL", "'T1'", "'EUR'"], &[(1, 0, 100.0, 2)]),
        (["2026-11-01 11:00:00", "view_item_list", "p2", "s2", "1", "NULL", "NULL"], shown),
        (["2026-11-01 11:01:00", "view_item", "p2", "s2", "NULL", "NULL", "'EUR'"], &[(2, 0, 9.9, 1)]),
        (["2026-11-03 12:00:00", "view_item_list", "p1", "s3", "2", "NULL", "NULL"], &[(2, 1, 1.0, 1), (3, 2, 1.0, 1)]),
        (["2026-11-03 12:00:30", "view_item", "p1", "s3", "NULL", "NULL", "'USD'"], &[(3, 0, 1234.5, 1)]),
        (["2026-11-03 12:02:00", "purchase", "p1", "s3", "NULL", "'T2'", "'USD'"], &[(3, 0, 1234.5, 1)]),
        // The same order under another event id.
        (["2026-11-03 12:03:00", "purchase", "p1", "s3", "NULL", "'T2'", "'USD'"], &[(3, 0, 1234.5, 1)]),
        (["2026-11-03 13:00:00", "view_item", "p3", "", "NULL", "NULL", "'EUR'"], &[(1, 0, 100.0, 1)]),
    ];
    let mut sql = String::new();
    for (offset, ([time, name, person, session, list, order, currency], items)) in
        events.iter().enumerate()
    {
        // One event is late, and one dated by a clock that is ahead.
        let delay = match *name {
            _ if *person == "p3" => "2 days",
            "begin_checkout" => "-10 minutes",
            _ => "10 seconds",
        };
        for (ordinal, (product, position, price, quantity)) in (1..).zip(*items) {
            sql.push_str(&format!(
                "INSERT INTO fact_events (event_time, event_name, event_id, user_pseudo_id, session_id, product_key, list_key, \
                 list_position, item_ordinal, price, quantity, currency, transaction_id, fact_hash, source_topic, \
                 source_partition, source_offset, ingested_at) VALUES ('{time}Z', '{name}', '{offset}', '{person}', \
                 nullif('{session}', ''), {product}, {list}, nullif({position}, 0), {ordinal}, {price}, {quantity}, {currency}, {order}, \
                 gen_random_uuid(), 'shop-events', 0, {offset}, '{time}Z'::timestamptz + interval '{delay}');\n"
            ));
        }
    }
    for (offset, reason, day) in [
        (11, "not-json", "2026-11-02"),
        (12, "not-json", "2026-11-02"),
        (13, "<b>reason</b>", "2026-11-20"),
    ] {
        sql.push_str(&format!(
            "INSERT INTO rejected_events (reason, detail, at_path, raw, raw_hash, source_topic, source_partition, \
             source_offset, source_key, ordinal, first_seen) VALUES ('{reason}', 'd', '$', 'x', gen_random_uuid(), \
             'shop-events', 0, {offset}, 'k{offset}', 0, '{day} 12:00Z');\n"
        ));
    }
    sql + "INSERT INTO sink_offsets (sink, topic, partition, next_offset, records, records_without_rows) VALUES ('sink', 'shop-events', 0, 20, 20, 6); SELECT analytics.rebuild_rollups();"
}

fn browser() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser.sh");
    let output = std::process::Command::new(script).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// What each page says, after a browser found nothing wrong with it.
async fn seen(pages: &[PathBuf]) -> Value {
    let venv = std::env::var("ETL_TEST_VENV")
        .expect("this test needs programs from PyPI: run it by `make test`");
    let output = Command::new(PathBuf::from(venv).join("bin/python"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("report/look.py"))
        .arg(browser())
        .args(pages)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_page_says_what_is_in_the_tables_and_reads_well() {
    let shop = Shop::open().await;
    shop.says(&["migrate"], 0, &[]).await;
    shop.fill().await;
    let few = ["report", "--min-impressions", "1", "--min-viewers", "1"];
    shop.says(&few, 0, &["/report.html\n"]).await;
    #[rustfmt::skip]
    let last = ["report", "--from", "2026-11-02", "--to", "2026-11-03", "--min-impressions", "5", "--out", "last.html"];
    shop.says(&last, 0, &["/last.html\n"]).await;
    #[rustfmt::skip]
    let compared = ["report", "--from", "2026-11-03", "--to", "2026-11-04", "--out", "compared.html"];
    shop.says(&compared, 0, &["/compared.html\n"]).await;
    let pages =
        ["report.html", "last.html", "compared.html"].map(|name| shop.folder.path().join(name));
    let all_said = seen(&pages).await;
    let said = &all_said[0];
    assert_eq!(said["title"], "Shop report, 1 Nov – 3 Nov 2026");
    assert_eq!(
        said["tiles"],
        json!({
            "People": "3", "Events": "11", "Sessions": "3", "Conversion": "0.666667", "Orders": "2",
            "Revenue, EUR": "200", "Revenue, USD": "1234.5",
            "Rejected": "2", "Late facts": "1", "Early facts": "1", "Duplicates": "6",
        })
    );
    assert_eq!(
        said["steps"],
        json!([
            ["Saw a list", "2", "3"],
            ["Viewed a product", "3", "1.5", "1.5", "4"],
            ["Began checkout", "1", "0.333333", "0.5", "1"],
            ["Purchased", "1", "1", "0.5", "3"],
        ])
    );
    let tables = &said["tables"];
    assert_eq!(
        tables["days"],
        json!([
            ["2026-11-01", "2", "6", "2", "2", "1", "1", "1", "1"],
            ["2026-11-02", "0", "0", "0", "0", "0", "0", null, "0"],
            ["2026-11-03", "2", "5", "1", "2", "0", "1", null, "1"],
        ])
    );
    assert_eq!(
        tables["revenue"],
        json!([
            ["2026-11-01", "EUR", "1", "2", "200", "200.00"],
            ["2026-11-03", "USD", "1", "1", "1234.5", "1234.50"],
        ])
    );
    assert_eq!(
        tables["lists"],
        json!([
            ["Related", "0.5", "2", "1", "1", "1", "1", "1234.5"],
            [
                "Search <i>results</i>",
                "0.25",
                "8",
                "2",
                "2",
                "1",
                "1",
                "200"
            ],
        ])
    );
    let long = format!("Long {}", "x".repeat(400));
    let brand = "<img src=x onerror=\"document.title='taken'\">";
    assert_eq!(
        tables["products"],
        json!([
            [long, "1", "1", "1", "1", "1", "1", "1234.5", brand],
            [MARKUP, "0.5", "2", "1", "2", "1", "2", "200", brand],
            [ARABIC, "0", "1", "0", "1", "0", "0", null, brand],
        ])
    );
    let shown = &said["shown"]["products"];
    assert_eq!(shown[0][0].as_str().unwrap().chars().next_back(), Some('…'));
    assert_eq!(shown[1][0], MARKUP);
    assert_eq!(shown[1][7], "€200.00");
    assert_eq!(shown[0][7], "$1,234.50");
    assert_eq!(
        tables["positions"],
        json!([
            ["1", "3", "1", "0.333333"],
            ["2", "3", "2", "0.666667"],
            ["3", "2", "0", "0"],
            ["4", "2", "0", "0"],
        ])
    );
    assert_eq!(
        tables["list-positions"],
        json!([
            ["Search <i>results</i>", "0.5", "0.5", "0", "0"],
            ["Related", "0", "1", null, null],
        ])
    );
    assert_eq!(
        tables["sessions"],
        json!([
            ["2026-11-01", "2", "2", "1", "1", "0.5"],
            ["2026-11-03", "1", "1", "1", "1", "1"],
        ])
    );
    assert_eq!(
        tables["rejected"],
        json!([
            ["not-json", "2", "2", "2026-11-02"],
            ["<b>reason</b>", "0", "1", "2026-11-20"],
        ])
    );
    assert_eq!(
        tables["duplicates"],
        json!([["shop-events", "0", "20", "14", "6", "0.3"]])
    );
    let people = said["figures"][0].as_str().unwrap();
    assert_eq!(people, "Line chart. People a day: highest 2 on 1 Nov.");
    assert_eq!(
        said["empty"],
        json!(["No view_promotion was sent in these days."])
    );

    // A single day: its lines are points, and what there is none of says so.
    let said = &all_said[1];
    assert_eq!(said["title"], "Shop report, 2 Nov – 3 Nov 2026");
    assert_eq!(said["tiles"]["Events"], "5");
    let empty = said["empty"].to_string();
    for part in [
        "No list showed 5 products",
        "No product was viewed by 10 people",
        "No position of a list showed 5",
    ] {
        assert!(empty.contains(part), "no «{part}» in {empty}");
    }
    assert_eq!(said["changes"], json!({}), "nothing is there before 1 Nov");

    // Two days beside the two before; one currency was not there then.
    assert_eq!(
        all_said[2]["changes"],
        json!({
            "People": "±0.0%", "Events": "−16.7%", "Sessions": "−50.0%", "Conversion": "+50.0 points", "Orders": "±0.0%",
        })
    );
}

#[tokio::test]
async fn rollups_are_counted_anew_whatever_the_range_holds() {
    let shop = Shop::open().await;
    shop.says(&["migrate"], 0, &[]).await;
    shop.says(&["rollups", "rebuild"], 0, &["0 rows counted anew"])
        .await;
    shop.fill().await;
    // A clock that is wrong dates a fact in another month; by hand, it is not counted.
    let moved = "UPDATE fact_events SET event_time = event_time - interval '70 days' WHERE event_name = 'begin_checkout'; \
                 SELECT analytics.fold(); UPDATE analytics.rollup_event SET interactions = interactions + 1";
    shop.client.batch_execute(moved).await.unwrap();
    let wrong = ["rollups", "check"];
    shop.says(&wrong, 1, &["view_item_list"]).await;
    let before = ["rollups", "rebuild", "--to", "2026-08-31"];
    shop.says(&before, 0, &["counted anew"]).await;
    shop.says(&wrong, 1, &["view_item_list"]).await;
    shop.says(&["rollups", "rebuild"], 0, &["counted anew"])
        .await;
    shop.says(&wrong, 0, &["the rollups agree with the facts"])
        .await;
}

#[tokio::test]
async fn a_terminal_shows_tables_and_every_error_says_what_to_do() {
    let shop = Shop::open().await;
    shop.says(&["report"], 1, &["`etl migrate`"]).await;
    shop.says(&["migrate"], 0, &[]).await;
    shop.says(&["report"], 1, &["there are no facts yet"]).await;
    shop.fill().await;

    let terminal = ["report", "--terminal", "--min-viewers", "1"];
    let parts = [
        "1 Nov – 3 Nov 2026 (UTC days), 18 facts",
        "People                 3",
        "Events                11",
        "Conversion         66.7%",
        "Orders                 2",
        "Best products by view-to-purchase rate",
        "</script><script>document.title=",
        "150.0%",
        "€200.00",
        "not-json",
    ];
    shop.says(&terminal, 0, &parts).await;
    let (_, said) = shop.etl(&terminal).await;
    assert!(
        !said.contains('\u{202e}'),
        "the direction of the terminal's text is nobody's to turn"
    );
    shop.says(&["report", "--out", "-"], 0, &["<!doctype html>"])
        .await;

    let early = ["report", "--to", "2020-01-01"];
    let parts = [
        "no facts to 2020-01-01",
        "some from 2026-11-01 to 2026-11-03",
    ];
    shop.says(&early, 1, &parts).await;
    let turned = ["report", "--from", "2026-11-03", "--to", "2026-11-01"];
    shop.says(&turned, 1, &["--from 2026-11-03 is after --to 2026-11-01"])
        .await;
    let wrong = ["report", "--timeout", "1 fortnight"];
    shop.says(&wrong, 1, &["--timeout 1 fortnight: invalid value"])
        .await;
    let lock = "BEGIN; LOCK TABLE fact_events IN ACCESS EXCLUSIVE MODE";
    shop.client.batch_execute(lock).await.unwrap();
    let hasty = ["report", "--timeout", "300ms"];
    shop.says(&hasty, 1, &["give it longer than --timeout 300ms"])
        .await;
    shop.client.batch_execute("ROLLBACK").await.unwrap();

    let mine = shop.folder.path().join("mine.html");
    std::fs::write(&mine, "<!doctype html>my own").unwrap();
    let out = ["report", "--out", "mine.html"];
    shop.says(&out, 1, &["mine.html is there and is no report"])
        .await;
    assert_eq!(
        std::fs::read_to_string(&mine).unwrap(),
        "<!doctype html>my own"
    );
    shop.says(
        &["report", "--out", "none/report.html"],
        1,
        &["there is no folder none"],
    )
    .await;
    let left: Vec<_> = std::fs::read_dir(shop.folder.path())
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");

    let roles = "CREATE ROLE analyst LOGIN PASSWORD 'word' IN ROLE etl_reader; CREATE ROLE stranger LOGIN PASSWORD 'word'";
    shop.client.batch_execute(roles).await.unwrap();
    let url = |user: &str| {
        let (_, place) = shop
            .server
            .url()
            .rsplit_once('@')
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .unwrap();
        format!("postgres://{user}:word@{place}")
    };
    let (code, said) = shop.etl_as(&url("stranger"), &["report"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("GRANT etl_reader TO"), "{said}");
    for _ in 0..2 {
        let (code, said) = shop.etl_as(&url("analyst"), &["report"]).await;
        assert_eq!(code, Some(0), "a reader's report, and again: {said}");
    }
}
