//! The 93 files of the shared WAV corpus: verdict, length and pitch of what would be heard, in both
//! modes, and the same result however the bytes are split into reads.

use std::{
    io::{self, Read},
    path::Path,
    process::Command,
    time::Duration,
};

use graphophone_media::{
    analysis,
    codec::SampleCodec,
    prompt::{Accept, Prompt},
    wav::{WavError, WavReader},
};
use proptest::prelude::*;
use serde::Deserialize;

/// One row of the corpus index.
#[derive(Deserialize)]
struct Row {
    file: String,
    teams: String,
    superset: String,
    seconds: f64,
    hz: f64,
}

/// The corpus, generated into a directory of its own.
struct Corpus {
    rows: Vec<Row>,
    folder: tempfile::TempDir,
}

impl Corpus {
    fn generate() -> Self {
        let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
        assert!(shared.is_dir(), "the shared corpus is missing: no {}", shared.display());
        let folder = tempfile::tempdir().expect("a temporary directory");
        let status = Command::new("python3")
            .arg(shared.join("gen_wav.py"))
            .arg(folder.path())
            .stdout(std::process::Stdio::null())
            .status()
            .expect("python3 runs the corpus generator");
        assert!(status.success(), "the corpus generator failed: {status}");
        let index = std::fs::read(shared.join("wav/index.json")).expect("the corpus index");
        let rows = serde_json::from_slice(&index).expect("the index is a list of rows");
        Self { rows, folder }
    }

    fn bytes(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join(file)).expect("a file that the index names")
    }
}

