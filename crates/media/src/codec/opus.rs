//! What can be read of an Opus packet without a decoder (RFC 6716 §3).

/// How long a packet plays, in units of the 48 kHz clock; `None` if it is no valid packet by its
/// first bytes (RFC 6716 §3.2: R1, R2 and R5).
pub fn packet_units(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let frame = match toc >> 3 {
        // SILK: 10, 20, 40 and 60 ms.
        config @ 0..=11 => [480, 960, 1_920, 2_880][usize::from(config % 4)],
        // Hybrid: 10 and 20 ms.
        config @ 12..=15 => [480, 960][usize::from(config % 2)],
        // CELT: 2.5, 5, 10 and 20 ms.
        config => [120, 240, 480, 960][usize::from(config % 4)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3F),
    };
    let units = frame * frames;
    // At most 120 ms.
    (1..=5_760).contains(&units).then_some(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_tells_how_long_a_packet_plays() {
        let units = |config: u8, code: u8| packet_units(&[config << 3 | code, 2]);
        assert_eq!([0, 1, 2, 3].map(|config| units(config, 0).unwrap()), [480, 960, 1_920, 2_880]);
        assert_eq!([12, 13, 14].map(|config| units(config, 0).unwrap()), [480, 960, 480]);
        assert_eq!([16, 17, 18, 31].map(|config| units(config, 0).unwrap()), [120, 240, 480, 960]);
        assert_eq!([1, 2, 3].map(|code| units(18, code).unwrap()), [960; 3], "two frames of 10 ms");
    }

    #[test]
    fn impossible_packets_have_no_length() {
        assert_eq!(packet_units(&[]), None);
        assert_eq!(packet_units(&[3]), None, "a code 3 packet has a second byte");
        assert_eq!(packet_units(&[3, 0]), None, "no frame");
        assert_eq!(packet_units(&[3 << 3 | 3, 3]), None, "180 ms");
    }
}
