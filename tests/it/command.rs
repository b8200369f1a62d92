//! The `etl` command: demo, up, send, status and flatten.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use end_to_end::{cli, pypi, shop};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};

const LIMIT: Duration = Duration::from_secs(120);

fn etl() -> Command {
    let mut command = cli::command().unwrap();
    for name in ["DATABASE_URL", "QUEUE_URL", "FLV_PROFILE_PATH"] {
        command.env_remove(name);
    }
    command
}

async fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let output = tokio::time::timeout(LIMIT, command.output())
        .await
        .expect("the command ends")
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Starts `etl`, and returns it with the rest of its log after the first line that is `awaited`.
async fn started(
    arguments: &[&str],
    awaited: impl Fn(&str) -> bool,
) -> (Child, BufReader<ChildStderr>) {
    let mut child = etl()
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut lines = (&mut log).lines();
    while let Some(line) = tokio::time::timeout(LIMIT, lines.next_line())
        .await
        .unwrap()
        .unwrap()
    {
        if awaited(&line) {
            break;
        }
    }
    (child, log)
}

/// The descendants of a process, from /proc.
fn descendants(of: u32) -> Vec<u32> {
    let processes: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
            let parent = status
                .lines()
                .find_map(|line| line.strip_prefix("PPid:"))?
                .trim()
                .parse()
                .ok()?;
            Some((pid, parent))
        })
        .collect();
    let mut found = vec![of];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(
            processes
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    found.split_off(1)
}

fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/status"))
        .is_ok_and(|status| !status.contains("State:\tZ"))
}

async fn all_gone(pids: &[u32]) {
    for _ in 0..600 {
        if pids.iter().all(|pid| !alive(*pid)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!(
        "still there: {:?}",
        pids.iter().filter(|pid| alive(**pid)).collect::<Vec<_>>()
    );
}

fn send(child: &Child, signal: Signal) {
    kill(
        Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()),
        signal,
    )
    .unwrap();
}

#[tokio::test]
async fn a_demo_adds_up() {
    let list = "El Buen Fin";
    for format in [None, Some(["--format", "ga4"])] {
        let folder = tempfile::tempdir().unwrap();
        let mut demo = etl();
        demo.args(["demo", "--events", "4000"])
            .args(format.into_iter().flatten());
        let (code, stdout, stderr) = run(demo.current_dir(folder.path())).await;
        assert_eq!(code, Some(0), "{stdout}{stderr}");
        for part in [
            "The counts add up",
            "events/s",
            "All were sent at once: half were in the tables",
            "Top lists by engagement rate",
            "Best products by view-to-purchase rate",
            list,
        ] {
            assert!(stdout.contains(part), "no «{part}» in\n{stdout}");
        }
        let products = stdout.matches(" prod_01J").count();
        assert!(
            products > 3,
            "products that enough people viewed:\n{stdout}"
        );
        let last = stdout.lines().next_back().unwrap();
        let report = last.strip_prefix("Report: ").expect(last);
        let page = std::fs::read_to_string(report).unwrap();
        assert!(page.contains(list));
        let report = std::path::Path::new(report).file_name().unwrap();
        assert_eq!(report, "etl-demo-report.html");
    }
}

#[tokio::test]
async fn a_demo_sends_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.jsonl");
    let bodies = shop::bodies(31, 400);
    std::fs::write(&file, bodies.join("\n")).unwrap();
    let demo = ["demo", "--report", "mine.html", "--input"];
    let (code, stdout, stderr) = run(etl().args(demo).arg(&file).current_dir(folder.path())).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stdout.contains("The counts add up"), "{stdout}");
    assert!(stdout.ends_with("/mine.html\n"), "{stdout}");
}

/// The folder of installed extensions in a home of DuckDB, with those that PyPI has.
async fn install_extensions(home: &Path) {
    let script = "import duckdb, importlib.util, pathlib, shutil, sys
platform = duckdb.sql('PRAGMA platform').fetchone()[0]
to = pathlib.Path(sys.argv[1], '.duckdb/extensions', 'v' + duckdb.__version__, platform)
to.mkdir(parents=True)
for name in ('avro', 'iceberg'):
    package = pathlib.Path(importlib.util.find_spec('duckdb_extension_' + name).origin).parent
    shutil.copy(next(package.rglob(name + '.duckdb_extension')), to)";
    let mut python = Command::new(pypi::program("python3"));
    let (code, _, stderr) = run(python.args(["-c", script]).arg(home)).await;
    assert_eq!(code, Some(0), "{stderr}");
}

