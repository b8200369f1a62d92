//! The network between the parts: a namespace for each process, and a router with the faults.
//!
//! This process runs in the router's namespace, which also has the addresses of PostgreSQL and of
//! the SQS endpoint. The node, the sources and the sinks have a namespace each. A fault is a table
//! of nftables in the router, so packets are lost without a trace and the kernels at both ends
//! retransmit, as between machines.

use std::net::Ipv4Addr;
use std::process::Stdio;

use anyhow::{Context, ensure};
use local_stack::Part;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::plan::{Link, Trouble};

/// The address of PostgreSQL.
pub const DATABASE: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 1);
/// The address of the SQS endpoint.
pub const QUEUE: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 2);
/// The addresses of all parts.
pub const SUBNET: &str = "10.98.0.0/16";

/// Creates the namespaces. The folder of their names is in this process's mount namespace, so
/// everything ends with it. Counting starts with the first connection, since `ct bytes` needs it.
const CREATE: &str = "\
    mount -t tmpfs tmpfs /run && mkdir /run/netns
    ip link set lo up
    ip addr add 10.98.0.1/32 dev lo
    ip addr add 10.98.0.2/32 dev lo
    sysctl -qw net.ipv4.ip_forward=1 net.netfilter.nf_conntrack_acct=1
    for n in 1 2 3 4; do
        ip netns add chaos-$n
        ip link add hub-$n type veth peer name part-$n netns chaos-$n
        ip addr add 10.98.$n.1/24 dev hub-$n
        ip link set hub-$n up
        ip -n chaos-$n link set lo up
        ip -n chaos-$n addr add 10.98.$n.2/24 dev part-$n
        ip -n chaos-$n link set part-$n up
        ip -n chaos-$n route add default via 10.98.$n.1
    done";
const HOOKS: [&str; 3] = ["forward", "input", "output"];

/// Creates the namespaces of the parts, from within a network and a mount namespace of its own.
///
/// # Errors
/// A program is missing or refused.
pub async fn create() -> anyhow::Result<()> {
    run("sh", &["-ec", CREATE], "").await?;
    run(
        "nft",
        &["-f", "-"],
        &table("watch", &["ct state new counter"]),
    )
    .await
}

/// Returns the words before a command line that run it in the part's namespace.
pub fn prefix(part: Part) -> Vec<String> {
    let namespace = format!("--net=/run/netns/chaos-{}", number(part));
    vec!["nsenter".to_owned(), namespace]
}

/// Returns the address of a part.
pub fn address(part: Part) -> Ipv4Addr {
    Ipv4Addr::new(10, 98, number(part), 2)
}

/// Begins a fault of a connection.
///
/// # Errors
/// nftables refuses it.
pub async fn begin(link: Link, trouble: Trouble) -> anyhow::Result<()> {
    let (connector, server) = match link {
        Link::SourceQueue => (address(Part::Source), QUEUE),
        Link::SourceNode => (address(Part::Source), address(Part::Node)),
        Link::SinkNode => (address(Part::Sink), address(Part::Node)),
        Link::SinkDatabase => (address(Part::Sink), DATABASE),
        Link::LakeNode => (address(Part::Lake), address(Part::Node)),
        Link::LakeDatabase => (address(Part::Lake), DATABASE),
    };
    let from = format!("ip saddr {connector} ip daddr {server}");
    let to = format!("ip saddr {server} ip daddr {connector}");
    // The router's own resets pass.
    let reset = "tcp flags & rst == 0";
    let rules = match trouble {
        Trouble::BlackHole => vec![format!("{from} drop"), format!("{to} drop")],
        Trouble::LossFromConnector => vec![format!("{from} drop")],
        Trouble::LossToConnector => vec![format!("{to} drop")],
        Trouble::Slow(rate) => [from, to]
            .map(|packets| {
                format!("{packets} limit rate over {rate} bytes/second burst {rate} bytes drop")
            })
            .to_vec(),
        Trouble::Cut(bytes) => [from, to]
            .map(|packets| format!("{packets} {reset} ct bytes > {bytes} reject with tcp reset"))
            .to_vec(),
        Trouble::Refused => [from, to]
            .map(|packets| format!("{packets} {reset} reject with tcp reset"))
            .to_vec(),
    };
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    run("nft", &["-f", "-"], &table(table_name(link), &rules)).await
}

/// Ends the fault of a connection.
///
/// # Errors
/// nftables refuses it.
pub async fn end(link: Link) -> anyhow::Result<()> {
    run("nft", &["delete", "table", "ip", table_name(link)], "").await
}

fn table_name(link: Link) -> &'static str {
    match link {
        Link::SourceQueue => "source-queue",
        Link::SourceNode => "source-node",
        Link::SinkNode => "sink-node",
        Link::SinkDatabase => "sink-database",
        Link::LakeNode => "lake-node",
        Link::LakeDatabase => "lake-database",
    }
}

fn number(part: Part) -> u8 {
    match part {
        Part::Node => 1,
        Part::Source => 2,
        Part::Sink => 3,
        Part::Lake => 4,
    }
}

fn table(name: &str, rules: &[&str]) -> String {
    let rules = rules.join("\n");
    let chains = HOOKS
        .map(|hook| format!("chain {hook} {{\ntype filter hook {hook} priority 0\n{rules}\n}}\n"));
    format!("table ip {name} {{\n{}}}\n", chains.concat())
}

/// Runs a program with `input` until it succeeds.
///
/// # Errors
/// It fails; the error has its output.
pub async fn run(program: &str, arguments: &[&str], input: &str) -> anyhow::Result<()> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await?;
    }
    let output = child.wait_with_output().await?;
    ensure!(
        output.status.success(),
        "{program} {arguments:?} ended with {}: {}\n{input}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
