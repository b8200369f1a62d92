//! The tables on the terminal, and what is said where there can be no report.

use crate::shop::Shop;

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
        "Conversion         50.0%",
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