#[test]
fn every_file_of_the_corpus_gets_its_verdict_and_is_heard_as_meant() {
    let corpus = Corpus::generate();
    assert_eq!(corpus.rows.len(), 93);
    let mut faults = Vec::new();
    for row in &corpus.rows {
        let bytes = corpus.bytes(&row.file);
        for (accept, verdict) in [(Accept::Any, &row.superset), (Accept::GraphOnly, &row.teams)] {
            let outcome = Prompt::decode(bytes.as_slice(), accept);
            if let Err(fault) = judge(row, verdict, outcome) {
                faults.push(format!("{} ({accept:?}): {fault}", row.file));
            }
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn reading_depends_on_the_bytes_and_not_on_how_they_arrive() {
    let corpus = Corpus::generate();
    for row in &corpus.rows {
        let bytes = corpus.bytes(&row.file);
        // One byte at a time over megabytes shows nothing that the first 300 kB do not.
        let bytes = &bytes[..bytes.len().min(300_000)];
        for accept in [Accept::Any, Accept::GraphOnly] {
            let whole = outcome(Prompt::decode(bytes, accept));
            for seed in 0..4 {
                let split = outcome(Prompt::decode(Splits { bytes, seed }, accept));
                assert_eq!(whole, split, "{} with seed {seed}", row.file);
            }
        }
    }
}

#[test]
fn headers_are_walked_and_long_files_decoded_quickly() {
    let corpus = Corpus::generate();
    for (file, limit_ms) in [
        ("b25_chunk_size_zero_flood.wav", 50),
        ("b24_chunk_size_ffffffff.wav", 50),
        ("b33_riff_then_random.wav", 50),
        ("g21_long_5min.wav", 200),
    ] {
        let bytes = corpus.bytes(file);
        // Processor time of this thread: other processes share this machine.
        let start = processor_time();
        if let Ok(mut reader) = WavReader::open(bytes.as_slice()) {
            let mut samples = Vec::new();
            while reader.read(&mut samples).expect("memory can be read") > 0 {}
        }
        let spent = processor_time() - start;
        assert!(spent < Duration::from_millis(limit_ms), "{file} took {spent:?}");
    }
}

#[test]
fn refusals_tell_a_developer_what_was_found() {
    let corpus = Corpus::generate();
    for (file, accept, text) in [
        ("f_html", Accept::Any, "not a WAV file: it starts with `<!doctype html><` (an HTML page)"),
        (
            "f_json",
            Accept::Any,
            "not a WAV file: it starts with `{\"error\":\"expire` (a JSON document)",
        ),
        ("f_mp3_in_wav", Accept::Any, "MP3 audio in a WAV container is not supported"),
        ("f_adpcm_ms", Accept::Any, "Microsoft ADPCM audio in a WAV container is not supported"),
        ("f_gsm", Accept::Any, "GSM 6.10 audio in a WAV container is not supported"),
        ("b01_empty", Accept::Any, "not a WAV file: it is empty"),
        ("b02_4bytes", Accept::Any, "the WAV file is cut off in its header, after 4 bytes"),
        ("b03_12bytes", Accept::Any, "the WAV file is cut off in its header, after 12 bytes"),
        ("b04_trunc_fmt", Accept::Any, "the WAV file is cut off in its header, after 24 bytes"),
        ("b10_no_data", Accept::Any, "the WAV file has no data chunk"),
        ("b11_no_fmt", Accept::Any, "the WAV file has no fmt chunk before its data chunk"),
        ("g04_zero_samples", Accept::Any, "the WAV file has no audio: its data chunk is empty"),
        (
            "f_float32",
            Accept::GraphOnly,
            "16 kHz mono 16-bit WAV is required in this mode, got 16 kHz mono float",
        ),
        (
            "f_rate_44100",
            Accept::GraphOnly,
            "16 kHz mono 16-bit WAV is required in this mode, got 44.1 kHz mono 16-bit",
        ),
    ] {
        let bytes = corpus.bytes(&format!("{file}.wav"));
        let refusal = Prompt::decode(bytes.as_slice(), accept).expect_err(file);
        assert_eq!(refusal.to_string(), text, "{file}");
    }
}

/// What is wrong with an outcome, in the words of the corpus.
fn judge(row: &Row, verdict: &str, outcome: Result<Prompt, WavError>) -> Result<(), String> {
    let prompt = match (verdict, outcome) {
        ("fail" | "play|fail", Err(_)) => return Ok(()),
        ("play", Err(error)) => return Err(format!("must play: {error}")),
        ("fail", Ok(_)) => return Err("must fail".to_owned()),
        ("play" | "play|fail", Ok(prompt)) => prompt,
        (other, _) => return Err(format!("the index has a verdict {other}")),
    };
    heard_as_meant("decoded", row, prompt.rate, &prompt.samples)?;
    for codec in SampleCodec::ALL {
        let heard = prompt.encode(codec).decode().ok_or("it is not decoded")?;
        heard_as_meant(codec.name(), row, codec.rate(), &heard)?;
    }
    Ok(())
}

/// What a row means to be heard.
enum Meant {
    Silence,
    /// −32768 throughout.
    LowestSample,
    /// Frequencies in Hz with their levels in dBFS.
    Tones(Vec<(f64, f64)>),
    /// A tone of half of full scale with clicks that the file really contains.
    ToneWithClicks(f64),
}

fn meant(row: &Row) -> Meant {
    let name = row.file.split('_').next().unwrap_or_default();
    match (name, row.file.trim_end_matches(".wav")) {
        ("g19", _) => Meant::LowestSample,
        ("g18", _) => Meant::Tones(vec![(row.hz, 0.0)]),
        // (L+R)/2 cancels.
        (_, "f_stereo_antiphase") => Meant::Silence,
        (_, "f_stereo_lr") => Meant::Tones(vec![(440.0, -12.04), (1_000.0, -12.04)]),
        // Infinities saturate; a RIFF header inside the data is audio.
        (_, "f_float32_nan") | ("b37", _) => Meant::ToneWithClicks(row.hz),
        _ if row.hz == 0.0 => Meant::Silence,
        _ => Meant::Tones(vec![(row.hz, -6.02)]),
    }
}

fn heard_as_meant(stage: &str, row: &Row, rate: u32, samples: &[i16]) -> Result<(), String> {
    let seconds = samples.len() as f64 / f64::from(rate);
    if (seconds - row.seconds).abs() > 0.02 {
        return Err(format!("{stage}: {seconds} s instead of {}", row.seconds));
    }
    // One sample, or none of interest, has no pitch.
    if seconds < 0.02 {
        return Ok(());
    }
    match meant(row) {
        Meant::Silence => match analysis::dominant_frequency(samples, rate) {
            None => Ok(()),
            Some(hz) => Err(format!("{stage}: {hz} Hz instead of silence")),
        },
        Meant::LowestSample => {
            // No sign may flip, except in the ringing of the filter at the ends.
            let middle = &samples[samples.len() / 4..samples.len() * 3 / 4];
            match middle.iter().max() {
                Some(..=-32_000) => Ok(()),
                other => Err(format!("{stage}: highest sample {other:?} instead of full scale")),
            }
        }
        Meant::ToneWithClicks(hz) => has_tones(stage, rate, samples, &[(hz, -6.02)]),
        Meant::Tones(tones) => {
            has_tones(stage, rate, samples, &tones)?;
            nothing_else(stage, rate, samples, &tones)
        }
    }
}

fn has_tones(stage: &str, rate: u32, samples: &[i16], tones: &[(f64, f64)]) -> Result<(), String> {
    let Some(found) = analysis::dominant_frequency(samples, rate) else {
        return Err(format!("{stage}: silence"));
    };
    if !tones.iter().any(|(hz, _)| (found - hz).abs() < hz * 0.01) {
        return Err(format!("{stage}: {found} Hz instead of {tones:?}"));
    }
    for &(hz, expected) in tones {
        let level = analysis::tone_level_db(samples, rate, hz);
        if (level - expected).abs() > 1.0 {
            return Err(format!("{stage}: {hz} Hz at {level:.2} dB instead of {expected}"));
        }
    }
    Ok(())
}

fn nothing_else(
    stage: &str,
    rate: u32,
    samples: &[i16],
    tones: &[(f64, f64)],
) -> Result<(), String> {
    let power: f64 = tones.iter().map(|(_, level)| 10_f64.powf(level / 10.0)).sum();
    let (rms, expected) = (analysis::rms_db(samples), 10.0 * power.log10());
    if (rms - expected).abs() > 1.0 {
        return Err(format!("{stage}: {rms:.2} dB in all, instead of {expected:.2}"));
    }
    // The corpus asks for 30 dB, and for 28 dB of G.711.
    let least = if stage == "decoded" { 30.0 } else { 28.0 };
    match tones {
        &[(hz, _)] if snr_db(samples, rate, hz) < least => {
            let snr = snr_db(samples, rate, hz);
            Err(format!("{stage}: noise only {snr:.1} dB below the tone"))
        }
        _ => Ok(()),
    }
}

/// Power of a tone over the power of everything else, in dB; the tone by least squares.
fn snr_db(samples: &[i16], rate: u32, hz: f64) -> f64 {
    let step = std::f64::consts::TAU * hz / f64::from(rate);
    let waves = || (0..samples.len()).map(|n| (n as f64 * step).sin_cos());
    let (mut ss, mut sc, mut cc, mut xs, mut xc) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (&sample, (sin, cos)) in samples.iter().zip(waves()) {
        let sample = f64::from(sample);
        ss += sin * sin;
        sc += sin * cos;
        cc += cos * cos;
        xs += sample * sin;
        xc += sample * cos;
    }
    let determinant = ss * cc - sc * sc;
    let (a, b) = ((xs * cc - xc * sc) / determinant, (xc * ss - xs * sc) / determinant);
    let (mut signal, mut noise) = (0.0, 0.0);
    for (&sample, (sin, cos)) in samples.iter().zip(waves()) {
        let tone = a * sin + b * cos;
        signal += tone * tone;
        noise += (f64::from(sample) - tone).powi(2);
    }
    10.0 * (signal / noise).log10()
}

fn processor_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(now).expect("a clock that began at zero")
}

/// A result that can be compared.
fn outcome(result: Result<Prompt, WavError>) -> Result<(u32, Vec<i16>), String> {
    result.map(|prompt| (prompt.rate, prompt.samples)).map_err(|error| error.to_string())
}

/// Hands out bytes in pieces: seed 0 one at a time, others of changing sizes, with interruptions.
struct Splits<'a> {
    bytes: &'a [u8],
    seed: u32,
}

impl Read for Splits<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut piece = 1;
        if self.seed > 0 {
            self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223).max(1);
            piece = 1 + (self.seed >> 8) as usize % 5_000;
            if self.seed >> 28 == 0 {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
        let count = piece.min(self.bytes.len()).min(buffer.len());
        buffer[..count].copy_from_slice(&self.bytes[..count]);
        self.bytes = &self.bytes[count..];
        Ok(count)
    }
}

