//! `etl report --serve`: its responses, its shared computations, and its page in a browser.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use end_to_end::{cli, found, pypi};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::page::browser;
use super::shop::Shop;

const LIMIT: Duration = Duration::from_secs(30);

/// A running `etl report --serve 0`.
struct Served {
    process: Child,
    url: String,
}

/// The status, the header lines in lower case, and the body.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Served {
    async fn start(url: &str, args: &[&str]) -> Self {
        let mut process = cli::command()
            .unwrap()
            .args([
                "report",
                "--serve",
                "0",
                "--min-impressions",
                "1",
                "--min-viewers",
                "1",
            ])
            .args(args)
            .env("DATABASE_URL", url)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(LIMIT, lines.next_line())
            .await
            .unwrap();
        let url = line.unwrap().expect("the server prints its URL");
        Self { process, url }
    }

    fn address(&self) -> &str {
        self.url
            .strip_prefix("http://")
            .unwrap()
            .trim_end_matches('/')
    }

    /// Sends a request and returns its connection, so that a test can hang up.
    async fn ask(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address()).await.unwrap();
        let text = format!("{request}\r\nConnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn answer(&self, request: &str) -> Answer {
        let mut stream = self.ask(request).await;
        let mut text = String::new();
        tokio::time::timeout(LIMIT, stream.read_to_string(&mut text))
            .await
            .unwrap()
            .unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_lowercase(),
            body: body.to_owned(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.answer(&format!("GET {path} HTTP/1.1\r\nHost: {}", self.address()))
            .await
    }

    /// Ends it as Ctrl-C does. Returns the exit code and the time it took.
    async fn interrupt(mut self) -> (Option<i32>, Duration) {
        let began = Instant::now();
        let process = Pid::from_raw(self.process.id().unwrap().cast_signed());
        kill(process, Signal::SIGINT).unwrap();
        let status = tokio::time::timeout(LIMIT, self.process.wait())
            .await
            .unwrap()
            .unwrap();
        (status.code(), began.elapsed())
    }
}

async fn filled() -> Shop {
    let shop = Shop::open().await;
    shop.run(&["migrate"], 0, &[]).await;
    shop.fill().await;
    shop
}

/// The number of running queries of `etl`.
async fn running(shop: &Shop) -> i64 {
    let count =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'etl' AND state = 'active'";
    shop.client.query_one(count, &[]).await.unwrap().get(0)
}

