//! The tables on the terminal, and the errors of `etl report`.

use super::shop::Shop;

#[tokio::test]
async fn a_terminal_shows_tables_and_every_error_says_what_to_do() {
    let shop = Shop::open().await;
    shop.run(&["report"], 1, &["`etl migrate`"]).await;
    shop.run(&["migrate"], 0, &[]).await;
    shop.run(&["report"], 1, &["there are no facts yet"]).await;
    shop.fill().await;

    let terminal = ["report", "--terminal", "--min-viewers", "1"];
    let parts = [
        "1 Nov – 3 Nov 2025 (UTC), 18 facts",
        "There is nothing to compare with yet",
        "People                     3",
        "Bounce rate            25.0%",
        "CTR                    30.0%",
        "Net revenue, USD   $1,234.50",
        "Best products by view-to-purchase rate",
        "</script><script>document.title=",
        "100.0%",
        "€200.00",
        "not-json",
    ];
    shop.run(&terminal, 0, &parts).await;
    let (_, output) = shop.etl(&terminal).await;
    assert!(
        !output.contains('\u{202e}'),
        "names don't change the text direction of the terminal"
    );
    shop.run(&["report", "--out", "-"], 0, &["<!doctype html>"])
        .await;

    let early = ["report", "--to", "2020-01-01"];
    let parts = [
        "no facts to 2020-01-01",
        "some from 2025-11-01 to 2025-11-03",
    ];
    shop.run(&early, 1, &parts).await;
    let turned = ["report", "--from", "2025-11-03", "--to", "2025-11-01"];
    shop.run(&turned, 1, &["--from 2025-11-03 is after --to 2025-11-01"])
        .await;
    let wrong = ["report", "--timeout", "1 fortnight"];
    shop.run(&wrong, 1, &["--timeout 1 fortnight: invalid value"])
        .await;
    let lock = "BEGIN; LOCK TABLE fact_events IN ACCESS EXCLUSIVE MODE";
    shop.client.batch_execute(lock).await.unwrap();
    let hasty = ["report", "--timeout", "300ms"];
    shop.run(&hasty, 1, &["raise --timeout (now 300ms)"]).await;
    shop.client.batch_execute("ROLLBACK").await.unwrap();

    let mine = shop.folder.path().join("mine.html");
    std::fs::write(&mine, "<!doctype html>my own").unwrap();
    let out = ["report", "--out", "mine.html"];
    shop.run(&out, 1, &["mine.html exists and is not a report"])
        .await;
    assert_eq!(
        std::fs::read_to_string(&mine).unwrap(),
        "<!doctype html>my own"
    );
    shop.run(
        &["report", "--out", "none/report.html"],
        1,
        &["the folder none does not exist"],
    )
    .await;
    let left: Vec<_> = std::fs::read_dir(shop.folder.path())
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");

    let roles = "CREATE ROLE analyst LOGIN PASSWORD 'word' IN ROLE etl_reader; CREATE ROLE \
        stranger LOGIN PASSWORD 'word'";
    shop.client.batch_execute(roles).await.unwrap();
    let (code, output) = shop.etl_as(&shop.url_of("stranger"), &["report"]).await;
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("GRANT etl_reader TO"), "{output}");
    for _ in 0..2 {
        let (code, output) = shop.etl_as(&shop.url_of("analyst"), &["report"]).await;
        assert_eq!(code, Some(0), "a reader's report, and again: {output}");
    }
}