/// Decodes foreign bytes and checks what must hold for all of them.
fn survives(bytes: &[u8], seed: u32) -> Result<(), TestCaseError> {
    for accept in [Accept::Any, Accept::GraphOnly] {
        let whole = Prompt::decode(bytes, accept);
        if let Ok(prompt) = &whole {
            // The smallest sample takes one byte, and a header stands before it.
            prop_assert!(prompt.samples.len() + 44 <= bytes.len());
            prop_assert!(prompt.samples.capacity() <= bytes.len());
            prop_assert!((4_000..=192_000).contains(&prompt.rate));
            let encoded = prompt.encode(SampleCodec::Pcmu);
            prop_assert!(encoded.units() <= 2 * prompt.samples.len() as u64);
        }
        if let Err(error) = &whole {
            prop_assert!(error.to_string().len() < 200, "{error}");
        }
        let split = Prompt::decode(Splits { bytes, seed }, accept);
        prop_assert_eq!(outcome(whole), outcome(split));
    }
    Ok(())
}

/// A `fmt ` body with plausible and implausible members.
fn fmt_body() -> impl Strategy<Value = Vec<u8>> {
    let tag = prop_oneof![Just(1_u16), Just(3), Just(6), Just(7), Just(0xFFFE), any::<u16>()];
    let channels = prop_oneof![1_u16..9, any::<u16>()];
    let rate = prop_oneof![
        Just(8_000_u32),
        Just(16_000),
        Just(44_100),
        Just(191_999),
        4_000_u32..192_000,
        any::<u32>()
    ];
    let bits = prop_oneof![Just(8_u16), Just(16), Just(24), Just(32), Just(64), any::<u16>()];
    let align = prop_oneof![Just(0_u16), 0_u16..64, any::<u16>()];
    let more = proptest::collection::vec(any::<u8>(), 0..30);
    (tag, channels, rate, align, bits, more, any::<bool>()).prop_map(
        |(tag, channels, rate, align, bits, more, known)| {
            let mut body = tag.to_le_bytes().to_vec();
            body.extend(channels.to_le_bytes());
            body.extend(rate.to_le_bytes());
            body.extend(0_u32.to_le_bytes());
            body.extend(align.to_le_bytes());
            body.extend(bits.to_le_bytes());
            if known {
                // A PCM sub-format, so that extensible headers get through.
                body.extend([22, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0x10, 0, 0x80, 0]);
                body.extend([0, 0xAA, 0, 0x38, 0x9B, 0x71]);
            } else {
                body.extend(more);
            }
            body
        },
    )
}

