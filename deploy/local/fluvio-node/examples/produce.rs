//! Measures the node's cost beyond the protocol: produces to a node over a plain socket, and sends
//! the same bytes to a server that discards them. `bench/` runs it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fluvio::metadata::topic::TopicSpec;
use fluvio::{Fluvio, FluvioClusterConfig};
use fluvio_node::{Node, NodeConfig};
use fluvio_protocol::Encoder;
use fluvio_protocol::api::RequestMessage;
use fluvio_protocol::record::{Batch, RawRecords, Record, RecordSet};
use fluvio_spu_schema::produce::{DefaultProduceRequest, PartitionProduceData, TopicProduceData};
use nix::sys::resource::{UsageWho, getrusage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const TOPIC: &str = "records";
/// The sizes that the product's source sends.
const RECORD_BYTES: usize = 1_300;
const BATCH_RECORDS: usize = 400;
const BATCHES: usize = 500;
/// Requests in flight.
const WINDOW: usize = 4;
/// The tag of `ErrorCode::None`.
const NO_ERROR: [u8; 2] = [0; 2];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let request = request()?;
    let folder = tempfile::tempdir()?;
    let node = Node::start(NodeConfig::on_free_ports(folder.path())).await?;
    let fluvio =
        Fluvio::connect_with_config(&FluvioClusterConfig::new(node.sc_addr().to_string())).await?;
    let spec = TopicSpec::new_computed(1, 1, None);
    fluvio
        .admin()
        .await
        .create(TOPIC.to_owned(), false, spec)
        .await?;
    let answer = produce(node.spu_addr(), &request, 1).await?.answer;

    let bare = TcpListener::bind("127.0.0.1:0").await?;
    let bare_addr = bare.local_addr()?;
    tokio::spawn(take_and_answer(bare, answer));
    for (name, addr) in [("bare", bare_addr), ("node", node.spu_addr())] {
        let produced = produce(addr, &request, BATCHES).await?;
        let records = (BATCHES * BATCH_RECORDS) as f64;
        println!(
            "{name}: {} records/s, {} us of CPU a record",
            records / produced.taken.as_secs_f64(),
            produced.cpu.as_secs_f64() * 1e6 / records
        );
    }
    node.stop().await
}

/// Encodes a request with one batch.
fn request() -> anyhow::Result<Vec<u8>> {
    let value = "x".repeat(RECORD_BYTES);
    let records = vec![Record::new(value); BATCH_RECORDS];
    let batch: Batch<RawRecords> = Batch::from(records).try_into()?;
    let partition = PartitionProduceData {
        partition_index: 0,
        records: RecordSet {
            batches: vec![batch],
        },
    };
    let request = RequestMessage::new_request(DefaultProduceRequest {
        topics: vec![TopicProduceData {
            name: TOPIC.to_owned(),
            partitions: vec![partition],
            ..Default::default()
        }],
        timeout: Duration::from_secs(30),
        ..Default::default()
    });
    let mut bytes = Vec::new();
    request.encode(&mut bytes, 0)?;
    let mut framed = u32::try_from(bytes.len())?.to_be_bytes().to_vec();
    framed.append(&mut bytes);
    Ok(framed)
}

struct Produced {
    taken: Duration,
    /// CPU time of both ends.
    cpu: Duration,
    answer: Vec<u8>,
}

async fn produce(addr: SocketAddr, request: &[u8], times: usize) -> anyhow::Result<Produced> {
    let socket = TcpStream::connect(addr).await?;
    socket.set_nodelay(true)?;
    let (mut read, mut write) = socket.into_split();
    let (began, cpu) = (Instant::now(), cpu()?);
    let mut answer = Vec::new();
    for sent in 0..times {
        if sent >= WINDOW {
            answer = taken(&mut read).await?;
        }
        write.write_all(request).await?;
    }
    for _ in 0..times.min(WINDOW) {
        answer = taken(&mut read).await?;
    }
    Ok(Produced {
        taken: began.elapsed(),
        cpu: self::cpu()?.saturating_sub(cpu),
        answer,
    })
}

/// Reads the next answer, which must accept the batch.
async fn taken(read: &mut (impl AsyncReadExt + Unpin)) -> anyhow::Result<Vec<u8>> {
    let answer = frame(read).await?;
    // After the request's number, topics (one), its name, partitions (one) and the partition's
    // number.
    let code = 4 + 4 + 2 + TOPIC.len() + 4 + 4;
    anyhow::ensure!(
        answer.get(code..code + 2) == Some(&NO_ERROR),
        "the batch was refused: {answer:?}"
    );
    Ok(answer)
}

/// Reads requests and sends the same answer to each.
async fn take_and_answer(listener: TcpListener, answer: Vec<u8>) -> anyhow::Result<()> {
    let (socket, _) = listener.accept().await?;
    socket.set_nodelay(true)?;
    let (mut read, mut write) = socket.into_split();
    loop {
        frame(&mut read).await?;
        let length = u32::try_from(answer.len())?;
        write.write_all(&length.to_be_bytes()).await?;
        write.write_all(&answer).await?;
    }
}

async fn frame(read: &mut (impl AsyncReadExt + Unpin)) -> anyhow::Result<Vec<u8>> {
    let length = read.read_u32().await?;
    let mut frame = vec![0; length as usize];
    read.read_exact(&mut frame).await?;
    Ok(frame)
}

fn cpu() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = |time: nix::sys::time::TimeVal| {
        Duration::new(time.tv_sec().unsigned_abs(), 0)
            + Duration::from_micros(time.tv_usec().unsigned_abs())
    };
    Ok(micros(usage.user_time()) + micros(usage.system_time()))
}
