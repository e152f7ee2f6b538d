//! RTP packets (RFC 3550 §5.1): checked reading of foreign bytes, writing the fixed header, and
//! what a receiver counts about its source.

mod reception;

pub use reception::Reception;
pub(crate) use reception::{span, units};

/// Length of the header we write: no CSRC, no extension.
pub const HEADER_LEN: usize = 12;

/// Why foreign bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerRtpError {
    /// Shorter than its own header says.
    #[error("the peer's RTP packet is cut short")]
    Truncated,
    /// Not version 2.
    #[error("the peer's packet is not RTP version 2")]
    Version,
    /// Padding longer than the payload, or of length 0.
    #[error("the peer's RTP packet has impossible padding")]
    Padding,
}

/// The fields of a header that are not the same in every packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// First packet of a talkspurt (RFC 3551 §4.1) or of a telephone-event (RFC 4733 §2.5.1.1).
    pub marker: bool,
    /// Payload type, 0–127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp in units of the RTP clock.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
}

/// A received packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its header.
    pub header: Header,
    /// What follows header, CSRC list and extension, without padding.
    pub payload: &'a [u8],
}

impl Header {
    /// Lays the header down.
    pub fn write(&self, to: &mut [u8; HEADER_LEN]) {
        to[0] = 2 << 6;
        to[1] = u8::from(self.marker) << 7 | self.payload_type & 0x7F;
        to[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        to[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        to[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
    }
}

impl<'a> Packet<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// [`PeerRtpError`] names what is wrong with it.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, PeerRtpError> {
        let fixed = fixed(datagram)?;
        let mut rest = &datagram[header_len(datagram)?..];
        if fixed[0] & 0x20 != 0 {
            let padding = usize::from(*rest.last().ok_or(PeerRtpError::Padding)?);
            if padding == 0 || padding > rest.len() {
                return Err(PeerRtpError::Padding);
            }
            rest = &rest[..rest.len() - padding];
        }
        Ok(Self {
            header: Header {
                marker: fixed[1] & 0x80 != 0,
                payload_type: fixed[1] & 0x7F,
                sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
                timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
                ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            },
            payload: rest,
        })
    }
}

/// Length of a datagram's fixed header, CSRC list and extension; never more than the datagram.
///
/// # Errors
/// [`PeerRtpError`] names what is wrong with it.
pub(crate) fn header_len(datagram: &[u8]) -> Result<usize, PeerRtpError> {
    let fixed = fixed(datagram)?;
    if fixed[0] >> 6 != 2 {
        return Err(PeerRtpError::Version);
    }
    let mut length = HEADER_LEN + usize::from(fixed[0] & 0x0F) * 4;
    if fixed[0] & 0x10 != 0 {
        let extension = datagram.get(length..).and_then(|rest| rest.first_chunk::<4>());
        let extension = extension.ok_or(PeerRtpError::Truncated)?;
        let words = usize::from(u16::from_be_bytes([extension[2], extension[3]]));
        length += 4 + words * 4;
    }
    if length > datagram.len() {
        return Err(PeerRtpError::Truncated);
    }
    Ok(length)
}

fn fixed(datagram: &[u8]) -> Result<&[u8; HEADER_LEN], PeerRtpError> {
    datagram.first_chunk().ok_or(PeerRtpError::Truncated)
}

/// Tells RTCP from RTP on a shared port (RFC 5761 §4).
pub fn is_rtcp(datagram: &[u8]) -> bool {
    datagram.get(1).is_some_and(|packet_type| (192..=223).contains(packet_type))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: Header = Header {
        marker: true,
        payload_type: 101,
        sequence: 0xFFFE,
        timestamp: 0x0102_0304,
        ssrc: 0xA0B0_C0D0,
    };

    fn datagram(first: u8, after_header: &[u8]) -> Vec<u8> {
        let mut bytes = [0; HEADER_LEN];
        HEADER.write(&mut bytes);
        bytes[0] = first;
        [&bytes[..], after_header].concat()
    }

    #[test]
    fn the_header_is_laid_down_as_in_rfc_3550() {
        let mut bytes = [0; HEADER_LEN];
        HEADER.write(&mut bytes);
        assert_eq!(bytes, [0x80, 0xE5, 0xFF, 0xFE, 1, 2, 3, 4, 0xA0, 0xB0, 0xC0, 0xD0]);
    }

    #[test]
    fn csrc_extension_and_padding_are_not_payload() {
        let bytes = datagram(
            0x80 | 0x20 | 0x10 | 2,
            &[1, 1, 1, 1, 2, 2, 2, 2, 0xBE, 0xDE, 0, 1, 9, 9, 9, 9, b'h', b'i', 0, 0, 3],
        );
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet, Packet { header: HEADER, payload: b"hi" });
    }

    #[test]
    fn impossible_lengths_are_refused() {
        assert_eq!(Packet::parse(&[0x80; 11]), Err(PeerRtpError::Truncated));
        assert_eq!(Packet::parse(&datagram(0x40, b"x")), Err(PeerRtpError::Version));
        assert_eq!(Packet::parse(&datagram(0x81, b"abc")), Err(PeerRtpError::Truncated));
        assert_eq!(Packet::parse(&datagram(0x90, b"abc")), Err(PeerRtpError::Truncated));
        assert_eq!(Packet::parse(&datagram(0x90, &[0, 0, 0, 1])), Err(PeerRtpError::Truncated));
        assert_eq!(Packet::parse(&datagram(0xA0, b"")), Err(PeerRtpError::Padding));
        assert_eq!(Packet::parse(&datagram(0xA0, &[5, 0])), Err(PeerRtpError::Padding));
        assert_eq!(Packet::parse(&datagram(0xA0, &[5, 3])), Err(PeerRtpError::Padding));
        assert_eq!(Packet::parse(&datagram(0xA0, &[0, 2])).unwrap().payload, b"");
    }

    #[test]
    fn rtcp_is_told_from_rtp_by_the_second_byte() {
        assert!(is_rtcp(&[0x80, 200]));
        assert!(is_rtcp(&[0x80, 203]));
        assert!(!is_rtcp(&[0x80, 0x80 | 101]));
        assert!(!is_rtcp(&[0x80, 8]));
        assert!(!is_rtcp(&[0x80]));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(packet) = Packet::parse(&bytes) {
                prop_assert!(packet.payload.len() + HEADER_LEN <= bytes.len());
            }
        }

        #[test]
        fn what_is_written_is_read_back(
            marker: bool, payload_type in 0u8..128, sequence: u16, timestamp: u32, ssrc: u32,
            payload in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let header = Header { marker, payload_type, sequence, timestamp, ssrc };
            let mut bytes = [0; HEADER_LEN];
            header.write(&mut bytes);
            let bytes = [&bytes[..], &payload].concat();
            prop_assert_eq!(Packet::parse(&bytes), Ok(Packet { header, payload: &payload }));
        }
    }
}
