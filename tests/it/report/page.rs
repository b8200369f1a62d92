//! The page, in a real browser.

use std::path::{Path, PathBuf};

use end_to_end::pypi;
use serde_json::{Value, json};
use tokio::process::Command;

use super::shop::{ARABIC, MARKUP, Shop};

pub fn browser() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser.sh");
    let output = std::process::Command::new(script).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// The contents of each page, after a browser has checked it.
async fn seen(pages: &[PathBuf]) -> Value {
    let output = Command::new(pypi::program("python"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("it/report/look.py"))
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
async fn a_page_shows_the_contents_of_the_tables_and_reads_well() {
    let shop = Shop::open().await;
    shop.run(&["migrate"], 0, &[]).await;
    shop.fill().await;
    let few = ["report", "--min-impressions", "1", "--min-viewers", "1"];
    shop.run(&few, 0, &["/report.html\n"]).await;
    #[rustfmt::skip]
    let last = ["report", "--from", "2025-11-02", "--to", "2025-11-03",
                "--min-impressions", "5", "--out", "last.html"];
    shop.run(&last, 0, &["/last.html\n"]).await;
    #[rustfmt::skip]
    let compared = ["report", "--from", "2025-11-03", "--to", "2025-11-04",
                    "--out", "compared.html"];
    shop.run(&compared, 0, &["/compared.html\n"]).await;
    let pages =
        ["report.html", "last.html", "compared.html"].map(|name| shop.folder.path().join(name));
    let contents = seen(&pages).await;
    let page = &contents[0];
    assert_eq!(page["title"], "Shop report, 1 Nov – 3 Nov 2025");
    assert_eq!(
        page["headline"],
        "There is nothing to compare with yet: the facts don't cover 29 Oct – 31 Oct 2025."
    );
    assert_eq!(
        page["tiles"],
        json!({
            "People": "3", "Sessions": "4", "Bounce rate": "0.25", "Conversion": "0.5",
            "Impressions": "10", "CTR": "0.3", "Orders": "2", "AOV, EUR": "200.00",
            "AOV, USD": "1234.50", "Revenue, EUR": "200", "Revenue, USD": "1234.5",
            "Net revenue, EUR": "200", "Net revenue, USD": "1234.5",
            "New people": "3", "Returning people": "0", "New buyers": "1",
            "Rejected": "2", "Late facts": "1", "Early facts": "1", "Duplicates": "6",
        })
    );
    assert_eq!(
        page["steps"],
        json!([
            ["Saw a list", "3"],
            ["Viewed a product", "3", "1", "1"],
            ["Began checkout", "1", "0.333333", "0.333333"],
            ["Purchased", "1", "1", "0.333333"],
        ])
    );
    let tables = &page["tables"];
    #[rustfmt::skip]
    assert_eq!(
        tables["days"],
        json!([
            ["2025-11-01", "2", "6", "2", "2", "1", "1", "1", "1", "8", "2", "0.25"],
            ["2025-11-02", "0", "0", "0", "0", "0", "0", null, "0", "0", "0", null],
            ["2025-11-03", "2", "5", "1", "2", "0", "1", null, "1", "2", "1", "0.5"],
        ])
    );
    assert_eq!(
        tables["revenue"],
        json!([
            ["2025-11-01", "EUR", "200", "0", "200", "200.00", "1", "2"],
            [
                "2025-11-03",
                "USD",
                "1234.5",
                "0",
                "1234.5",
                "1234.50",
                "1",
                "1"
            ],
        ])
    );
    let nowhere = "no platform";
    assert_eq!(
        tables["platforms"],
        json!([
            [nowhere, "0.5", "0.25", "1234.5", null, "1", "4", "3"],
            [nowhere, "0.5", "0.25", "200", null, "1", "4", "3"],
        ])
    );
    assert_eq!(
        tables["categories"],
        json!([
            ["no category", "1234.5", null, "1", "1", "1234.50"],
            ["no category", "200", null, "1", "2", "200.00"],
        ])
    );
    assert_eq!(
        tables["newcomers"],
        json!([
            ["2025-11-01", "2", "0", "1", "1", "0"],
            ["2025-11-03", "1", "1", "0.5", "0", "1"],
        ])
    );
    assert_eq!(
        tables["lists"],
        json!([
            ["Related", "0.5", "1", "1234.5", "2", "1", "1", "1"],
            [
                "Search <i>results</i>",
                "0.25",
                "1",
                "200",
                "8",
                "2",
                "2",
                "1"
            ],
        ])
    );
    let long = format!("Long {}", "x".repeat(400));
    let brand = "<img src=x onerror=\"document.title='taken'\">";
    assert_eq!(
        tables["products"],
        json!([
            [long, "1", "1234.5", "1", "1", "1", "1", "1", brand],
            [MARKUP, "0.5", "200", "2", "1", "2", "1", "2", brand],
            [ARABIC, "0", null, "1", "0", "1", "0", "0", brand],
        ])
    );
    let shown = &page["shown"]["products"];
    assert_eq!(shown[0][0].as_str().unwrap().chars().next_back(), Some('…'));
    assert_eq!(shown[1][0], MARKUP);
    assert_eq!(shown[1][2], "€200.00");
    assert_eq!(shown[0][2], "$1,234.50");
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
            ["2025-11-01", "2", "0.5", "0", "1", "1", "0", "2"],
            ["2025-11-03", "2", "0.5", "0.5", "0.5", "1", "1", "1"],
        ])
    );
    assert_eq!(
        tables["rejected"],
        json!([
            ["not-json", "2", "2", "2025-11-02"],
            ["<b>reason</b>", "0", "1", "2025-11-20"],
        ])
    );
    assert_eq!(
        tables["duplicates"],
        json!([["shop-events", "0", "20", "14", "6", "0.3"]])
    );
    let people = page["figures"][0].as_str().unwrap();
    assert_eq!(people, "Line chart. People a day: highest 2 on 1 Nov.");
    assert_eq!(
        page["empty"],
        json!(["No view_promotion was sent in these days."])
    );

    // A single day: its lines are points, and empty parts say so.
    let page = &contents[1];
    assert_eq!(page["title"], "Shop report, 2 Nov – 3 Nov 2025");
    assert_eq!(page["tiles"]["Impressions"], "2");
    let empty = page["empty"].to_string();
    for part in [
        "No list showed 5 products",
        "No product was viewed by 10 people",
        "No position of a list showed 5",
    ] {
        assert!(empty.contains(part), "no «{part}» in {empty}");
    }
    assert_eq!(page["changes"], json!({}), "nothing is there before 1 Nov");

    // Two days and the two days before, which lack one currency; so few events can be chance.
    assert_eq!(
        contents[2]["changes"],
        json!({
            "People": "±0.0%", "Sessions": "±0.0%", "Bounce rate": "+50.0 points",
            "Conversion": "±0.0 points", "Impressions": "−75.0%", "CTR": "+25.0 points", "Orders": "±0.0%",
            "New people": "−50.0%", "New buyers": "−100.0%",
        })
    );
    assert_eq!(
        contents[2]["headline"],
        "Compared with the 2 days before, nothing changed by more than chance explains."
    );
}

