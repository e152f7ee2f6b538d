//! A web server on loopback that misbehaves as told, byte by byte.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What the host does with a connection after it has read a request.
pub enum Step {
    /// These bytes. A whole response with its Content-Length keeps the connection.
    Send(Vec<u8>),
    /// The same again and again, as fast as it is read.
    Flood(Vec<u8>),
    /// The same again and again, with a pause.
    Trickle(Vec<u8>, Duration),
    /// Waits until the test opens the gate.
    Gate,
    /// Says nothing more and keeps the connection.
    Hang,
}

/// Running for as long as the test; knows every request it got.
pub struct PromptHost {
    /// Where it listens.
    pub address: SocketAddr,
    requests: watch::Receiver<Vec<String>>,
    connections: watch::Receiver<usize>,
    gate: watch::Sender<bool>,
}

impl PromptHost {
    /// `script` gets the head of a request and its number, from 0.
    pub async fn start(script: impl Fn(&str, usize) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self::start_on(listener, script)
    }

    /// The same on a listener of the test's.
    pub fn start_on(
        listener: TcpListener,
        script: impl Fn(&str, usize) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().expect("a bound listener");
        let (seen, requests) = watch::channel(Vec::new());
        let (count, connections) = watch::channel(0);
        let (gate, opened) = watch::channel(false);
        let (script, seen) = (Arc::new(script), Arc::new(seen));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.send_modify(|count| *count += 1);
                let (script, seen, opened) =
                    (Arc::clone(&script), Arc::clone(&seen), opened.clone());
                tokio::spawn(async move {
                    // The client may leave at any moment: that is what is tested.
                    let _ = serve(stream, &*script, &seen, opened).await;
                });
            }
        });
        Self { address, requests, connections, gate }
    }

    /// One that always does the same.
    pub async fn doing(steps: impl Fn() -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::start(move |_, _| steps()).await
    }

    /// Files by path; everything else is 404.
    pub async fn serving(files: Vec<(String, Vec<u8>)>) -> Self {
        Self::start(move |request, _| {
            let path = request.split(' ').nth(1).unwrap_or_default();
            let found = files.iter().find(|(name, _)| name == path);
            vec![Step::Send(match found {
                Some((_, bytes)) => response("200 OK", "Content-Type: audio/wav\r\n", bytes),
                None => response("404 Not Found", "", b""),
            })]
        })
        .await
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// An address on it; `path` begins with a slash.
    pub fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Heads of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.borrow().clone()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        *self.connections.borrow()
    }

    /// Waits until so many requests have come.
    pub async fn asked(&self, count: usize) {
        let mut requests = self.requests.clone();
        within(requests.wait_for(|requests| requests.len() >= count)).await.expect("the host runs");
    }

    /// Lets every [`Step::Gate`] pass.
    pub fn open_gate(&self) {
        self.gate.send_replace(true);
    }
}

/// A deadline for everything a test waits for.
pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
}

/// A whole response with a Content-Length, after which the connection stays usable.
pub fn response(status: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut bytes =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{fields}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A redirect, as the only step.
pub fn redirect(location: &str) -> Vec<Step> {
    vec![Step::Send(response("302 Found", &format!("Location: {location}\r\n"), b""))]
}

async fn serve(
    mut stream: TcpStream,
    script: &(dyn Fn(&str, usize) -> Vec<Step> + Send + Sync),
    seen: &watch::Sender<Vec<String>>,
    mut opened: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    loop {
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read(&mut byte).await? == 0 {
                return Ok(());
            }
            head.push(byte[0]);
        }
        let request = String::from_utf8_lossy(&std::mem::take(&mut head)).into_owned();
        let number = seen.borrow().len();
        seen.send_modify(|seen| seen.push(request.clone()));
        let mut stays = false;
        for step in script(&request, number) {
            stays = false;
            match step {
                Step::Send(bytes) => {
                    stream.write_all(&bytes).await?;
                    stays = bytes.starts_with(b"HTTP/1.1") && is_whole(&bytes);
                }
                Step::Flood(bytes) => loop {
                    stream.write_all(&bytes).await?;
                },
                Step::Trickle(bytes, pause) => loop {
                    stream.write_all(&bytes).await?;
                    tokio::time::sleep(pause).await;
                },
                Step::Gate => {
                    let _ = opened.wait_for(|open| *open).await;
                }
                Step::Hang => {
                    let _ = stream.read(&mut byte).await;
                }
            }
        }
        if !stays {
            return Ok(());
        }
    }
}

/// Whether a response has as many bytes as it says, so that another can follow it.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let length = length.and_then(|length| length.parse::<usize>().ok());
    let body = bytes.windows(4).position(|part| part == b"\r\n\r\n").map(|end| end + 4);
    matches!((length, body), (Some(length), Some(body)) if bytes.len() == body + length)
}
