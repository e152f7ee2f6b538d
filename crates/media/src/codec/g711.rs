//! G.711 (ITU-T G.711): µ-law and A-law companding, by tables computed at compile time.
//!
//! Own tables instead of a crate: 16 KiB of constants, one load per sample, nothing to trust. The
//! algorithm is that of the ITU's reference software (G.191, STL `g711.c`), which folds negative
//! samples by one's complement: the code of `-1 - x` is the code of `x` with the other sign, so
//! both halves are exact mirrors and −32768 needs no special case.

/// µ-law, one byte a sample.
pub fn encode_ulaw(samples: &[i16]) -> Vec<u8> {
    samples.iter().map(|&sample| ulaw(sample)).collect()
}

/// A-law, one byte a sample.
pub fn encode_alaw(samples: &[i16]) -> Vec<u8> {
    samples.iter().map(|&sample| alaw(sample)).collect()
}

/// µ-law, one sample a byte.
pub fn decode_ulaw(payload: &[u8]) -> Vec<i16> {
    payload.iter().map(|&code| ULAW_SAMPLES[usize::from(code)]).collect()
}

/// A-law, one sample a byte.
pub fn decode_alaw(payload: &[u8]) -> Vec<i16> {
    payload.iter().map(|&code| ALAW_SAMPLES[usize::from(code)]).collect()
}

/// The µ-law code of one sample.
pub(crate) fn ulaw(sample: i16) -> u8 {
    // G.711 µ-law takes 14 bits: the lowest two of 16 do not reach the code.
    ULAW_CODES[usize::from(sample.cast_unsigned() >> 2)]
}

/// The A-law code of one sample.
pub(crate) fn alaw(sample: i16) -> u8 {
    // Steps are 16 wide at least (13 bits with the half-step of the decoder): 4 bits drop.
    ALAW_CODES[usize::from(sample.cast_unsigned() >> 4)]
}

/// The 16-bit sample of one µ-law code.
pub(crate) fn ulaw_sample(code: u8) -> i16 {
    ULAW_SAMPLES[usize::from(code)]
}

/// The 16-bit sample of one A-law code.
pub(crate) fn alaw_sample(code: u8) -> i16 {
    ALAW_SAMPLES[usize::from(code)]
}

/// µ-law codes, indexed by the upper 14 bits of the sample.
static ULAW_CODES: [u8; 1 << 14] = {
    let mut codes = [0; 1 << 14];
    let mut index = 0;
    while index < codes.len() {
        codes[index] = ulaw_code(((index as u16) << 2).cast_signed());
        index += 1;
    }
    codes
};

/// A-law codes, indexed by the upper 12 bits of the sample.
static ALAW_CODES: [u8; 1 << 12] = {
    let mut codes = [0; 1 << 12];
    let mut index = 0;
    while index < codes.len() {
        codes[index] = alaw_code(((index as u16) << 4).cast_signed());
        index += 1;
    }
    codes
};

static ULAW_SAMPLES: [i16; 256] = {
    let mut samples = [0; 256];
    let mut code = 0;
    while code < samples.len() {
        samples[code] = expand_ulaw(code as u8);
        code += 1;
    }
    samples
};

static ALAW_SAMPLES: [i16; 256] = {
    let mut samples = [0; 256];
    let mut code = 0;
    while code < samples.len() {
        samples[code] = expand_alaw(code as u8);
        code += 1;
    }
    samples
};

/// The magnitude by one's complement: 0 for 0 and −1, 32767 for 32767 and −32768.
const fn folded(sample: i16) -> u16 {
    (if sample < 0 { !sample } else { sample }).cast_unsigned()
}

/// G.711 table 2: 8 segments that double in size, 16 steps each, all bits inverted.
const fn ulaw_code(sample: i16) -> u8 {
    // The bias of 33 (14-bit units) makes each segment begin at a power of two.
    let biased = (folded(sample) >> 2) + 33;
    // The highest step already ends at 8159; what lies above it is clipped to it.
    let biased = if biased > 0x1FFF { 0x1FFF } else { biased };
    let segment = (biased.ilog2() - 5) as u16;
    let step = (biased >> (segment + 1)) & 0x0F;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (segment << 4 | step) as u8)
}

/// G.711 table 1: 8 segments of 16 steps, the first two equally wide; even bits inverted.
const fn alaw_code(sample: i16) -> u8 {
    let magnitude = folded(sample) >> 4;
    let segment = if magnitude < 32 { magnitude >> 4 } else { (magnitude.ilog2() - 4) as u16 + 1 };
    let shift = segment.saturating_sub(1);
    let step = (magnitude >> shift) & 0x0F;
    let sign = if sample < 0 { 0 } else { 0x80 };
    (sign | (segment << 4 | step) as u8) ^ 0x55
}

const fn expand_ulaw(code: u8) -> i16 {
    let code = !code;
    let segment = (code >> 4) & 7;
    let step = (code & 0x0F) as i16;
    // Middle of the step, bias removed, 14 bits moved to 16.
    let magnitude = (((2 * step + 33) << segment) - 33) << 2;
    if code & 0x80 == 0 { magnitude } else { -magnitude }
}

