//! A server with answers of a test's own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;

/// A server that answers each request, with its method, path and token, by a status and a body.
pub(super) fn server(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut line, mut asked, mut length) = (String::new(), String::new(), 0);
            while reader.read_line(&mut line).unwrap() > 2 {
                let (name, value) = line.split_once(' ').unwrap();
                match name.to_ascii_lowercase().as_str() {
                    "content-length:" => length = value.trim().parse().unwrap(),
                    "authorization:" => asked += value.trim(),
                    "get" | "post" | "head" => asked += line.split(" HTTP").next().unwrap(),
                    _ => {}
                }
                line.clear();
            }
            reader.read_exact(&mut vec![0; length]).unwrap();
            let (status, body) = answer(&asked);
            let shown = if asked.starts_with("HEAD") { "" } else { &body };
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n\
                 {shown}"
            )
            .unwrap();
        }
    });
    url
}
