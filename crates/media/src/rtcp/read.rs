//! Checked reading of compound RTCP packets.

use super::{BYE, RECEIVER_REPORT, ReportBlock, SENDER_REPORT};

/// Why foreign bytes are not RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerRtcpError {
    /// A packet is longer than the datagram, or shorter than its type needs.
    #[error("the peer's RTCP packet is cut short")]
    Truncated,
    /// Not version 2.
    #[error("the peer's packet is not RTCP version 2")]
    Version,
    /// The compound does not begin with a report (RFC 3550 §6.1, appendix A.2).
    #[error("the peer's RTCP packet does not begin with a report")]
    NotAReport,
}

/// Something in a compound packet that matters to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// A sender report's sender information.
    SenderReport {
        /// Who sent it.
        ssrc: u32,
        /// Its NTP timestamp.
        ntp: u64,
    },
    /// A report block, of a sender or receiver report.
    Block(ReportBlock),
    /// A source leaves.
    Bye {
        /// Who leaves.
        ssrc: u32,
    },
}

/// Checks a whole datagram and gives an iterator over its [`Item`]s.
///
/// # Errors
/// [`PeerRtcpError`]; nothing of a datagram with a fault is used (RFC 3550 A.2).
pub fn parse(datagram: &[u8]) -> Result<Items<'_>, PeerRtcpError> {
    let mut rest = datagram;
    let mut first = true;
    while first || !rest.is_empty() {
        let (packet, after) = split_packet(rest)?;
        let needed = match packet.kind {
            SENDER_REPORT => 24 + packet.count * 24,
            RECEIVER_REPORT => 4 + packet.count * 24,
            _ if first => return Err(PeerRtcpError::NotAReport),
            BYE => packet.count * 4,
            _ => 0,
        };
        if packet.body.len() < needed {
            return Err(PeerRtcpError::Truncated);
        }
        first = false;
        rest = after;
    }
    Ok(Items { rest: datagram, kind: 0, left: 0, entries: &[] })
}

/// Iterator over the items of a checked compound packet.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    rest: &'a [u8],
    /// The type of the packet whose entries follow.
    kind: u8,
    /// How many of them are left.
    left: usize,
    entries: &'a [u8],
}

impl Iterator for Items<'_> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        loop {
            if self.left > 0 {
                self.left -= 1;
                if self.kind == BYE {
                    let (ssrc, after) = self.entries.split_first_chunk()?;
                    self.entries = after;
                    return Some(Item::Bye { ssrc: u32::from_be_bytes(*ssrc) });
                }
                let (block, after) = self.entries.split_first_chunk::<24>()?;
                self.entries = after;
                return Some(Item::Block(read_block(block)));
            }
            let (packet, after) = split_packet(self.rest).ok()?;
            self.rest = after;
            match packet.kind {
                SENDER_REPORT => {
                    let (info, blocks) = packet.body.split_first_chunk::<24>()?;
                    (self.kind, self.left, self.entries) = (packet.kind, packet.count, blocks);
                    return Some(Item::SenderReport {
                        ssrc: word(info, 0),
                        ntp: u64::from(word(info, 4)) << 32 | u64::from(word(info, 8)),
                    });
                }
                RECEIVER_REPORT => {
                    let (_ssrc, blocks) = packet.body.split_first_chunk::<4>()?;
                    (self.kind, self.left, self.entries) = (packet.kind, packet.count, blocks);
                }
                BYE => {
                    (self.kind, self.left, self.entries) = (BYE, packet.count, packet.body);
                }
                _ => {}
            }
        }
    }
}

struct RawPacket<'a> {
    kind: u8,
    count: usize,
    body: &'a [u8],
}

fn split_packet(bytes: &[u8]) -> Result<(RawPacket<'_>, &[u8]), PeerRtcpError> {
    let (header, after) = bytes.split_first_chunk::<4>().ok_or(PeerRtcpError::Truncated)?;
    if header[0] >> 6 != 2 {
        return Err(PeerRtcpError::Version);
    }
    let length = usize::from(u16::from_be_bytes([header[2], header[3]])) * 4;
    let (body, rest) = after.split_at_checked(length).ok_or(PeerRtcpError::Truncated)?;
    Ok((RawPacket { kind: header[1], count: usize::from(header[0] & 0x1F), body }, rest))
}

