//! Counters of streams and of the engine: written by one engine thread each, readable by anyone.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use super::load::LoadMeter;

macro_rules! counters {
    (
        $(#[$struct_doc:meta])* $snapshot:ident / $counters:ident:
        $( $(#[$doc:meta])* $name:ident, )*
    ) => {
        #[derive(Debug, Default)]
        pub(super) struct $counters {
            $( pub(super) $name: Count, )*
        }

        $(#[$struct_doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $snapshot {
            $( $(#[$doc])* pub $name: u64, )*
        }

        impl $counters {
            fn read(&self) -> $snapshot {
                $snapshot { $( $name: self.$name.get(), )* }
            }
        }
    };
}

/// A counter with one writer.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: u64) {
        // One writer: no read-modify-write is needed.
        self.0.store(self.0.load(Ordering::Relaxed) + more, Ordering::Relaxed);
    }

    pub(super) fn raise(&self, to: u64) {
        if to > self.0.load(Ordering::Relaxed) {
            self.0.store(to, Ordering::Relaxed);
        }
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

counters! {
    /// What was counted for one stream.
    StreamCounts / Counts:
    /// RTP packets handed to the kernel.
    packets_sent,
    /// Payload octets in them.
    octets_sent,
    /// Packets that the kernel refused (buffer full, no route); they are lost.
    send_errors,
    /// RTP packets accepted from the far end.
    packets_received,
    /// RTCP packets sent.
    reports_sent,
    /// RTCP packets accepted from the far end.
    reports_received,
    /// Datagrams of others: from another address than the far end's, of another source, or out of
    /// its order; ignored.
    foreign_packets,
    /// Datagrams that are neither RTP nor RTCP; ignored.
    malformed_packets,
    /// SRTP and SRTCP datagrams of the far end's address that are not authentic, or were there
    /// already; ignored.
    unauthentic_packets,
    /// RTP packets with a payload type that was not negotiated; ignored.
    unknown_payloads,
    /// Audio packets that the full tap did not take.
    tap_dropped,
    /// Frames of a feed that were not sent: something else was, or nothing might be.
    live_left_out,
    /// Tones to send that were refused: no telephone-event negotiated, code over 16, queue full.
    tones_refused,
    /// Tones heard that were dropped because the owner left 64 unread.
    tones_dropped,
    /// Packets that left 2 ms or more after their deadline.
    late_packets,
    /// Times that deadlines were moved because more than 3 packets were due at once.
    slips,
}

/// What a stream has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamStats {
    /// Counters.
    pub counts: StreamCounts,
    /// Greatest lateness of a packet.
    pub max_lateness: Duration,
    /// Packets of the far end that were lost, negative if more came than were sent.
    pub lost: i64,
    /// Jitter of what we receive (RFC 3550 A.8).
    pub jitter: Duration,
    /// Packets that the far end says it lost, of its last report block.
    pub remote_lost: i64,
    /// Jitter that the far end measured.
    pub remote_jitter: Duration,
    /// Round trip by RTCP, to the resolution of its clocks; `None` before it is known.
    pub round_trip: Option<Duration>,
}

/// What the whole engine has done so far, over all of its threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineStats {
    /// Streams that are open.
    pub streams: u64,
    /// RTP packets handed to the kernel.
    pub packets_sent: u64,
    /// RTP packets accepted.
    pub packets_received: u64,
    /// Packets that the kernel refused.
    pub send_errors: u64,
    /// Errors on receiving, such as ICMP port unreachable.
    pub receive_errors: u64,
    /// Times that a thread woke.
    pub wakes: u64,
    /// Packets that left 2 ms or more after their deadline.
    pub late_packets: u64,
    /// Greatest lateness of a packet.
    pub max_lateness: Duration,
    /// Commands that were refused because a queue was full.
    pub commands_refused: u64,
}

/// The shared side of [`StreamStats`].
#[derive(Debug)]
pub(super) struct StreamCounters {
    pub(super) counts: Counts,
    max_lateness: Count,
    lost: AtomicI64,
    jitter: AtomicU64,
    remote_lost: AtomicI64,
    remote_jitter: AtomicU64,
    round_trip: AtomicU64,
}

/// The shared side of [`EngineStats`], of one thread.
#[derive(Debug, Default)]
pub(super) struct ShardCounters {
    /// Streams handed to the thread and not yet closed; counted by the owners.
    pub(super) streams: AtomicU64,
    pub(super) packets_sent: Count,
    pub(super) packets_received: Count,
    pub(super) send_errors: Count,
    pub(super) receive_errors: Count,
    pub(super) wakes: Count,
    pub(super) late_packets: Count,
    max_lateness: Count,
    /// Counted by the owners.
    pub(super) commands_refused: AtomicU64,
    pub(super) load: LoadMeter,
}

/// Packets that are later than this are counted as late.
pub(super) const LATE: Duration = Duration::from_millis(2);

impl StreamCounters {
    pub(super) fn lateness(&self, lateness: Duration) {
        self.max_lateness.raise(nanoseconds(lateness));
    }

    pub(super) fn reception(&self, lost: i64, jitter: Duration) {
        self.lost.store(lost, Ordering::Relaxed);
        self.jitter.store(nanoseconds(jitter), Ordering::Relaxed);
    }

    pub(super) fn remote_report(&self, lost: i64, jitter: Duration) {
        self.remote_lost.store(lost, Ordering::Relaxed);
        self.remote_jitter.store(nanoseconds(jitter), Ordering::Relaxed);
    }

    pub(super) fn round_trip(&self, round_trip: Duration) {
        self.round_trip.store(nanoseconds(round_trip), Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> StreamStats {
        let round_trip = self.round_trip.load(Ordering::Relaxed);
        StreamStats {
            counts: self.counts.read(),
            max_lateness: Duration::from_nanos(self.max_lateness.get()),
            lost: self.lost.load(Ordering::Relaxed),
            jitter: Duration::from_nanos(self.jitter.load(Ordering::Relaxed)),
            remote_lost: self.remote_lost.load(Ordering::Relaxed),
            remote_jitter: Duration::from_nanos(self.remote_jitter.load(Ordering::Relaxed)),
            round_trip: (round_trip != u64::MAX).then(|| Duration::from_nanos(round_trip)),
        }
    }
}

impl Default for StreamCounters {
    fn default() -> Self {
        Self {
            counts: Counts::default(),
            max_lateness: Count::default(),
            lost: AtomicI64::new(0),
            jitter: AtomicU64::new(0),
            remote_lost: AtomicI64::new(0),
            remote_jitter: AtomicU64::new(0),
            round_trip: AtomicU64::new(u64::MAX),
        }
    }
}

impl ShardCounters {
    pub(super) fn lateness(&self, lateness: Duration) {
        if lateness >= LATE {
            self.late_packets.add(1);
        }
        self.max_lateness.raise(nanoseconds(lateness));
        self.load.lateness.add(lateness);
    }

    pub(super) fn add_to(&self, sum: &mut EngineStats) {
        sum.streams += self.streams.load(Ordering::Relaxed);
        sum.packets_sent += self.packets_sent.get();
        sum.packets_received += self.packets_received.get();
        sum.send_errors += self.send_errors.get();
        sum.receive_errors += self.receive_errors.get();
        sum.wakes += self.wakes.get();
        sum.late_packets += self.late_packets.get();
        sum.max_lateness = sum.max_lateness.max(Duration::from_nanos(self.max_lateness.get()));
        sum.commands_refused += self.commands_refused.load(Ordering::Relaxed);
    }
}

pub(super) fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX - 1)
}
