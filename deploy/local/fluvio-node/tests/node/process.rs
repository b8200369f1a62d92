//! The node as a process: started, killed, restarted, and refusing to start.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fluvio::config::ConfigFile;
use fluvio::metadata::smartmodule::SmartModuleSpec;
use fluvio::metadata::topic::TopicSpec;
use fluvio::{Fluvio, FluvioClusterConfig};
use fluvio_node::{Node, NodeConfig};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::{Fixture, numbered, producer_with, segment, send, values};
use crate::wasm;

struct Process {
    child: Child,
    sc_addr: SocketAddr,
    profile: PathBuf,
}

impl Process {
    /// Starts the binary on free ports and waits for its line.
    fn start(data_dir: &Path) -> Self {
        let profile = data_dir.join("profile/config");
        let mut child = command(data_dir)
            .arg("--profile")
            .arg(&profile)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.as_mut().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let words: Vec<_> = line.split([' ', ',']).filter(|it| !it.is_empty()).collect();
        assert_eq!(words[..2], ["fluvio-node:", "SC"], "{line}");
        Self {
            child,
            sc_addr: words[2].parse().unwrap(),
            profile,
        }
    }

    /// Connects through the profile, like any other program.
    async fn connect(&self) -> Fluvio {
        let file = ConfigFile::load(Some(self.profile.to_str().unwrap().to_owned())).unwrap();
        assert_eq!(file.config().current_profile_name(), Some("local"));
        let cluster: &FluvioClusterConfig = file.config().current_cluster().unwrap();
        assert_eq!(cluster.endpoint, self.sc_addr.to_string());
        Fluvio::connect_with_config(cluster).await.unwrap()
    }

    fn signal(mut self, signal: Signal) -> std::process::ExitStatus {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

fn command(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fluvio-node"));
    command.args([
        "--sc-addr",
        "127.0.0.1:0",
        "--spu-addr",
        "127.0.0.1:0",
        "--data-dir",
    ]);
    command.arg(data_dir);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_it_keeps_all_that_was_acknowledged() {
    let dir = TempDir::new().unwrap();
    let process = Process::start(dir.path());
    let fluvio = process.connect().await;
    let admin = fluvio.admin().await;
    for topic in ["t", "deleted"] {
        let spec = TopicSpec::new_computed(2, 1, None);
        admin.create(topic.to_owned(), false, spec).await.unwrap();
    }
    admin.delete::<TopicSpec>("deleted").await.unwrap();
    let spec = wasm::spec(&wasm::identity());
    admin
        .create("group/odd name@1".to_owned(), false, spec)
        .await
        .unwrap();

    let producer = producer_with(&fluvio, "t", |config| {
        config.set_specific_partitioner(1);
    })
    .await;
    for round in 0..10 {
        let sent = numbered(&format!("r{round}"), 100);
        assert_eq!(send(&producer, &sent).await, round * 100);
    }
    drop((producer, admin, fluvio));
    let status = process.signal(Signal::SIGKILL);
    assert!(!status.success());

    // A write that was interrupted by the kill.
    let log = segment(dir.path(), "t", 1);
    let mut bytes = std::fs::read(&log).unwrap();
    let whole = bytes.len();
    let torn = bytes[..whole / 20].to_vec();
    bytes.extend(torn);
    std::fs::write(&log, bytes).unwrap();

    let process = Process::start(dir.path());
    let fluvio = process.connect().await;
    let admin = fluvio.admin().await;
    let topics = admin.all::<TopicSpec>().await.unwrap();
    assert_eq!(topics.len(), 1);
    assert_eq!(
        (topics[0].name.as_str(), topics[0].spec.partitions()),
        ("t", 2)
    );
    let smartmodules = admin.all::<SmartModuleSpec>().await.unwrap();
    assert_eq!(smartmodules[0].name, "group/odd name@1");
    assert_eq!(smartmodules[0].spec, wasm::spec(&wasm::identity()));
    assert_eq!(std::fs::metadata(&log).unwrap().len(), whole as u64);

    let producer = producer_with(&fluvio, "t", |config| {
        config.set_specific_partitioner(1);
    })
    .await;
    assert_eq!(send(&producer, &numbered("after", 1)).await, 1000);
    drop((producer, admin, fluvio));

    // A clean stop. The rest is read in this process.
    assert!(process.signal(Signal::SIGTERM).success());
    let fixture = Fixture::start_in(dir).await;
    let batches = fixture.batches("t", 1, 0, 11).await;
    for (round, batch) in batches.iter().take(10).enumerate() {
        assert_eq!(values(batch), numbered(&format!("r{round}"), 100));
    }
    assert_eq!(values(&batches[10]), ["after-0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_no_crash_can_do_is_not_cut_off() {
    let fixture = Fixture::start().await;
    let mut spec = TopicSpec::new_computed(1, 1, None);
    spec.set_storage(fluvio::metadata::topic::TopicStorageConfig {
        segment_size: Some(2000),
        max_partition_size: None,
    });
    fixture
        .admin
        .create("t".to_owned(), false, spec)
        .await
        .unwrap();
    let producer = fixture.producer("t", 0).await;
    for _ in 0..10 {
        send(&producer, &["x".repeat(500)]).await;
    }
    drop((producer, fixture.admin, fixture.fluvio));
    fixture.node.stop().await.unwrap();

    let log = segment(fixture.dir.path(), "t", 0);
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[3] = 1;
    std::fs::write(&log, &bytes).unwrap();
    let refused = Node::start(NodeConfig::on_free_ports(fixture.dir.path())).await;
    let reason = format!("{:#}", refused.unwrap_err());
    assert!(reason.contains("damaged at byte 0"), "{reason}");
    assert_eq!(std::fs::read(&log).unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_why_it_does_not_start() {
    let dir = TempDir::new().unwrap();
    let running = Process::start(dir.path());
    let fresh = TempDir::new().unwrap();
    let file = fresh.path().join("file");
    std::fs::write(&file, "").unwrap();

    let refusals = [
        (command(dir.path()), "in use by another node"),
        (command(&file), "can't use the data folder"),
        (
            {
                let mut command = Command::new(env!("CARGO_BIN_EXE_fluvio-node"));
                let sc = running.sc_addr.to_string();
                command.args(["--sc-addr", &sc, "--spu-addr", "127.0.0.1:0", "--data-dir"]);
                command.arg(fresh.path());
                command
            },
            "can't listen on",
        ),
        (
            {
                let mut command = command(fresh.path());
                command.arg("--profile").arg(file.join("profile"));
                command
            },
            "can't write the Fluvio profile",
        ),
    ];
    for (mut command, reason) in refusals {
        let mut child = command
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        assert!(!child.wait().unwrap().success());
        let (mut stderr, mut out) = (String::new(), String::new());
        child.stderr.unwrap().read_to_string(&mut stderr).unwrap();
        child.stdout.unwrap().read_to_string(&mut out).unwrap();
        assert!(
            stderr.starts_with("error: ") && stderr.contains(reason),
            "{stderr}"
        );
        assert!(out.is_empty(), "{out}");
    }
    assert!(running.signal(Signal::SIGINT).success());
}
