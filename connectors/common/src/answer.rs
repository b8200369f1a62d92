//! What a connector serves at its `metrics-address`, asked for from outside: by `--healthcheck`, and by `etl`.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// An answer: the HTTP status, 200 where all is well and none where it is no HTTP, and what came with it.
pub type Answer = (Option<u16>, String);

/// Asks the connector at `address`, a host and a port, for `path`. Each step of it may take `patience`, and of the
/// answer `longest` bytes are read. It blocks.
///
/// # Errors
/// Nobody answers in time.
pub fn get(address: &str, path: &str, patience: Duration, longest: u64) -> io::Result<Answer> {
    let mut stream = connect(address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    // In HTTP 1.0 the answer is whole and ends with the connection, whatever is in between.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(longest).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_whitespace().nth(1);
    let status = status.and_then(|word| word.parse().ok());
    Ok((status, body.to_owned()))
}

/// Connects to the first of the addresses behind the name that answers.
fn connect(address: &str, patience: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
