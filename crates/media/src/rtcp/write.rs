//! Writing our compound packets: a report, SDES with our CNAME, and BYE at the end.

use super::{BYE, RECEIVER_REPORT, ReportBlock, SENDER_REPORT, SOURCE_DESCRIPTION};

/// No compound we write is longer: SR with a block, SDES with a CNAME of 255 bytes, BYE.
pub const MAX_COMPOUND_LEN: usize = 28 + 24 + (4 + 4 + 2 + 255 + 1 + 2) + 8;

/// What a sender report says about us (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// NTP timestamp of the report.
    pub ntp: u64,
    /// The same instant in units of our RTP clock.
    pub rtp_timestamp: u32,
    /// Packets sent.
    pub packets: u32,
    /// Payload octets sent.
    pub octets: u32,
}

/// One compound packet.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// Our synchronisation source.
    pub ssrc: u32,
    /// Present if we sent lately: makes it a sender report.
    pub sender: Option<SenderInfo>,
    /// Present if we received lately.
    pub block: Option<ReportBlock>,
    /// Canonical name; bytes beyond 255 are cut.
    pub cname: &'a str,
    /// Whether we leave.
    pub bye: bool,
}

impl Report<'_> {
    /// Lays the compound down and returns its length.
    pub fn write(&self, to: &mut [u8; MAX_COMPOUND_LEN]) -> usize {
        let mut out = Writer { to, at: 0 };
        let start = out.begin(
            if self.sender.is_some() { SENDER_REPORT } else { RECEIVER_REPORT },
            u8::from(self.block.is_some()),
        );
        out.word(self.ssrc);
        if let Some(sender) = &self.sender {
            out.word((sender.ntp >> 32) as u32);
            out.word(sender.ntp as u32);
            out.word(sender.rtp_timestamp);
            out.word(sender.packets);
            out.word(sender.octets);
        }
        if let Some(block) = &self.block {
            out.word(block.ssrc);
            out.word(
                u32::from(block.fraction_lost) << 24 | (block.cumulative_lost as u32 & 0xFF_FFFF),
            );
            out.word(block.highest_sequence);
            out.word(block.jitter);
            out.word(block.last_sender_report);
            out.word(block.delay_since_sender_report);
        }
        out.end(start);

        let start = out.begin(SOURCE_DESCRIPTION, 1);
        out.word(self.ssrc);
        let cname = self.cname.as_bytes();
        let cname = &cname[..cname.len().min(255)];
        out.bytes(&[1, cname.len() as u8]);
        out.bytes(cname);
        // At least one zero ends the list of items, up to the next word (RFC 3550 §6.5).
        out.bytes(&[0; 4][..4 - (out.at - start) % 4]);
        out.end(start);

        if self.bye {
            let start = out.begin(BYE, 1);
            out.word(self.ssrc);
            out.end(start);
        }
        out.at
    }
}

struct Writer<'a> {
    to: &'a mut [u8; MAX_COMPOUND_LEN],
    at: usize,
}

impl Writer<'_> {
    /// Begins a packet; its length is filled in by [`Self::end`].
    fn begin(&mut self, kind: u8, count: u8) -> usize {
        let start = self.at;
        self.bytes(&[2 << 6 | count, kind, 0, 0]);
        start
    }

    fn end(&mut self, start: usize) {
        let words = ((self.at - start) / 4 - 1) as u16;
        self.to[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
    }

    fn word(&mut self, word: u32) {
        self.bytes(&word.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.to[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use rtcp_types::{Compound, Packet};

    use super::*;

    const BLOCK: ReportBlock = ReportBlock {
        ssrc: 99,
        fraction_lost: 12,
        cumulative_lost: -3,
        highest_sequence: 0x0001_0002,
        jitter: 5,
        last_sender_report: 6,
        delay_since_sender_report: 7,
    };
    const SENDER: SenderInfo =
        SenderInfo { ntp: 0x0102_0304_0506_0708, rtp_timestamp: 9, packets: 10, octets: 1_600 };

    #[test]
    fn another_implementation_reads_what_we_write_for_every_cname_length() {
        for length in 0..300 {
            let cname = "n".repeat(length);
            let mut bytes = [0xAA; MAX_COMPOUND_LEN];
            let report = Report {
                ssrc: 7,
                sender: Some(SENDER),
                block: Some(BLOCK),
                cname: &cname,
                bye: true,
            };
            let written = report.write(&mut bytes);

            let mut packets = Compound::parse(&bytes[..written]).unwrap();
            let Some(Ok(Packet::Sr(sr))) = packets.next() else { panic!("no SR") };
            assert_eq!((sr.ssrc(), sr.ntp_timestamp(), sr.rtp_timestamp()), (7, SENDER.ntp, 9));
            assert_eq!((sr.packet_count(), sr.octet_count()), (10, 1_600));
            let block = sr.report_blocks().next().unwrap();
            assert_eq!((block.ssrc(), block.fraction_lost()), (99, 12));
            assert_eq!(block.cumulative_lost(), 0xFF_FFFD);
            assert_eq!(block.extended_sequence_number(), 0x0001_0002);
            let Some(Ok(Packet::Sdes(sdes))) = packets.next() else { panic!("no SDES") };
            let chunk = sdes.chunks().next().unwrap();
            let item = chunk.items().next().unwrap();
            assert_eq!((chunk.ssrc(), item.type_(), item.value().len()), (7, 1, length.min(255)));
            let Some(Ok(Packet::Bye(bye))) = packets.next() else { panic!("no BYE") };
            assert_eq!(bye.ssrcs().collect::<Vec<_>>(), [7]);
            assert!(packets.next().is_none());
        }
    }

    #[test]
    fn we_read_what_we_write() {
        let mut bytes = [0; MAX_COMPOUND_LEN];
        let report = Report { ssrc: 7, sender: None, block: Some(BLOCK), cname: "a@b", bye: false };
        let written = report.write(&mut bytes);
        let items: Vec<_> = crate::rtcp::parse(&bytes[..written]).unwrap().collect();
        assert_eq!(items, [crate::rtcp::Item::Block(BLOCK)]);
    }

    #[test]
    fn an_empty_receiver_report_keeps_the_compound_valid() {
        let mut bytes = [0; MAX_COMPOUND_LEN];
        let report = Report { ssrc: 7, sender: None, block: None, cname: "a@b", bye: true };
        let written = report.write(&mut bytes);
        let items: Vec<_> = crate::rtcp::parse(&bytes[..written]).unwrap().collect();
        assert_eq!(items, [crate::rtcp::Item::Bye { ssrc: 7 }]);
    }
}
