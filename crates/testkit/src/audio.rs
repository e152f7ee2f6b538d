//! Sounds to play, and what was heard of them.

use graphophone_media::{
    analysis,
    codec::Codec,
    prompt::{Accept, Prompt},
    wav,
};

/// How much heard and sent may differ in length.
const LENGTH_TOLERANCE_MS: f64 = 20.0;
/// Longest silence between tones that touch.
const LONGEST_GAP_MS: f64 = 40.0;

/// Sampling rate of [`tone`]: what Graph documents.
pub const RATE: u32 = 16_000;

/// A sine of `hz` for `ms` milliseconds at −6 dBFS, 16 kHz.
pub fn tone(hz: f64, ms: u32) -> Vec<i16> {
    let samples = u64::from(RATE) * u64::from(ms) / 1_000;
    let step = std::f64::consts::TAU * hz / f64::from(RATE);
    (0..samples).map(|n| ((step * n as f64).sin() * 16_384.0) as i16).collect()
}

/// The same as a WAV file.
pub fn tone_wav(hz: f64, ms: u32) -> Vec<u8> {
    wav::to_bytes(RATE, &tone(hz, ms))
}

/// What a phone with this codec makes of WAV files played back to back.
pub fn as_heard(files: &[&[u8]], codec: Codec) -> Vec<i16> {
    let codec = codec.sample().expect("a sample codec: phones here decode no frames");
    let decode = |file: &&[u8]| {
        let prompt = Prompt::decode(*file, Accept::Any).expect("a WAV file of the test");
        prompt.encode(codec).decode().expect("samples")
    };
    files.iter().flat_map(decode).collect()
}

/// The main frequency of a piece of what was heard, from and to in milliseconds.
pub fn frequency_at(heard: &[i16], from_ms: usize, to_ms: usize) -> Option<f64> {
    let rate = Codec::Pcmu.rate() as usize;
    let piece = heard.get(from_ms * rate / 1_000..(to_ms * rate / 1_000).min(heard.len()))?;
    analysis::dominant_frequency(piece, Codec::Pcmu.rate())
}

/// Milliseconds of a signal at 8 kHz.
pub fn length_ms(heard: &[i16]) -> f64 {
    heard.len() as f64 * 1_000.0 / f64::from(Codec::Pcmu.rate())
}

/// Samples of the audio telephone: all its codecs have this rate.
pub fn ms_to_samples(ms: usize) -> usize {
    ms * Codec::Pcmu.rate() as usize / 1_000
}

/// Asserts that exactly `expected`, tones without pauses, was heard: as content (correlation),
/// length and without gaps, and then sample by sample. Behind it may come the silence that fills
/// the last packet.
///
/// # Panics
/// Says what differs.
pub fn assert_heard(heard: &[i16], expected: &[i16]) {
    let rate = Codec::Pcmu.rate();
    let (heard_ms, expected_ms) = (length_ms(heard), length_ms(expected));
    let found = analysis::align(heard, expected, rate).expect("neither is silence");
    assert!(found.correlation >= 0.99, "{found:?}, {heard_ms} ms of {expected_ms} ms");
    assert!(
        heard_ms - expected_ms < LENGTH_TOLERANCE_MS && heard_ms >= expected_ms,
        "{heard_ms} ms heard of {expected_ms} ms"
    );
    let gaps = analysis::gaps(heard, rate, LONGEST_GAP_MS);
    assert!(gaps.is_empty(), "{gaps:?}");
    let (played, filled) = heard.split_at(expected.len());
    let first_wrong = played.iter().zip(expected).position(|(left, right)| left != right);
    assert_eq!(first_wrong, None, "the first sample that is another than was sent");
    assert!(filled.iter().all(|sample| sample.unsigned_abs() <= 8), "{filled:?}");
}

/// Asserts which tones are heard one after another, each as (Hz, ms); 30 ms at both ends of each
/// do not count.
///
/// # Panics
/// Names the place and the frequency found there.
pub fn assert_tones(heard: &[i16], tones: &[(f64, usize)]) {
    let mut at = 0;
    for &(hz, ms) in tones {
        let found = frequency_at(heard, at + 30, at + ms - 30).unwrap_or(0.0);
        assert!((found - hz).abs() < hz * 0.02, "{found} Hz and not {hz} Hz at {at} ms");
        at += ms;
    }
}

/// The sum of sines as a WAV file of 32-bit floats in stereo, the same on both sides. Each part is
/// (Hz, amplitude of 1.0).
pub fn float_stereo_wav(rate: u32, ms: u32, parts: &[(f64, f64)]) -> Vec<u8> {
    const CHANNELS: u16 = 2;
    const BYTES: u16 = 4;
    let frames = u64::from(rate) * u64::from(ms) / 1_000;
    let mut data = Vec::new();
    for n in 0..frames {
        let time = n as f64 / f64::from(rate);
        let sum: f64 =
            parts.iter().map(|(hz, level)| level * (std::f64::consts::TAU * hz * time).sin()).sum();
        data.extend([(sum as f32).to_le_bytes(); 2].concat());
    }
    let size = u32::try_from(data.len()).expect("a short file");
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((36 + size).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    file.extend(3_u16.to_le_bytes()); // WAVE_FORMAT_IEEE_FLOAT
    file.extend(CHANNELS.to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend((rate * u32::from(CHANNELS * BYTES)).to_le_bytes());
    file.extend((CHANNELS * BYTES).to_le_bytes());
    file.extend((BYTES * 8).to_le_bytes());
    file.extend(b"data");
    file.extend(size.to_le_bytes());
    file.extend(data);
    file
}
