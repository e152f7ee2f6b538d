//! A bot's HTTP connection: a blocking socket that is kept alive, one write for each request.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

/// A response that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(20);

/// The connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    host: String,
    token: String,
    buffer: Vec<u8>,
}

/// A request and its response.
#[derive(Debug)]
pub struct Exchange {
    /// Just before the request was written.
    pub sent: Instant,
    /// When the last byte of the response was read.
    pub answered: Instant,
    /// HTTP status.
    pub status: u16,
    /// The body; null if it is empty.
    pub body: Value,
}

impl Exchange {
    /// The id in the body of a success.
    ///
    /// # Errors
    /// The status and body of a refusal.
    pub fn id(&self) -> anyhow::Result<String> {
        if !(200..300).contains(&self.status) {
            bail!("the server answers {}: {}", self.status, self.body);
        }
        self.body["id"].as_str().map(str::to_owned).context("the response has no id")
    }
}

impl Client {
    /// Connects to a base URL of plain HTTP.
    ///
    /// # Errors
    /// When nothing listens there.
    pub fn connect(base: &str, token: &str) -> anyhow::Result<Self> {
        let host = base.strip_prefix("http://").context("not an http URL")?.to_owned();
        let stream = TcpStream::connect(&host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, host, token: token.to_owned(), buffer: vec![0; 65_536] })
    }

    /// Sends a request, with a JSON body unless it is null.
    ///
    /// # Errors
    /// When no whole response comes.
    pub fn send(&mut self, method: &str, path: &str, body: &Value) -> anyhow::Result<Exchange> {
        let Self { host, token, .. } = self;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
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
            ensure!(read > 0, "the server closes the connection, or its response is too long");
            length += read;
            let end = self.buffer[..length].windows(4).position(|window| window == b"\r\n\r\n");
            let Some(head) = end.map(|at| at + 4) else { continue };
            let text = std::str::from_utf8(&self.buffer[..head])?.to_ascii_lowercase();
            // 204 has none.
            let body: usize = match text.split_once("content-length:") {
                Some((_, rest)) => rest.split("\r\n").next().unwrap_or_default().trim().parse()?,
                None => 0,
            };
            if length >= head + body {
                return Ok((length, head));
            }
        }
    }
}
