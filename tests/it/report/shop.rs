//! A database with three days of a shop, and the command on it.

use end_to_end::{cli, found};
use private_postgres::PrivatePostgres;
use tempfile::TempDir;
use tokio::process::Command;
use tokio_postgres::Client;

/// Product names with markup and with a text direction.
pub const MARKUP: &str =
    r#"</script><script>document.title="taken"</script><b onclick='alert(1)'>A & "B"</b>{{mark}}"#;
pub const ARABIC: &str = "كرسي خشبي مريح \u{202e}!desrever";
const EMOJI: &str = "=1+1 👩‍👩‍👧‍👦 Family tent 🏕️";

pub struct Shop {
    pub server: PrivatePostgres,
    pub client: Client,
    pub folder: TempDir,
}

impl Shop {
    pub async fn open() -> Self {
        let server = PrivatePostgres::start().await.unwrap();
        let client = found::connect(&server.url()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self {
            server,
            client,
            folder,
        }
    }

    fn command(&self, url: &str, args: &[&str]) -> Command {
        let mut command = cli::command().unwrap();
        command
            .args(args)
            .env("DATABASE_URL", url)
            .current_dir(self.folder.path());
        command
    }

    /// The exit code and the output.
    pub async fn etl(&self, args: &[&str]) -> (Option<i32>, String) {
        self.etl_as(&self.server.url(), args).await
    }

    pub async fn etl_as(&self, url: &str, args: &[&str]) -> (Option<i32>, String) {
        cli::output(&mut self.command(url, args)).await.unwrap()
    }

    /// The URL of the database for another user, whose password is `word`.
    pub fn url_of(&self, user: &str) -> String {
        let url = self.server.url();
        let (_, place) = url.rsplit_once('@').unwrap();
        format!("postgres://{user}:word@{place}")
    }

    pub async fn run(&self, args: &[&str], code: i32, parts: &[&str]) {
        let mut command = self.command(&self.server.url(), args);
        cli::ensure_output(&mut command, code, parts).await.unwrap();
    }

    /// Inserts three days of a shop, few enough to count by hand.
    pub async fn fill(&self) {
        let long = format!("Long {}", "x".repeat(400));
        let brand = "<img src=x onerror=\"document.title='taken'\">";
        for (key, name) in (1_i32..).zip([MARKUP, ARABIC, &long, EMOJI]) {
            let product = "\
                INSERT INTO dim_product (product_key, natural_key, product_id, product_name, \
                                         product_brand) \
                OVERRIDING SYSTEM VALUE \
                VALUES ($1::int, 'id:' || $1::int, $1::int::text, $2, $3)";
            self.client
                .execute(product, &[&key, &name, &brand])
                .await
                .unwrap();
        }
        for (key, name) in [(1_i32, "Search <i>results</i>"), (2, "Related")] {
            let list = "INSERT INTO dim_list (list_key, natural_key, list_id, list_name) \
                        OVERRIDING SYSTEM VALUE \
                        VALUES ($1::int, 'id:' || $1::int, $1::int::text, $2)";
            self.client.execute(list, &[&key, &name]).await.unwrap();
        }
        self.client.batch_execute(&facts()).await.unwrap();
    }
}

/// The facts. An event is `day time, name, person, session, list, order, currency`, an item
/// `product, position, price, quantity`.
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
        (["2025-11-01 10:00:00", "view_item_list", "p1", "s1", "1", "NULL", "NULL"], shown),
        (["2025-11-01 10:01:00", "view_item", "p1", "s1", "NULL", "NULL", "'EUR'"],
         &[(1, 0, 100.0, 1)]),
        (["2025-11-01 10:02:00", "begin_checkout", "p1", "s1", "NULL", "NULL", "'EUR'"],
         &[(1, 0, 100.0, 2)]),
        (["2025-11-01 10:03:00", "purchase", "p1", "s1", "NULL", "'T1'", "'EUR'"],
         &[(1, 0, 100.0, 2)]),
        (["2025-11-01 11:00:00", "view_item_list", "p2", "s2", "1", "NULL", "NULL"], shown),
        (["2025-11-01 11:01:00", "view_item", "p2", "s2", "NULL", "NULL", "'EUR'"],
         &[(2, 0, 9.9, 1)]),
        (["2025-11-03 12:00:00", "view_item_list", "p1", "s3", "2", "NULL", "NULL"],
         &[(2, 1, 1.0, 1), (3, 2, 1.0, 1)]),
        (["2025-11-03 12:00:30", "view_item", "p1", "s3", "NULL", "NULL", "'USD'"],
         &[(3, 0, 1234.5, 1)]),
        (["2025-11-03 12:02:00", "purchase", "p1", "s3", "NULL", "'T2'", "'USD'"],
         &[(3, 0, 1234.5, 1)]),
        // The same order under another event id.
        (["2025-11-03 12:03:00", "purchase", "p1", "s3", "NULL", "'T2'", "'USD'"],
         &[(3, 0, 1234.5, 1)]),
        (["2025-11-03 13:00:00", "view_item", "p3", "", "NULL", "NULL", "'EUR'"],
         &[(1, 0, 100.0, 1)]),
    ];
    let mut sql = String::new();
    for (offset, ([time, name, person, session, list, order, currency], items)) in
        events.iter().enumerate()
    {
        // One event is late, and one is dated by a clock that is ahead.
        let delay = match *name {
            _ if *person == "p3" => "2 days",
            "begin_checkout" => "-10 minutes",
            _ => "10 seconds",
        };
        for (ordinal, (product, position, price, quantity)) in (1..).zip(*items) {
            sql.push_str(&format!(
                "INSERT INTO fact_events (event_time, event_name, event_id, user_pseudo_id, \
                 session_id, product_key, list_key, list_position, item_ordinal, price, quantity, \
                 currency, transaction_id, fact_hash, source_topic, source_partition, \
                 source_offset, ingested_at) \
                 VALUES ('{time}Z', '{name}', '{offset}', '{person}', nullif('{session}', ''), \
                 {product}, {list}, nullif({position}, 0), {ordinal}, {price}, {quantity}, \
                 {currency}, {order}, gen_random_uuid(), 'shop-events', 0, {offset}, \
                 '{time}Z'::timestamptz + interval '{delay}');\n"
            ));
        }
    }
    for (offset, reason, day) in [
        (11, "not-json", "2025-11-02"),
        (12, "not-json", "2025-11-02"),
        (13, "<b>reason</b>", "2025-11-20"),
    ] {
        sql.push_str(&format!(
            "INSERT INTO rejected_events (reason, detail, at_path, raw, raw_hash, source_topic, \
             source_partition, source_offset, source_key, ordinal, first_seen) \
             VALUES ('{reason}', 'd', '$', 'x', gen_random_uuid(), 'shop-events', 0, {offset}, 'k{offset}', 0, '{day} 12:00Z');\n"
        ));
    }
    sql + "INSERT INTO sink_offsets (sink, topic, partition, next_offset, records, \
           records_without_rows) VALUES ('sink', 'shop-events', 0, 20, 20, 6);"
}
