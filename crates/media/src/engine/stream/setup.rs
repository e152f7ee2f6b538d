//! What a stream is made of.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tokio::sync::mpsc;

use crate::{
    codec::Codec,
    engine::{Remote, StreamEvent, TappedPacket, stats::StreamCounters},
    srtp::{Protect, SrtpKeys, Unprotect},
};

/// Everything a stream needs but its sockets.
pub(in crate::engine) struct StreamSetup {
    pub(in crate::engine) remote: Remote,
    pub(in crate::engine) codec: Codec,
    pub(in crate::engine) payload_type: u8,
    pub(in crate::engine) telephone_event: Option<u8>,
    pub(in crate::engine) ssrc: u32,
    pub(in crate::engine) first_sequence: u16,
    pub(in crate::engine) first_timestamp: u32,
    pub(in crate::engine) cname: String,
    pub(in crate::engine) rtcp_interval: Duration,
    pub(in crate::engine) events: mpsc::Sender<StreamEvent>,
    pub(in crate::engine) tap: Option<std::sync::mpsc::SyncSender<TappedPacket>>,
    pub(in crate::engine) srtp: Option<Srtp>,
    /// See [`crate::engine::StreamConfig::media_timeout`].
    pub(in crate::engine) media_timeout: Option<Duration>,
    pub(in crate::engine) counters: Arc<StreamCounters>,
    /// Set by an owner who goes while the command queue is full.
    pub(in crate::engine) abandoned: Arc<AtomicBool>,
}

/// The SRTP contexts of both directions.
pub(in crate::engine) struct Srtp {
    pub(super) protect: Box<Protect>,
    pub(super) unprotect: Box<Unprotect>,
}

impl Srtp {
    /// Derives the session keys: work for the owner's thread, not for the engine's.
    pub(in crate::engine) fn new(keys: &SrtpKeys) -> Self {
        Self {
            protect: Box::new(Protect::new(&keys.local)),
            unprotect: Box::new(Unprotect::new(&keys.remote)),
        }
    }
}