#[tokio::test]
async fn the_lake_of_a_demo_can_be_asked_when_the_demo_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let demo = ["demo", "--events", "400", "--lake", "it's a lake"];
    let (code, stdout, stderr) = run(etl().args(demo).current_dir(folder.path())).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stdout.contains("The lake has the same facts"), "{stdout}");
    let (_, commands) = stdout
        .split_once("pip install duckdb==1.5.5\n")
        .expect(&stdout);

    install_extensions(folder.path()).await;
    let bin = pypi::program("python3").parent().unwrap().to_owned();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-c", commands]).env("PATH", path);
    let (code, answer, stderr) = run(shell.env("HOME", folder.path())).await;
    assert_eq!(code, Some(0), "{answer}{stderr}");
    assert!(answer.contains("view_item_list"), "{answer}");

    // The catalog of these tables is gone, so another demo does not write over them.
    let (code, _, stderr) = run(etl().args(demo).current_dir(folder.path())).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains("or name another folder: `--lake DIR`"),
        "{stderr}"
    );
}

#[tokio::test]
async fn a_demo_of_a_missing_file_fails() {
    let (code, _, stderr) = run(etl().args(["demo", "--input", "/nowhere/mine.jsonl"])).await;
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("cannot open /nowhere/mine.jsonl"),
        "{stderr}"
    );
}

#[tokio::test]
async fn ctrl_c_in_a_demo_leaves_nothing_running() {
    let (mut demo, _log) = started(&["demo", "--events", "1000000"], |line| {
        line.starts_with("records in tables:") && !line.contains(": 0 of")
    })
    .await;
    let pids = descendants(demo.id().unwrap());
    assert!(
        pids.len() >= 4,
        "PostgreSQL, node and both connectors run: {pids:?}"
    );
    send(&demo, Signal::SIGINT);
    let status = tokio::time::timeout(LIMIT, demo.wait())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.code(), Some(130));
    all_gone(&pids).await;
}

#[tokio::test]
async fn a_demo_that_is_killed_leaves_nothing_running() {
    let (mut demo, _log) = started(&["demo", "--events", "1000000"], |line| {
        line.starts_with("messages sent:")
    })
    .await;
    let pids = descendants(demo.id().unwrap());
    send(&demo, Signal::SIGKILL);
    demo.wait().await.unwrap();
    all_gone(&pids).await;
}

#[tokio::test]
async fn a_demo_without_messages_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.jsonl");
    let empty = folder.path().join("empty.jsonl");
    std::fs::write(&empty, "\n\n").unwrap();
    for (file, reason) in [
        (missing, "cannot open"),
        (empty, "empty.jsonl has no lines"),
    ] {
        let (code, _, stderr) = run(etl().args(["demo", "--input"]).arg(file)).await;
        assert_eq!(code, Some(1), "{stderr}");
        assert!(
            stderr.contains(reason) && !stderr.contains("starting"),
            "{stderr}"
        );
    }
}