fn read_block(bytes: &[u8; 24]) -> ReportBlock {
    let loss = word(bytes, 4);
    ReportBlock {
        ssrc: word(bytes, 0),
        fraction_lost: (loss >> 24) as u8,
        // Shifted up and down to carry the sign of the 24-bit number.
        cumulative_lost: (loss << 8) as i32 >> 8,
        highest_sequence: word(bytes, 8),
        jitter: word(bytes, 12),
        last_sender_report: word(bytes, 16),
        delay_since_sender_report: word(bytes, 20),
    }
}

fn word(bytes: &[u8; 24], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtcp_types::{Bye, Compound, ReceiverReport, RtcpPacketWriterExt, SenderReport};

    use super::*;

    #[test]
    fn reports_and_byes_of_another_implementation_are_read() {
        let block = |ssrc| {
            rtcp_types::ReportBlock::builder(ssrc)
                .fraction_lost(3)
                .cumulative_lost(4)
                .extended_sequence_number(0x0002_0005)
                .interarrival_jitter(6)
                .last_sender_report_timestamp(7)
                .delay_since_last_sender_report_timestamp(8)
        };
        let builder = Compound::builder()
            .add_packet(
                SenderReport::builder(1)
                    .ntp_timestamp(0x1111_2222_3333_4444)
                    .add_report_block(block(10)),
            )
            .add_packet(
                ReceiverReport::builder(1).add_report_block(block(11)).add_report_block(block(12)),
            )
            .add_packet(rtcp_types::App::builder(1, "quiz"))
            .add_packet(Bye::builder().add_source(1).add_source(2).reason("gone"));
        let mut bytes = [0; 512];
        let length = builder.write_into(&mut bytes).unwrap();

        let items: Vec<Item> = parse(&bytes[..length]).unwrap().collect();
        let expected = |ssrc| {
            Item::Block(ReportBlock {
                ssrc,
                fraction_lost: 3,
                cumulative_lost: 4,
                highest_sequence: 0x0002_0005,
                jitter: 6,
                last_sender_report: 7,
                delay_since_sender_report: 8,
            })
        };
        assert_eq!(
            items,
            [
                Item::SenderReport { ssrc: 1, ntp: 0x1111_2222_3333_4444 },
                expected(10),
                expected(11),
                expected(12),
                Item::Bye { ssrc: 1 },
                Item::Bye { ssrc: 2 },
            ]
        );
    }

    #[test]
    fn loss_may_be_negative() {
        let mut bytes = [0; 24];
        bytes[4..8].copy_from_slice(&[9, 0xFF, 0xFF, 0xFE]);
        assert_eq!(read_block(&bytes).cumulative_lost, -2);
        assert_eq!(read_block(&bytes).fraction_lost, 9);
    }

    #[test]
    fn faulty_compounds_are_refused_whole() {
        let refused = |bytes: &[u8]| parse(bytes).map(Iterator::count).unwrap_err();
        assert_eq!(refused(&[]), PeerRtcpError::Truncated);
        assert_eq!(refused(&[0x80, 201, 0]), PeerRtcpError::Truncated);
        assert_eq!(refused(&[0x40, 201, 0, 0]), PeerRtcpError::Version);
        assert_eq!(refused(&[0x81, 203, 0, 1, 0, 0, 0, 1]), PeerRtcpError::NotAReport);
        assert_eq!(refused(&[0x81, 201, 0, 1, 0, 0, 0, 1]), PeerRtcpError::Truncated, "no block");
        let tail = [0x80, 201, 0, 1, 0, 0, 0, 1, 0x81, 203, 0, 9];
        assert_eq!(refused(&tail), PeerRtcpError::Truncated);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(items) = parse(&bytes) {
                prop_assert!(items.count() <= bytes.len() / 4);
            }
        }

        #[test]
        fn no_plausible_bytes_make_the_parser_panic(
            packets in proptest::collection::vec(
                (0u8..32, 198u8..208, 0u16..20, proptest::collection::vec(any::<u8>(), 0..80)), 1..5,
            ),
        ) {
            let mut bytes = Vec::new();
            for (count, kind, length, body) in packets {
                bytes.extend([0x80 | count, kind]);
                bytes.extend(length.to_be_bytes());
                bytes.extend(body);
            }
            if let Ok(items) = parse(&bytes) {
                prop_assert!(items.count() <= bytes.len() / 4);
            }
        }
    }
}
