//! HTTP/1.1 with nothing in the way: messages with a Content-Length on kept-alive connections.

use std::{
    io,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// One connection.
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The part of the buffer that has been given out.
    taken: usize,
}

/// A request or a response.
pub(crate) struct Message<'a> {
    pub(crate) head: &'a [u8],
    pub(crate) body: &'a [u8],
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16_384), taken: 0 })
    }

    /// The next message; `None` at the end of the connection.
    pub(crate) async fn read(&mut self) -> io::Result<Option<Message<'_>>> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        loop {
            let end = find(&self.buffer, b"\r\n\r\n").map(|at| at + 4);
            if let Some(head) = end {
                let whole = head + content_length(&self.buffer[..head]);
                if self.buffer.len() >= whole {
                    self.taken = whole;
                    let (head, body) = self.buffer[..whole].split_at(head);
                    return Ok(Some(Message { head, body }));
                }
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }
}

/// A bot's connections to the server: as many as it has requests under way.
pub(crate) struct Client {
    host: String,
    token: String,
    idle: Mutex<Vec<Wire>>,
}

impl Client {
    pub(crate) fn new(base: &str, token: &str) -> anyhow::Result<Self> {
        let host = base.strip_prefix("http://").context("not an http URL")?.to_owned();
        Ok(Self { host, token: token.to_owned(), idle: Mutex::default() })
    }

    /// Status and body of the response.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        body: &str,
    ) -> anyhow::Result<(u16, Vec<u8>)> {
        let Self { host, token, .. } = self;
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut wire = match kept {
            Some(wire) => wire,
            None => Wire::new(TcpStream::connect(host.as_str()).await?)?,
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        wire.write(request.as_bytes()).await?;
        let message = wire.read().await?.context("the server closes the connection")?;
        let status = std::str::from_utf8(message.head)?.get(9..12).context("no status")?.parse()?;
        let body = message.body.to_vec();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(wire);
        Ok((status, body))
    }

    /// The body of a success.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        body: &str,
    ) -> anyhow::Result<Vec<u8>> {
        let (status, body) = self.send(method, path, body).await?;
        let text = String::from_utf8_lossy(&body);
        ensure!((200..300).contains(&status), "{method} {path} is answered {status}: {text}");
        Ok(body)
    }
}

fn content_length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"\r\ncontent-length:";
    let at = head.windows(NAME.len()).position(|window| window.eq_ignore_ascii_case(NAME));
    let value = at.and_then(|at| head[at + NAME.len()..].split(|byte| *byte == b'\r').next());
    let text = value.and_then(|value| std::str::from_utf8(value).ok());
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
