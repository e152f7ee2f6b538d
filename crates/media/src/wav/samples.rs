//! Bytes of a `data` chunk to mono 16-bit samples.
//!
//! Downmix: the mean of all channels, for stereo (L+R)/2. It never clips; anti-phase channels
//! cancel. Full scale of every encoding becomes full scale of 16 bits; what lies outside saturates,
//! and a NaN is silence.

use super::{Encoding, Format};
use crate::codec::g711;

/// Decodes whole frames; a partial frame at the end of `bytes` is ignored.
pub(super) fn decode(format: &Format, bytes: &[u8], out: &mut Vec<i16>) {
    let channels = usize::from(format.channels);
    match format.encoding {
        Encoding::Pcm { .. } => decode_pcm(format, bytes, out),
        Encoding::Float32 => mix(bytes, channels, out, |b| finite(f32::from_le_bytes(b))),
        Encoding::Float64 => mix(bytes, channels, out, |b| finite(f64::from_le_bytes(b) as f32)),
        Encoding::ALaw => mix(bytes, channels, out, |[b]| from_i16(g711::alaw_sample(b))),
        Encoding::MuLaw => mix(bytes, channels, out, |[b]| from_i16(g711::ulaw_sample(b))),
    }
}

fn decode_pcm(format: &Format, bytes: &[u8], out: &mut Vec<i16>) {
    let channels = usize::from(format.channels);
    match (format.encoding.sample_bytes(), channels) {
        // 8-bit PCM is unsigned, all others are signed.
        (1, _) => mix(bytes, channels, out, |[b]| (f32::from(b) - 128.0) / 128.0),
        // The common case, bit for bit.
        (2, 1) => out.extend(bytes.as_chunks().0.iter().map(|&pair| i16::from_le_bytes(pair))),
        (2, _) => mix(bytes, channels, out, |b| from_i16(i16::from_le_bytes(b))),
        (3, _) => mix(bytes, channels, out, |[a, b, c]| from_i32(i32::from_le_bytes([0, a, b, c]))),
        (_, _) => mix(bytes, channels, out, |b| from_i32(i32::from_le_bytes(b))),
    }
}

/// Reads frames of `channels` samples of `BYTES` bytes and appends their means.
fn mix<const BYTES: usize>(
    bytes: &[u8],
    channels: usize,
    out: &mut Vec<i16>,
    sample: impl Fn([u8; BYTES]) -> f32,
) {
    let (samples, _) = bytes.as_chunks::<BYTES>();
    let scale = 32_768.0 / channels as f32;
    out.extend(samples.chunks_exact(channels).map(|frame| {
        let sum: f32 = frame.iter().map(|&bytes| sample(bytes)).sum();
        // `as` saturates.
        (sum * scale).round() as i16
    }));
}

fn from_i16(sample: i16) -> f32 {
    f32::from(sample) / 32_768.0
}

fn from_i32(sample: i32) -> f32 {
    sample as f32 / 2_147_483_648.0
}

/// Within full scale. Before mixing, because ∞ − ∞ is NaN and 10³⁰ would drown the other channel.
fn finite(sample: f32) -> f32 {
    if sample.is_nan() { 0.0 } else { sample.clamp(-1.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(encoding: Encoding, channels: u16, bytes: &[u8]) -> Vec<i16> {
        let format =
            Format { rate: 8_000, channels, encoding, valid_bits: 0, declared_frame_bytes: 0 };
        let mut out = Vec::new();
        decode(&format, bytes, &mut out);
        out
    }

    #[test]
    fn every_encoding_keeps_its_full_scale_and_its_zero() {
        let pcm = |bits| Encoding::Pcm { bits };
        assert_eq!(decoded(pcm(8), 1, &[0, 128, 255]), [-32_768, 0, 32_512]);
        assert_eq!(decoded(pcm(16), 1, &[0, 0x80, 0, 0, 0xFF, 0x7F]), [-32_768, 0, 32_767]);
        assert_eq!(
            decoded(pcm(24), 1, &[0, 0, 0x80, 0, 0, 0, 0xFF, 0xFF, 0x7F]),
            [-32_768, 0, 32_767]
        );
        let i32s: Vec<u8> = [i32::MIN, 0, i32::MAX].map(i32::to_le_bytes).concat();
        assert_eq!(decoded(pcm(32), 1, &i32s), [-32_768, 0, 32_767]);
        let f32s: Vec<u8> = [-1.0, 0.0, 1.0, 0.5].map(f32::to_le_bytes).concat();
        assert_eq!(decoded(Encoding::Float32, 1, &f32s), [-32_768, 0, 32_767, 16_384]);
        let f64s: Vec<u8> = [-1.0, 0.0, 1.0, 0.5].map(f64::to_le_bytes).concat();
        assert_eq!(decoded(Encoding::Float64, 1, &f64s), [-32_768, 0, 32_767, 16_384]);
        assert_eq!(decoded(Encoding::MuLaw, 1, &[0x00, 0xFF, 0x80]), [-32_124, 0, 32_124]);
        assert_eq!(decoded(Encoding::ALaw, 1, &[0x2A, 0xD5, 0xAA]), [-32_256, 8, 32_256]);
    }

    #[test]
    fn channels_are_averaged() {
        let stereo: Vec<u8> = [1_000_i16, 3_000, -32_768, -32_768, 500, -500]
            .iter()
            .flat_map(|sample| sample.to_le_bytes())
            .collect();
        assert_eq!(decoded(Encoding::Pcm { bits: 16 }, 2, &stereo), [2_000, -32_768, 0]);
        assert_eq!(decoded(Encoding::Pcm { bits: 8 }, 4, &[128, 128, 128, 192]), [4_096]);
    }

    #[test]
    fn floats_beyond_full_scale_saturate_and_nan_is_silence() {
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30, f32::MIN_POSITIVE];
        let bytes = odd.map(f32::to_le_bytes).concat();
        let mono = decoded(Encoding::Float32, 1, &bytes);
        assert_eq!(mono, [0, 32_767, -32_768, 32_767, -32_768, 0]);
        assert_eq!(decoded(Encoding::Float32, 2, &bytes), [16_384, 0, -16_384]);
        let doubles = [f64::NAN, 1e300, -1e300].map(f64::to_le_bytes).concat();
        assert_eq!(decoded(Encoding::Float64, 1, &doubles), [0, 32_767, -32_768]);
    }

    #[test]
    fn a_partial_frame_is_ignored() {
        assert_eq!(decoded(Encoding::Pcm { bits: 16 }, 1, &[1, 0, 2]), [1]);
        assert_eq!(decoded(Encoding::Pcm { bits: 16 }, 2, &[2, 0, 2, 0, 9, 9]), [2]);
    }
}
