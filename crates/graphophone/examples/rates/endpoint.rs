//! The bot's own HTTP endpoint: takes notifications as fast as they come, and has one prompt.

use std::{net::SocketAddr, sync::Arc};

use tokio::net::TcpListener;

use super::http::Wire;

/// Starts it on a free port. `take` sees the body of every POST before that is answered.
pub(crate) async fn start(
    prompt: Vec<u8>,
    take: impl Fn(&[u8]) + Send + Sync + 'static,
) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nContent-Length: {}\r\n\r\n",
        prompt.len()
    );
    let shared = Arc::new(([head.as_bytes(), &prompt].concat(), take));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                let (file, take) = &*shared;
                let Ok(mut wire) = Wire::new(stream) else { return };
                while let Ok(Some(message)) = wire.read().await {
                    let answer: &[u8] = if message.head.starts_with(b"POST ") {
                        take(message.body);
                        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
                    } else {
                        file
                    };
                    if wire.write(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}
