//! `graphophoneReceipt`: what was really sent of a playPrompt. Ours, not Graph's; its clients
//! ignore it.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::stored;

/// The receipt of one playPromptOperation. Its serde form is both the stored form and the member
/// `graphophoneReceipt`; a reader ignores members it does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// One for each prompt of the request, in its order.
    pub prompts: Vec<PromptReceipt>,
}

/// What became of one prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromptReceipt {
    /// As in the request.
    pub uri: String,
    /// As in the request; `None` if absent or empty.
    pub resource_id: Option<String>,
    /// SHA-256 of the decoded audio, 64 lower-case hex digits; `None` until it is decoded.
    pub sha256: Option<String>,
    /// Playing time in ms with all repeats of the prompt, once through the list, without what
    /// `graphophoneStartMs` leaves out; `None` until it is decoded.
    pub duration_ms: Option<u64>,
    /// Audio that left in packets, in ms; in a looped list all rounds added, and what was sent twice
    /// after a `graphophone.seek` counted twice. `None` if that is not
    /// known: a restart cut it.
    pub milliseconds_sent: Option<u64>,
    /// Of that, what the far end's RTCP receiver reports confirm; `None` if it sends none.
    pub milliseconds_acknowledged: Option<u64>,
    /// When the first packet left. Kept with microseconds, in UTC.
    #[serde(with = "stored::moment")]
    pub first_packet: Option<OffsetDateTime>,
    /// When the last packet so far left.
    #[serde(with = "stored::moment")]
    pub last_packet: Option<OffsetDateTime>,
    /// Why it is over, or that it is not.
    pub reason: PromptEnd,
}

/// How far a prompt is, or why it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PromptEnd {
    /// Waits for its turn, or for its file.
    Waiting,
    /// Is being sent.
    Playing,
    /// Sent to the last sample, every repeat. Not of a loop, which has no last sample.
    Completed,
    /// Is being sent, and silent until `graphophone.resume`.
    Paused,
    /// Sent but for what `graphophone.seek` went over.
    Skipped,
    /// Cut by a key or by speech, as asked for in `graphophoneStopOn`.
    Stopped,
    /// Cut by cancelMediaProcessing or `graphophone.stop`, or by what interrupted it.
    Cancelled,
    /// Could not be fetched, decoded or sent.
    Failed,
    /// Never begun, because something before it ended the operation.
    NotPlayed,
    /// Cut by the end of the call.
    CallEnded,
    /// Cut by a restart of the server.
    ServerRestarted,
}

impl PromptReceipt {
    /// A prompt of which nothing is known yet.
    pub fn waiting(uri: impl Into<String>, resource_id: Option<String>) -> Self {
        Self {
            uri: uri.into(),
            resource_id,
            sha256: None,
            duration_ms: None,
            milliseconds_sent: Some(0),
            milliseconds_acknowledged: None,
            first_packet: None,
            last_packet: None,
            reason: PromptEnd::Waiting,
        }
    }
}
