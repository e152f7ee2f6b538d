//! Test kit in the words of the domain: whole servers on free ports, with a bot and its phones.
//!
//! ```ignore
//! let mut call = TestCall::start().await;
//! let operation = call.play(&[&tone_wav(440.0, 300)]).await;
//! let ended = call.ended(&operation).await;
//! assert_heard(&call.heard(300).await, &as_heard(&[&tone_wav(440.0, 300)], Codec::Pcmu));
//! ```

pub mod audio;
mod full_disk;
mod logs;
mod moody;
mod process;
pub mod prompt_host;
pub mod sentinel;
mod server;
mod small_disk;
mod test_call;
mod webhook;
mod wire;

pub use full_disk::FullDisk;
pub use graphophone::bot::{
    Answer, Bot, Credentials, Received, acknowledged_ms, is_audio_active, is_end_of, is_terminated,
    receipts, sent_ms,
};
pub use moody::{Mood, Moody};
pub use process::ServerProcess;
pub use server::{Stopped, TestServer, dev_config};
pub use small_disk::SmallDisk;
pub use test_call::{TestCall, heard, states};
pub use webhook::{Post, Webhook};
pub use wire::{WireEvent, WireHeard, WirePhone};

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// Long enough for anything on a busy machine; nothing waits so long that goes well.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// [`PATIENCE`] from now.
pub fn patience() -> Instant {
    Instant::now() + PATIENCE
}

/// Waits for something that must come within [`PATIENCE`].
pub async fn soon<T>(what: &str, awaited: impl Future<Output = T>) -> T {
    timeout_at(patience(), awaited).await.unwrap_or_else(|_| panic!("{what}: not in time"))
}

/// Looks again and again until there is something to see; for what has no event to wait for.
pub async fn seen<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    soon(what, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}
