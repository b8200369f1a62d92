//! Connections: requests one behind the other, and requests that can't be read.

use fluvio_protocol::Encoder;
use fluvio_protocol::api::RequestMessage;
use fluvio_protocol::link::versions::ApiVersionsRequest;
use fluvio_spu_schema::server::fetch_offset::FetchOffsetsRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::scene::{QUIET, Scene};
use crate::support::within;

pub async fn scene(scene: &mut Scene) {
    let topic = scene.topic("any", 1).await;
    let spus = scene
        .admin
        .all::<fluvio::metadata::spu::SpuSpec>()
        .await
        .unwrap();
    let spu = spus[0].spec.public_endpoint.addr();
    let sc = scene.sc_addr.clone();

    scene.section("requests that can't be read");
    // API key, version, correlation id, client id
    let unknown_api = b"\x00\x00\x00\x0c\x7f\xff\x00\x00\x00\x00\x00\x01\x00\x02me";
    let nothing = b"\x00\x00\x00\x00";
    let cut_header = b"\x00\x00\x00\x03\x00\x12\x00";
    let cut_request = b"\x00\x00\x00\x0e\x00\x00\x00\x00\x00\x00\x00\x01\x00\x02me\x00\x00";
    for (who, addr) in [("SC", &sc), ("SPU", &spu)] {
        for (what, bytes) in [
            ("an unknown API", &unknown_api[..]),
            ("an empty frame", nothing),
            ("a frame with half a header", cut_header),
            ("half a produce request", cut_request),
        ] {
            let answered = answer_to(addr, bytes).await;
            scene.note(format!("{who}, {what}: {answered}"));
        }
    }

    scene.section("requests one behind the other");
    let mut requests = Vec::new();
    for correlation in [7, 8, 9, 10] {
        let mut frame = Vec::new();
        if correlation % 2 == 0 {
            let mut request = RequestMessage::new_request(ApiVersionsRequest::default());
            request.header.set_correlation_id(correlation);
            request.encode(&mut frame, 0).unwrap();
        } else {
            let request = FetchOffsetsRequest::new(topic.clone(), 0);
            let mut request = RequestMessage::new_request(request);
            request.header.set_correlation_id(correlation);
            request.encode(&mut frame, 0).unwrap();
        }
        requests.extend((frame.len() as u32).to_be_bytes());
        requests.extend(frame);
    }
    let mut socket = TcpStream::connect(&spu).await.unwrap();
    socket.write_all(&requests).await.unwrap();
    for _ in 0..4 {
        let mut length = [0; 4];
        within(socket.read_exact(&mut length)).await.unwrap();
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        within(socket.read_exact(&mut answer)).await.unwrap();
        let correlation = i32::from_be_bytes(answer[..4].try_into().unwrap());
        scene.note(format!("the answer to {correlation}"));
    }
}

/// What comes back for these bytes.
async fn answer_to(addr: &str, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset is a closed connection, too.
    match timeout(QUIET, socket.read_to_end(&mut answer)).await {
        Err(_) => format!("{} bytes, and the connection stays", answer.len()),
        Ok(_) => format!("{} bytes, and the connection is closed", answer.len()),
    }
}