/// Two weeks up to today, with fewer sales on IOS in the second one, in one currency.
async fn two_weeks(shop: &Shop) {
    let facts = "
        INSERT INTO dim_product (product_key, natural_key, product_id, product_name, product_brand,
                                 product_category)
        OVERRIDING SYSTEM VALUE VALUES
            (1, 'id:1', '1', 'Boots', NULL, 'Shoes'), (2, 'id:2', '2', 'Beret', NULL, 'Hats'),
            (3, E'is:Birch\\x1fCat 6', NULL, NULL, 'Birch', 'Cat 6');
        INSERT INTO dim_list (list_key, natural_key, list_id, list_name)
        OVERRIDING SYSTEM VALUE VALUES
            (1, E'is:\\x1fHome', NULL, 'Home'), (2, 'id:2', 'id-only', NULL);
        INSERT INTO fact_events (event_time, event_name, event_id, user_id, platform, product_key,
            list_key, list_position, item_ordinal, price, quantity, currency, fact_hash, source_topic,
            source_partition, source_offset)
        SELECT analytics.start_of(day) + who * interval '1 second'
                   + step * interval '100 milliseconds',
               (ARRAY['view_item_list', 'view_item', 'purchase'])[step], gen_random_uuid()::text,
               day || platform || who, platform,
               CASE WHEN who = 20 THEN 3 WHEN platform = 'IOS' THEN 1 ELSE 2 END,
               CASE WHEN step = 1 THEN 1 + who % 2 END, CASE WHEN step = 1 THEN 1 END, 1,
               CASE WHEN ago < 8 THEN 9 ELSE 10 END, 1, 'EUR', gen_random_uuid(), 't', 0, 0
        FROM (SELECT analytics.day_of(now()) AS today) t, generate_series(0, 15) AS ago,
             LATERAL (SELECT today - ago AS day) d,
             (VALUES ('ANDROID', 10), ('IOS', 10)) p (platform, buyers),
             generate_series(1, 20) AS who, generate_series(1, 3) AS step
        WHERE step = 1 OR step = 2 AND who <> 19
           OR step = 3 AND who <= CASE WHEN platform = 'IOS' AND ago < 8 THEN 2 ELSE buyers END;
        INSERT INTO fact_events (event_time, event_name, event_id, user_id, platform, product_key,
            item_ordinal, price, quantity, currency, fact_hash, source_topic, source_partition,
            source_offset)
        SELECT event_time + interval '1 minute', 'refund', event_id || 'r', user_id, platform,
               product_key, 1, 10, 1, 'EUR', gen_random_uuid(), 't', 0, 0
        FROM fact_events, (SELECT analytics.day_of(now()) AS today) t
        WHERE event_name = 'purchase' AND analytics.day_of(event_time) = today - 3;";
    shop.client.batch_execute(facts).await.unwrap();
}

