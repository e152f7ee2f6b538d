//! RTCP (RFC 3550 §6): reading what receivers say about us, writing reports, SDES and BYE.
//!
//! Reading takes nothing for granted and looks only into the packets that matter here; unknown
//! packet types and profile extensions are stepped over. Writing allocates nothing.

mod read;
mod write;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use read::{Item, Items, PeerRtcpError, parse};
pub use write::{MAX_COMPOUND_LEN, Report, SenderInfo};

pub(crate) const SENDER_REPORT: u8 = 200;
pub(crate) const RECEIVER_REPORT: u8 = 201;
pub(crate) const SOURCE_DESCRIPTION: u8 = 202;
pub(crate) const BYE: u8 = 203;

/// What a receiver says about one source (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source the block is about.
    pub ssrc: u32,
    /// Packets lost since the last report, as a fraction of 256.
    pub fraction_lost: u8,
    /// Packets lost since the start; 24 bits, signed.
    pub cumulative_lost: i32,
    /// Extended highest sequence number received.
    pub highest_sequence: u32,
    /// Interarrival jitter in timestamp units.
    pub jitter: u32,
    /// Middle 32 bits of the NTP timestamp of the last sender report; 0 if none came.
    pub last_sender_report: u32,
    /// Time since that report in 1/65536 s.
    pub delay_since_sender_report: u32,
}

/// A wall-clock time as a 64-bit NTP timestamp: seconds since 1900 and fraction.
pub fn ntp(wall: SystemTime) -> u64 {
    /// Seconds from 1900 to 1970.
    const UNIX_TO_NTP: u64 = 2_208_988_800;
    let since = wall.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    // The era ends in 2036; NTP seconds wrap there by design.
    (since.as_secs().wrapping_add(UNIX_TO_NTP)) << 32 | fraction
}

/// The middle 32 bits of an NTP timestamp, as LSR carries them: units of 1/65536 s.
pub fn ntp_middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ntp_counts_from_1900_with_a_binary_fraction() {
        let wall = UNIX_EPOCH + Duration::from_millis(1_500);
        assert_eq!(ntp(wall), 2_208_988_801 << 32 | 0x8000_0000);
        assert_eq!(ntp_middle(ntp(wall)), (2_208_988_801u32 & 0xFFFF) << 16 | 0x8000);
    }
}
