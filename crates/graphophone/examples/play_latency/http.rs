//! A bot's HTTP connection with nothing in the way: a blocking socket that is kept alive, one write
//! for each request.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Instant,
};

use anyhow::{Context, ensure};
use serde_json::Value;

/// The connection.
pub(crate) struct Client {
    stream: TcpStream,
    host: String,
    token: String,
    buffer: Vec<u8>,
}

/// A request and its response.
pub(crate) struct Exchange {
    /// Just before the request was written.
    pub(crate) sent: Instant,
    /// When the last byte of the response was read.
    pub(crate) answered: Instant,
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Client {
    pub(crate) fn connect(base: &str, token: &str) -> anyhow::Result<Self> {
        let host = base.strip_prefix("http://").context("not an http URL")?.to_owned();
        let stream = TcpStream::connect(&host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(super::PATIENCE))?;
        Ok(Self { stream, host, token: token.to_owned(), buffer: vec![0; 65_536] })
    }

    pub(crate) fn post(&mut self, path: &str, body: &Value) -> anyhow::Result<Exchange> {
        let Self { host, token, .. } = self;
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let sent = Instant::now();
        self.stream.write_all(request.as_bytes())?;
        let (length, head) = self.read()?;
        let answered = Instant::now();
        let text = std::str::from_utf8(&self.buffer[..head])?;
        let status = text.split(' ').nth(1).context("no status")?.parse()?;
        let body = serde_json::from_slice(&self.buffer[head..length]).unwrap_or(Value::Null);
        Ok(Exchange { sent, answered, status, body })
    }

    /// Reads one response; its length, and that of its head.
    fn read(&mut self) -> anyhow::Result<(usize, usize)> {
        let mut length = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[length..])?;
            ensure!(read > 0, "the server closes the connection");
            length += read;
            let Some(head) = find(&self.buffer[..length], b"\r\n\r\n").map(|at| at + 4) else {
                continue;
            };
            let text = std::str::from_utf8(&self.buffer[..head])?.to_ascii_lowercase();
            let (_, rest) = text.split_once("content-length:").context("no Content-Length")?;
            let body: usize = rest.split("\r\n").next().unwrap_or_default().trim().parse()?;
            if length >= head + body {
                return Ok((length, head));
            }
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