#[tokio::test]
async fn an_unfinished_day_is_dashed_and_not_compared() {
    let shop = Shop::open().await;
    shop.run(&["migrate"], 0, &[]).await;
    let zone = [
        "aggregates",
        "configure",
        "--time-zone",
        "America/Mexico_City",
    ];
    shop.run(&zone, 0, &["America/Mexico_City"]).await;
    two_weeks(&shop).await;
    let day = async |ago: i32| -> (String, String) {
        let query = "SELECT to_char(d, 'YYYY-MM-DD'), to_char(d, 'FMDD Mon YYYY') \
                     FROM (SELECT analytics.day_of(now()) - $1::int AS d) d";
        let row = shop.client.query_one(query, &[&ago]).await.unwrap();
        (row.get(0), row.get(1))
    };
    let (today, from, before) = (day(0).await, day(7).await, day(15).await);
    #[rustfmt::skip]
    let args = ["report", "--from", &from.0, "--to", &today.0, "--out", "today.html"];
    shop.run(&args, 0, &["/today.html\n"]).await;
    let with_currency = headline(&shop, &from.0, &today.0, "EUR").await;
    #[rustfmt::skip]
    let args = ["report", "--from", &today.0, "--to", &today.0, "--out", "morning.html"];
    shop.run(&args, 0, &["/morning.html\n"]).await;
    let none = "UPDATE fact_events SET currency = NULL";
    shop.client.batch_execute(none).await.unwrap();
    #[rustfmt::skip]
    let args = ["report", "--from", &before.0, "--to", &today.0, "--out", "none.html"];
    shop.run(&args, 0, &["/none.html\n"]).await;
    let without = headline(&shop, &before.0, &today.0, "no currency").await;
    let some = "UPDATE fact_events SET currency = 'EUR' WHERE platform = 'IOS'";
    shop.client.batch_execute(some).await.unwrap();
    #[rustfmt::skip]
    let args = ["report", "--from", &from.0, "--to", &today.0, "--out", "both.html"];
    shop.run(&args, 0, &["/both.html\n"]).await;

    let pages = ["today.html", "morning.html", "none.html", "both.html"]
        .map(|name| shop.folder.path().join(name));
    let contents = seen(&pages).await;
    let page = &contents[0];
    let headline = page["headline"].as_str().unwrap();
    let parts = [
        "Revenue in EUR fell by 46.0% against ",
        "most of it on IOS (89.1%) and in the category Shoes (89.1%).",
    ];
    assert!(
        parts.iter().all(|part| headline.contains(part)),
        "{headline}"
    );
    let text = page["text"].as_str().unwrap();
    for part in [
        "Days are those of the time zone America/Mexico_City.",
        &format!(
            "{} is not over yet: the numbers include it, the changes don't.",
            today.1
        ),
    ] {
        assert!(text.contains(part), "no «{part}» in {text}");
    }
    let changes = &page["changes"];
    assert_eq!(changes["Orders"], "−40.0%");
    assert_eq!(changes["Conversion"], "−20.0 points");
    assert_eq!(changes["People"], "±0.0%");
    assert_eq!(page["shown"]["platforms"][1][4], "−82.0%");
    assert_eq!(page["dashed"], 10, "a sparkline of each headline number");
    assert_eq!(page["tables"]["products"][2][0], "Birch Cat 6");
    agree(page, &with_currency);

    let page = &contents[1];
    let headline = format!(
        "{} is not over yet: there is no whole day to compare.",
        today.1
    );
    assert_eq!(page["headline"], headline);
    assert_eq!(page["changes"], json!({}));

    let page = &contents[2];
    let headline = page["headline"].as_str().unwrap();
    assert!(headline.starts_with("There is nothing to compare with yet"));
    assert_eq!(page["tiles"]["Revenue, no currency"], "2464");
    assert_eq!(page["figure"]["Revenue, no currency"], "2,464.00");
    assert_eq!(page["heads"]["categories"][1], "Revenue, no currency");
    assert_eq!(page["tables"]["money"][0][0], "no currency");
    assert_eq!(page["tables"]["money"][0][1], "2464");
    agree(page, &without);

    let page = &contents[3];
    assert_eq!(page["heads"]["platforms"][4], "Currency");
    assert_eq!(page["shown"]["platforms"][0][4], "no currency");
    assert_eq!(page["shown"]["platforms"][1][4], "EUR");
}

