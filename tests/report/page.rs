//! The page, in a real browser.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::pypi;
use crate::shop::{ARABIC, MARKUP, Shop};

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
    let output = Command::new(pypi::program("python"))
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
            "People": "3", "Events": "11", "Sessions": "4", "Conversion": "0.5", "Orders": "2",
            "Revenue, EUR": "200", "Revenue, USD": "1234.5",
            "Rejected": "2", "Late facts": "1", "Early facts": "1", "Duplicates": "6",
        })
    );
    assert_eq!(
        said["steps"],
        json!([
            ["Saw a list", "2", "10"],
            ["Viewed a product", "3", "1.5", "1.5", "4"],
            ["Began checkout", "1", "0.333333", "0.5", "1"],
            ["Purchased", "1", "1", "0.5", "2"],
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
            ["2026-11-03", "2", "1", "1", "0.5", "0.5"],
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
            "People": "±0.0%", "Events": "−16.7%", "Sessions": "±0.0%", "Conversion": "±0.0 points", "Orders": "±0.0%",
        })
    );
}
