//! HTTP/1.1 with nothing in the way: messages with a Content-Length on kept-alive connections.

use std::io;

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

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16_384), taken: 0 })
    }

    /// The body of the next message; `None` at the end of the connection.
    pub(crate) async fn read(&mut self) -> io::Result<Option<&[u8]>> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        loop {
            let end = find(&self.buffer, b"\r\n\r\n").map(|at| at + 4);
            if let Some(head) = end {
                let whole = head + content_length(&self.buffer[..head]);
                if self.buffer.len() >= whole {
                    self.taken = whole;
                    return Ok(Some(&self.buffer[head..whole]));
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