/// The numbers of the tiles, computed by the functions of the schema `analytics`.
async fn headline(shop: &Shop, from: &str, to: &str, currency: &str) -> Vec<(String, f64)> {
    let query = "
        WITH range AS (SELECT $1::text::date AS from_day, $2::text::date AS to_day)
        SELECT (SELECT count(DISTINCT p.person)
                FROM range, analytics.people(from_day, to_day) p)::float8,
               s.sessions::float8, s.bounce_rate::float8, s.conversion_rate::float8,
               l.impressions::float8, (l.clicks / l.impressions)::float8, r.orders::float8,
               (r.revenue / r.orders)::float8, r.revenue::float8, r.net::float8
        FROM range,
             LATERAL analytics.sessions_by('all', from_day, to_day) s,
             LATERAL (SELECT sum(impressions) AS impressions, sum(clicks) AS clicks
                      FROM analytics.daily_lists(from_day, to_day)) l,
             LATERAL (SELECT sum(orders) AS orders, sum(revenue) AS revenue, sum(net_revenue) AS net
                      FROM analytics.daily_revenue(from_day, to_day) d WHERE d.currency = $3) r";
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&from, &to, &currency];
    let row = shop.client.query_one(query, &params).await.unwrap();
    let names = [
        "People",
        "Sessions",
        "Bounce rate",
        "Conversion",
        "Impressions",
        "CTR",
        "Orders",
        &format!("AOV, {currency}"),
        &format!("Revenue, {currency}"),
        &format!("Net revenue, {currency}"),
    ];
    let names = names.into_iter().map(str::to_owned).enumerate();
    names.map(|(index, name)| (name, row.get(index))).collect()
}

fn agree(page: &Value, headline: &[(String, f64)]) {
    for (name, is) in headline {
        let shown: f64 = page["tiles"][name].as_str().unwrap().parse().unwrap();
        assert!((shown - is).abs() < 0.01, "{name}: {shown} is {is}");
    }
}