#[tokio::test]
async fn up_send_and_status_work_together() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(
        folder.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let file = folder.path().join("mine.jsonl");
    std::fs::write(&file, shop::bodies(32, 300).join("\n")).unwrap();

    let mut up = etl()
        .arg("up")
        .arg("--data-dir")
        .arg(folder.path().join("data"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(up.stdout.take().unwrap()).lines();
    let mut environment = Vec::new();
    let mut path = None;
    while let Some(line) = tokio::time::timeout(LIMIT, lines.next_line())
        .await
        .unwrap()
        .unwrap()
    {
        if let Some((name, value)) = line
            .strip_prefix("export ")
            .and_then(|line| line.split_once('='))
        {
            if name == "PATH" {
                path = Some(value.to_owned());
                continue;
            }
            environment.push((name.to_owned(), value.trim_matches('\'').to_owned()));
        } else {
            break;
        }
    }
    let program = etl().as_std().get_program().to_owned();
    let programs = Path::new(&program).parent().unwrap();
    assert_eq!(path, Some(format!("'{}':\"$PATH\"", programs.display())));
    let (code, stdout, stderr) = run(etl().arg("send").arg(&file).envs(environment.clone())).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("300 messages sent"), "{stdout}");
    assert_eq!(stderr, "", "a pipe gets no progress of a short command");
    let too_large = folder.path().join("too-large.jsonl");
    std::fs::write(&too_large, format!("\n{}\n", "x".repeat(1_100_000))).unwrap();
    let (code, _, stderr) = run(etl().arg("send").arg(&too_large).envs(environment.clone())).await;
    assert_eq!(code, Some(1));
    assert_eq!(
        stderr,
        "error: line 2 has 1,100,000 bytes; SQS takes up to 1,048,576. Nothing was sent.\n"
    );

    let mut shown = String::new();
    for _ in 0..300 {
        let (code, stdout, stderr) = run(etl().arg("status").envs(environment.clone())).await;
        assert_eq!(code, Some(0), "{stdout}{stderr}");
        if stdout.contains("0 waiting, 0 in flight") && stdout.contains("300 records committed") {
            return stop(up).await;
        }
        shown = stdout;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the messages did not arrive:\n{shown}");
}

async fn stop(mut up: Child) {
    let pids = descendants(up.id().unwrap());
    send(&up, Signal::SIGINT);
    let status = tokio::time::timeout(LIMIT, up.wait())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.code(), Some(0));
    all_gone(&pids).await;
}

#[tokio::test]
async fn up_ends_with_the_reason_if_its_database_is_killed() {
    let (mut up, mut stderr) = started(&["up"], |line| line.starts_with("Running")).await;
    let pids = descendants(up.id().unwrap());
    let name = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    // Its children come after it.
    let postgres = pids.iter().find(|pid| name(**pid).trim() == "postgres");
    let postgres = i32::try_from(*postgres.unwrap()).unwrap();
    kill(Pid::from_raw(postgres), Signal::SIGKILL).unwrap();
    let mut text = String::new();
    let ended = async {
        stderr.read_to_string(&mut text).await.unwrap();
        up.wait().await.unwrap().code()
    };
    let code = tokio::time::timeout(LIMIT, ended).await.unwrap();
    assert_eq!(code, Some(1), "{text}");
    for part in ["PostgreSQL ended (signal: 9", "run the command again"] {
        assert!(text.contains(part), "no «{part}» in {text}");
    }
    all_gone(&pids).await;
}

#[tokio::test]
async fn status_names_unreachable_parts() {
    let folder = tempfile::tempdir().unwrap();
    let (code, stdout, _) = run(etl()
        .arg("status")
        .env(
            "DATABASE_URL",
            "postgres://nobody:secret-word@127.0.0.1:1/none",
        )
        .env("FLV_PROFILE_PATH", folder.path().join("none")))
    .await;
    assert_eq!(code, Some(1));
    assert!(
        stdout.contains("cannot connect to the database at 127.0.0.1:1: ")
            && stdout.contains("is it running?")
            && !stdout.contains("secret-word"),
        "{stdout}"
    );
    assert!(stdout.contains("use --queue-url or QUEUE_URL"), "{stdout}");
}

#[tokio::test]
async fn the_output_of_a_pipe_is_plain() {
    let mut version = etl()
        .arg("--version")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    version
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .await
        .unwrap();
    assert!(
        text.starts_with("etl 0.") && !text.contains('\u{1b}'),
        "{text}"
    );
}

#[tokio::test]
async fn flatten_shows_facts_and_the_place_of_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bodies.jsonl");
    let good = r#"{"event_name":"view_item","event_timestamp":1767225600000,"items":[{"item_id":"A","price":"1.234,56"}]}"#;
    let bad =
        r#"{"event_name":"view_item","event_timestamp":1767225600000,"items":"[{'item_id' 'B'}]"}"#;
    std::fs::write(&file, good).unwrap();
    let (code, stdout, stderr) = run(etl().args(["flatten", "--json"]).arg(&file)).await;
    assert_eq!(code, Some(0), "{stderr}");
    let fact: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(fact["product_id"], "A");
    assert_eq!(fact["price"], "1234.56");

    std::fs::write(&file, format!("{good}\n{bad}\n")).unwrap();
    let (code, stdout, _) = run(etl().args(["flatten", "--lines", "--json"]).arg(&file)).await;
    assert_eq!(code, Some(1), "a body was rejected");
    let lines: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "{stdout}");
    assert_eq!(lines[1]["rejected"]["reason"], "bad-items");
    assert!(
        lines[1]["rejected"]["at"]
            .as_str()
            .unwrap()
            .contains("items")
    );

    let (code, stdout, stderr) = run(etl().args(["flatten", "--lines"]).arg(&file)).await;
    assert_eq!(code, Some(1));
    let output = stdout + &stderr;
    let marked = output.lines().any(|line| line.trim() == "^");
    assert!(
        output.contains("bad-items") && marked,
        "the place is marked:\n{output}"
    );
}