/// A chunk whose size may lie and whose padding may be missing.
fn chunk() -> impl Strategy<Value = Vec<u8>> {
    let body = prop_oneof![
        fmt_body().prop_map(|body| (*b"fmt ", body)),
        proptest::collection::vec(any::<u8>(), 0..600).prop_map(|body| (*b"data", body)),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(|body| (*b"ds64", body)),
        (any::<[u8; 4]>(), proptest::collection::vec(any::<u8>(), 0..40)),
    ];
    let lie =
        prop_oneof![8 => Just(None), 1 => any::<u32>().prop_map(Some), 1 => Just(Some(u32::MAX))];
    (body, lie, any::<bool>()).prop_map(|((id, body), lie, pad)| {
        let size = lie.unwrap_or(u32::try_from(body.len()).expect("some hundred bytes"));
        let mut bytes = id.to_vec();
        bytes.extend(size.to_le_bytes());
        bytes.extend(&body);
        if pad && body.len() % 2 == 1 {
            bytes.push(0);
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_refused_or_decoded_without_harm(
        bytes in proptest::collection::vec(any::<u8>(), 0..2_000),
        seed in 0_u32..5,
    ) {
        survives(&bytes, seed)?;
    }

    #[test]
    fn arbitrary_chunks_are_refused_or_decoded_without_harm(
        first in fmt_body(),
        chunks in proptest::collection::vec(chunk(), 0..5),
        long in any::<bool>(),
        size in prop_oneof![Just(0_u32), Just(u32::MAX), any::<u32>()],
        cut in 0_usize..4_000,
        seed in 0_u32..5,
    ) {
        let mut bytes = if long { b"RF64".to_vec() } else { b"RIFF".to_vec() };
        bytes.extend(size.to_le_bytes());
        bytes.extend(b"WAVEfmt ");
        bytes.extend(u32::try_from(first.len()).expect("at most 70 bytes").to_le_bytes());
        bytes.extend(first);
        chunks.iter().for_each(|chunk| bytes.extend(chunk));
        bytes.truncate(cut);
        survives(&bytes, seed)?;
    }
}
