//! The bot's own HTTP endpoint: takes notifications as fast as they come.

use std::{net::SocketAddr, sync::Arc};

use tokio::net::TcpListener;

use super::http::Wire;

/// Starts it on a free port. `take` sees the body of every POST before that is answered.
pub(crate) async fn start(
    take: impl Fn(&[u8]) + Send + Sync + 'static,
) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let take = Arc::new(take);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let take = Arc::clone(&take);
            tokio::spawn(async move {
                let Ok(mut wire) = Wire::new(stream) else { return };
                while let Ok(Some(body)) = wire.read().await {
                    take(body);
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                    if wire.write(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}