async fn until_running(shop: &Shop, wanted: i64) {
    let began = Instant::now();
    while running(shop).await != wanted {
        assert!(
            began.elapsed() < LIMIT,
            "{} queries run, not {wanted}",
            running(shop).await
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

const LOCK: &str = "BEGIN; LOCK TABLE fact_events IN ACCESS EXCLUSIVE MODE";

#[tokio::test]
async fn a_server_only_reads_and_only_for_its_own_pages() {
    let shop = filled().await;
    let analyst = "CREATE ROLE analyst LOGIN PASSWORD 'word' IN ROLE etl_reader";
    shop.client.batch_execute(analyst).await.unwrap();
    let served = Served::start(&shop.url_of("analyst"), &[]).await;

    let page = served.get("/").await;
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.body.contains("1 Nov – 3 Nov 2025"), "{}", page.body);
    for line in [
        "cache-control: no-store",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
    ] {
        assert!(page.head.contains(line), "no «{line}» in {}", page.head);
    }
    assert!(!page.head.contains("set-cookie"), "{}", page.head);
    let nonce = |answer: &Answer| {
        let (_, rest) = answer.head.split_once("'nonce-").unwrap();
        rest.split_once('\'').unwrap().0.to_owned()
    };
    let again = served.get("/").await;
    assert_ne!(nonce(&page), nonce(&again), "a nonce is for one response");
    assert!(
        again
            .body
            .contains(&format!("<script nonce=\"{}\"", nonce(&again)))
    );

    let days = served.get("/?from=2025-11-02&to=2025-11-03").await;
    assert!(days.body.contains("<h1>2 Nov – 3 Nov 2025</h1>"));
    let open = served.get("/?from=2025-11-03&to=").await;
    assert!(open.body.contains("<h1>3 Nov 2025</h1>"));
    let none = served.get("/?from=2020-01-01&to=2020-01-02").await;
    assert!(none.status == 200 && none.body.contains("some from 2025-11-01 to 2025-11-03"));
    for (query, message) in [
        (
            "from=2025-11-03&to=2025-11-01",
            "the first day, 2025-11-03, is after the last one",
        ),
        ("from=3.11.2025", "a day is written YYYY-MM-DD"),
        ("range=%3Cscript%3E", "unknown range"),
    ] {
        let refused = served.get(&format!("/?{query}")).await;
        assert!(
            refused.status == 400 && refused.body.contains(message),
            "{query}: {refused:?}"
        );
    }
    assert_eq!(served.get("/etc/passwd").await.status, 404);

    let sample: Value = serde_json::from_str(&served.get("/live.json").await.body).unwrap();
    assert_eq!(sample["time_zone"], "UTC");
    assert_eq!(sample["events"].as_array().unwrap().len(), 10);
    assert_eq!(sample["events"][0]["name"], "view_item");
    assert_eq!(sample["events"][0]["at"], "2025-11-03T13:00:00Z");
    assert_eq!(sample["events"][4]["list"], "Related");
    assert_eq!(sample["events"][4]["items"], 2);

    let host = served.address().to_owned();
    let head = served
        .answer(&format!("HEAD / HTTP/1.1\r\nHost: {host}"))
        .await;
    assert!(head.status == 200 && head.body.is_empty(), "{head:?}");
    let post = served
        .answer(&format!(
            "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0"
        ))
        .await;
    assert_eq!(post.status, 405);
    let rebound = served
        .answer("GET /live.json HTTP/1.1\r\nHost: evil.example")
        .await;
    assert!(
        rebound.status == 403 && !rebound.body.contains("view_item"),
        "{rebound:?}"
    );

    // A function that writes stands for any write.
    let writes = "CREATE OR REPLACE FUNCTION analytics.time_zone() RETURNS text LANGUAGE plpgsql \
        SECURITY DEFINER AS $$ BEGIN INSERT INTO analytics.touched_hours VALUES (now()); RETURN \
        'UTC'; END $$";
    shop.client.batch_execute(writes).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let written = served.get("/live.json").await;
    assert!(
        written.status == 503 && written.body.contains("read-only transaction"),
        "{written:?}"
    );

    let (code, took) = served.interrupt().await;
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn viewers_share_a_computation_that_ends_with_the_last_of_them() {
    let shop = filled().await;
    let served = Served::start(&shop.server.url(), &[]).await;
    let locker = found::connect(&shop.server.url()).await.unwrap();
    locker.batch_execute(LOCK).await.unwrap();

    let request = format!("GET /page HTTP/1.1\r\nHost: {}", served.address());
    let mut viewers = Vec::new();
    for _ in 0..10 {
        viewers.push(served.ask(&request).await);
    }
    until_running(&shop, 1).await;
    viewers.truncate(1);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(running(&shop).await, 1, "one viewer is left");
    viewers.clear();
    until_running(&shop, 0).await;

    // A navigation is answered with a page that waits while the computation continues.
    let began = Instant::now();
    let waiting = served.get("/").await;
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    assert!(
        waiting.body.contains("They appear here by themselves"),
        "{}",
        waiting.body
    );
    assert_eq!(running(&shop).await, 1);
    let (page, _) = tokio::join!(served.get("/page"), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        locker.batch_execute("ROLLBACK").await.unwrap();
    });
    assert!(page.body.contains("1 Nov – 3 Nov 2025"));

    // Ctrl-C does not wait for a query, and the server stops the query.
    locker.batch_execute(LOCK).await.unwrap();
    let _viewer = served
        .ask(&request.replace("/page", "/page?range=90-days&x"))
        .await;
    until_running(&shop, 1).await;
    let (code, took) = served.interrupt().await;
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(3), "{took:?}");
    until_running(&shop, 0).await;
}

#[tokio::test]
async fn a_server_that_cannot_start_says_how_to_fix_it() {
    let shop = Shop::open().await;
    shop.run(&["report", "--serve", "0"], 1, &["`etl migrate`"])
        .await;
    shop.run(&["migrate"], 0, &[]).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let parts = ["cannot serve at", "in use", "port 0 for any free port"];
    shop.run(&["report", "--serve", &address], 1, &parts).await;
    let parts = ["expected a port such as 8080"];
    shop.run(&["report", "--serve", "http://localhost"], 2, &parts)
        .await;
    let both = ["report", "--serve", "0", "--from", "2025-11-01"];
    shop.run(&both, 2, &["cannot be used with"]).await;
    let stranger = "CREATE ROLE stranger LOGIN PASSWORD 'word'";
    shop.client.batch_execute(stranger).await.unwrap();
    let (code, output) = shop
        .etl_as(&shop.url_of("stranger"), &["report", "--serve", "0"])
        .await;
    assert!(
        code == Some(1) && output.contains("GRANT etl_reader TO"),
        "{output}"
    );
    let nowhere = "postgres://etl:secret-word@127.0.0.1:1/etl";
    let (code, output) = shop.etl_as(nowhere, &["report", "--serve", "0"]).await;
    assert!(
        code == Some(1) && output.contains("cannot connect to the database"),
        "{output}"
    );
    assert!(!output.contains("secret-word"), "{output}");
}

#[tokio::test]
async fn a_browser_sees_a_page_that_keeps_itself_up_to_date() {
    let shop = Shop::open().await;
    shop.run(&["migrate"], 0, &[]).await;
    let served = Served::start(&shop.server.url(), &[]).await;
    let mut looking = Command::new(pypi::program("python"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("it/report/live.py"))
        .arg(browser())
        .arg(&served.url)
        .env("DATABASE_URL", shop.server.url())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(looking.stdout.take().unwrap()).lines();
    // The page waits for facts before there are any.
    if lines.next_line().await.unwrap().as_deref() == Some("waiting") {
        shop.fill().await;
    }
    let output = looking.wait_with_output().await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}