#[tokio::test]
async fn flatten_explains_a_path_and_applies_a_plan() {
    let folder = tempfile::tempdir().unwrap();
    let [body, plan] = ["body.json", "plan.json"].map(|name| folder.path().join(name));
    let event = r#"{"event_name":"purchase","event_timestamp":1767225600000,"platform":"ios"}"#;
    std::fs::write(&body, serde_json::to_string(event).unwrap()).unwrap();
    std::fs::write(
        &plan,
        r#"{"events":{"purchase":{"required":["currency"]}}}"#,
    )
    .unwrap();
    let flatten = |arguments: &[&str]| {
        let mut flatten = etl();
        flatten.arg("flatten").args(arguments).arg(&body);
        flatten
    };
    let with_plan = ["--plan", plan.to_str().unwrap()];

    let (code, stdout, stderr) = run(flatten(&["--explain"]).args(with_plan)).await;
    assert_eq!(code, Some(0), "{stderr}");
    for line in [
        "envelope  a JSON string\n",
        "format    an event as a JSON object\n",
        "value     platform: \"ios\" becomes IOS\n",
        "plan: currency: required",
    ] {
        assert!(stdout.contains(line), "no «{line}» in\n{stdout}");
    }

    let (code, stdout, stderr) = run(flatten(&["--explain", "--json"]).args(with_plan)).await;
    assert_eq!(code, Some(0), "{stderr}");
    let lines: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "{stdout}");
    let first = json!({"step": "envelope", "detail": "a JSON string"});
    assert_eq!(lines[0]["path"][0], first);
    assert_eq!(lines[1]["extra"]["plan"], json!(["currency: required"]));

    std::fs::write(&plan, r#"{"other-events":"reject"}"#).unwrap();
    let (code, stdout, _) = run(flatten(&["--json"]).args(with_plan)).await;
    assert_eq!(code, Some(1));
    let rejected: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(rejected["rejected"]["reason"], "tracking-plan");

    std::fs::write(&plan, r#"{"event":{}}"#).unwrap();
    let (code, _, stderr) = run(flatten(&[]).args(with_plan)).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("unknown field `event`"), "{stderr}");
}

/// Removes the hash, and converts every number to a float, so that 899 and 899.0 are equal.
fn comparable(value: &mut Value) {
    match value {
        Value::Number(number) => *value = number.as_f64().into(),
        Value::Array(values) => values.iter_mut().for_each(comparable),
        Value::Object(values) => {
            values.remove("fact_hash");
            values.values_mut().for_each(comparable);
        }
        _ => {}
    }
}

#[tokio::test]
async fn flatten_shows_the_facts_of_every_sample_of_the_queue() {
    let samples =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../smartmodules/fact-model/tests/samples");
    let mut flatten = etl();
    flatten.args(["flatten", "--lines", "--json"]);
    let (code, stdout, stderr) = run(flatten.arg(samples.join("queue.jsonl"))).await;
    assert_eq!(code, Some(1), "two of them are rejected: {stderr}");
    let mut shown = stdout.lines();

    let expected = std::fs::read_to_string(samples.join("queue.expected.jsonl")).unwrap();
    for line in expected.lines() {
        let expected: Value = serde_json::from_str(line).unwrap();
        let mut next = || serde_json::from_str::<Value>(shown.next().expect(line)).unwrap();
        let case = &expected["case"];
        if let Some(reason) = expected["rejected"].as_str() {
            let rejected = &next()["rejected"];
            assert_eq!(
                (&rejected["reason"], &rejected["at"]),
                (&json!(reason), &json!("$.items"))
            );
            continue;
        }
        for fact in expected["facts"].as_array().unwrap() {
            let (mut fact, mut shown) = (fact.clone(), next());
            comparable(&mut fact);
            comparable(&mut shown);
            assert_eq!(shown, fact, "{case}");
        }
    }
    assert_eq!(shown.next(), None);
}