const fn expand_alaw(code: u8) -> i16 {
    let code = code ^ 0x55;
    let segment = (code >> 4) & 7;
    let step = (code & 0x0F) as i16;
    let magnitude =
        if segment == 0 { (2 * step + 1) << 3 } else { (2 * step + 33) << (segment + 2) };
    if code & 0x80 == 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: std::ops::RangeInclusive<i16> = i16::MIN..=i16::MAX;

    fn one(encode: fn(&[i16]) -> Vec<u8>, sample: i16) -> u8 {
        encode(&[sample])[0]
    }

    #[test]
    fn ulaw_codes_are_those_of_the_standard() {
        // G.711 table 2a: the code words at both ends, at zero and at segment borders.
        for (sample, code) in [
            (0, 0xFF),
            (3, 0xFF),
            (4, 0xFE),
            (11, 0xFE),
            (12, 0xFD),
            (123, 0xF0),
            (124, 0xEF),
            (380, 0xDF),
            (892, 0xCF),
            (1_916, 0xBF),
            (3_964, 0xAF),
            (8_060, 0x9F),
            (16_252, 0x8F),
            (32_635, 0x80),
            (32_767, 0x80),
            (-1, 0x7F),
            (-4, 0x7F),
            (-5, 0x7E),
            (-124, 0x70),
            (-125, 0x6F),
            (-16_253, 0x0F),
            (-32_767, 0x00),
            (-32_768, 0x00),
        ] {
            assert_eq!(one(encode_ulaw, sample), code, "sample {sample}");
        }
    }

    #[test]
    fn alaw_codes_are_those_of_the_standard() {
        for (sample, code) in [
            (0, 0xD5),
            (15, 0xD5),
            (16, 0xD4),
            (255, 0xDA),
            (256, 0xC5),
            (512, 0xF5),
            (1_024, 0xE5),
            (2_048, 0x95),
            (4_096, 0x85),
            (8_192, 0xB5),
            (16_384, 0xA5),
            (32_767, 0xAA),
            (-1, 0x55),
            (-16, 0x55),
            (-17, 0x54),
            (-257, 0x45),
            (-32_768, 0x2A),
        ] {
            assert_eq!(one(encode_alaw, sample), code, "sample {sample}");
        }
    }

    #[test]
    fn decoded_values_are_those_of_the_standard() {
        // G.711 tables 1 and 2, column "value at the decoder output", moved to 16 bits.
        let ulaw = [(0xFF, 0), (0x7F, 0), (0xFE, 8), (0xF0, 120), (0xEF, 132), (0x80, 32_124)];
        for (code, sample) in ulaw.into_iter().chain([(0x00, -32_124), (0x0F, -16_764)]) {
            assert_eq!(decode_ulaw(&[code])[0], sample, "µ-law {code:#04x}");
        }
        for (code, sample) in [(0xD5, 8), (0x55, -8), (0xAA, 32_256), (0x2A, -32_256), (0xC5, 264)]
        {
            assert_eq!(decode_alaw(&[code])[0], sample, "A-law {code:#04x}");
        }
    }

    #[test]
    fn a_sample_comes_back_within_half_a_step() {
        for sample in ALL {
            let exact = i32::from(sample);
            // 14-bit steps of µ-law are 2 << segment; beyond 8031 (14 bits) the codec clips.
            let ulaw = i32::from(decode_ulaw(&encode_ulaw(&[sample]))[0]);
            let step = 8 << ((i32::from(folded(sample) >> 2) + 33).min(0x1FFF).ilog2() - 5);
            assert!((ulaw - exact).abs() <= (step / 2).max(exact.abs() - 32_124), "µ {sample}");
            let alaw = i32::from(decode_alaw(&encode_alaw(&[sample]))[0]);
            let step = 16 << ((folded(sample) >> 4).max(16).ilog2() - 4);
            assert!((alaw - exact).abs() <= step / 2, "A {sample}: {alaw}");
        }
    }

    #[test]
    fn companding_never_reorders_samples() {
        let all: Vec<i16> = ALL.collect();
        assert!(decode_ulaw(&encode_ulaw(&all)).is_sorted());
        assert!(decode_alaw(&encode_alaw(&all)).is_sorted());
    }

    #[test]
    fn every_code_survives_a_second_trip() {
        for code in 0..=u8::MAX {
            let once = decode_ulaw(&[code]);
            assert_eq!(decode_ulaw(&encode_ulaw(&once)), once);
            // µ-law has two zeros; every other code is reproduced bit for bit.
            assert!(encode_ulaw(&once) == [code] || code == 0x7F);
            assert_eq!(encode_alaw(&decode_alaw(&[code])), [code]);
        }
    }

    #[test]
    fn the_table_index_drops_only_bits_that_do_not_matter() {
        for sample in ALL {
            assert_eq!(one(encode_ulaw, sample), ulaw_code(sample));
            assert_eq!(one(encode_alaw, sample), alaw_code(sample));
        }
    }
}
