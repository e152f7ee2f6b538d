//! What is made of compressed files: whole ones, cut ones, and ones that somebody has tampered with.

use std::{io::Cursor, time::Duration};

use super::{decode::decode_source, *};
use crate::{
    analysis::{dominant_frequency, tone_level_db},
    prompt::Sha256,
};

const HOUR: Duration = Duration::from_secs(3_600);

/// The files beside `make.sh`, which says what they hold, with their rate and the level of the tone.
const FILES: [(&str, &[u8], u32, f64); 8] = [
    ("mono16k.flac", include_bytes!("../../tests/compressed/mono16k.flac"), 16_000, -6.02),
    ("mono16k.oga", include_bytes!("../../tests/compressed/mono16k.oga"), 16_000, -6.02),
    ("mono16k.ogg", include_bytes!("../../tests/compressed/mono16k.ogg"), 16_000, -6.02),
    ("mono16k.mp3", include_bytes!("../../tests/compressed/mono16k.mp3"), 16_000, -6.02),
    ("titled16k.mp3", include_bytes!("../../tests/compressed/titled16k.mp3"), 16_000, -6.02),
    ("stereo44k.flac", include_bytes!("../../tests/compressed/stereo44k.flac"), 44_100, -12.04),
    ("stereo44k.ogg", include_bytes!("../../tests/compressed/stereo44k.ogg"), 44_100, -12.04),
    // lame takes the rate down by itself.
    ("stereo44k.mp3", include_bytes!("../../tests/compressed/stereo44k.mp3"), 24_000, -12.04),
];

fn decoded(bytes: &[u8]) -> Result<Decoded, CompressedError> {
    let packing = Packing::of(bytes).expect("it is one of these formats");
    decode_source(Cursor::new(bytes.to_vec()), packing, HOUR)
}

#[test]
fn every_format_is_told_by_its_content_and_heard_at_its_pitch_level_and_length() {
    for (name, bytes, rate, level) in FILES {
        let Decoded { prompt, missing, is_whole } = decoded(bytes).unwrap_or_else(|error| {
            panic!("{name}: {error}");
        });
        assert_eq!((prompt.rate, missing, is_whole), (rate, 0, true), "{name}");
        assert_eq!(prompt.sha256, Sha256::of(&prompt.samples), "{name}");
        let whole = rate as usize * 600 / 1_000;
        match name {
            // At 32 kbit/s a frame has no room for the tag that tells the encoder's delay.
            "mono16k.mp3" => assert_eq!(prompt.samples.len(), 19 * 576),
            _ => assert_eq!(prompt.samples.len(), whole, "{name}"),
        }
        for (from_ms, hz) in [(120, 440.0), (420, 1_000.0)] {
            let from = rate as usize * from_ms / 1_000;
            let piece = &prompt.samples[from..from + rate as usize / 10];
            let found = dominant_frequency(piece, rate).unwrap();
            assert!((found - hz).abs() < 3.0, "{name}: {found} Hz and not {hz}");
            let found = tone_level_db(piece, rate, hz);
            // At 32 kbit/s a tone loses a little.
            assert!((found - level).abs() < 0.5, "{name}: {found} dB and not {level}");
        }
    }
}

#[test]
fn flac_comes_back_sample_by_sample_in_both_of_its_containers() {
    let samples = |index: usize| decoded(FILES[index].1).unwrap().prompt.samples;
    let (flac, ogg) = (samples(0), samples(1));
    assert_eq!(flac, ogg);
    let mut phase = 0.0_f64;
    for (n, sample) in flac.iter().enumerate() {
        phase += std::f64::consts::TAU * if n < 4_800 { 440.0 } else { 1_000.0 } / 16_000.0;
        let exact = (16_384.0 * phase.sin()).round() as i16;
        assert!(sample.abs_diff(exact) <= 1, "sample {n} is {sample} and not {exact}");
    }
}

#[test]
fn a_file_that_was_cut_says_how_much_is_missing_or_is_what_it_holds() {
    let (_, flac, ..) = FILES[0];
    let cut = decoded(&flac[..flac.len() * 3 / 4]).unwrap();
    assert_eq!(cut.prompt.samples.len() as u64 + cut.missing, 9_600);
    assert!(cut.missing > 0);
    let (_, mp3, ..) = FILES[3];
    assert!(decoded(&mp3[..mp3.len() / 2]).unwrap().prompt.samples.len() < 19 * 576);
}

#[test]
fn what_is_wrong_with_a_file_is_named() {
    let refused = |bytes: &[u8]| decoded(bytes).unwrap_err().to_string();
    let (_, ogg, ..) = FILES[2];
    let opus = [&ogg[..28], b"OpusHead\x01\x01", &[0; 40]].concat();
    assert_eq!(refused(&opus), "Opus in an Ogg file is not supported (Vorbis and FLAC are)");
    assert_eq!(refused(b"fLaC"), "the FLAC file cannot be read: it ends in its headers");
    assert!(refused(&[b"ID3\x03\0\0\0\0\0\0", &[0; 400][..]].concat()).starts_with("the MP3 file"));
    let mut rate = silent_flac(2);
    // STREAMINFO: 20 bits of rate from byte 18 on. 1 Hz would make an hour of a few bytes.
    rate[18..21].copy_from_slice(&[0, 0, 0x10]);
    assert_eq!(refused(&rate), "a sampling rate of 1 Hz is not supported (4000 to 192000 Hz are)");
}

#[test]
fn a_page_that_is_gone_is_no_silent_hole() {
    // Frames of FLAC begin with this sync code; one in the middle goes.
    let (_, flac, ..) = FILES[5];
    let frames: Vec<usize> = (8_usize..flac.len() - 1)
        .filter(|&at| flac[at] == 0xFF && flac[at + 1] & 0xFE == 0xF8)
        .collect();
    let (from, to) = (frames[2], frames[3]);
    let without = [&flac[..from], &flac[to..]].concat();
    let refused = decoded(&without).unwrap_err().to_string();
    assert_eq!(refused, "the FLAC file is damaged after 92 ms of audio: a piece is missing");
}

#[test]
fn a_small_file_that_unpacks_to_hours_stops_at_the_limit() {
    let file = silent_flac(2_000);
    assert!(file.len() < 40_000, "{} bytes hold an hour and a half", file.len());
    let second = decode_source(Cursor::new(file), Packing::Flac, Duration::from_secs(1)).unwrap();
    assert!(!second.is_whole);
    assert!(second.prompt.samples.len() <= 16_000 + 65_535);
}

#[test]
fn no_cut_or_changed_file_takes_the_process_down_or_reads_itself_twice() {
    let mut state = 1_u64;
    let mut random = move |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut playable, mut refused, mut crashed) = (0, 0, 0);
    for (name, bytes, ..) in FILES {
        for round in 0..250 {
            let mut bytes = bytes.to_vec();
            for _ in 0..=round % 7 {
                let at = random(bytes.len());
                bytes[at] = random(256) as u8;
            }
            if round % 3 == 0 {
                bytes.truncate(random(bytes.len()).max(4));
            }
            let Some(packing) = Packing::of(&bytes) else { continue };
            let length = bytes.len() as u64;
            let source = Counted { inner: Cursor::new(bytes), read: Default::default() };
            let read = std::sync::Arc::clone(&source.read);
            match decode_source(source, packing, HOUR) {
                Ok(decoded) => {
                    playable += 1;
                    assert!(decoded.prompt.samples.len() < 2_000_000, "{name} {round}");
                }
                Err(CompressedError::DecoderFailed(_)) => crashed += 1,
                Err(_) => refused += 1,
            }
            let read = read.load(std::sync::atomic::Ordering::Relaxed);
            assert!(read <= 3 * length + 64 * 1024, "{name} {round}: {read} of {length} bytes");
        }
    }
    println!("{playable} playable, {refused} refused, {crashed} panics of the decoder caught");
    assert!(playable > 100 && refused > 500, "{playable} and {refused}");
}

#[test]
fn garbage_behind_a_good_beginning_is_read_in_linear_time() {
    for (name, bytes, ..) in FILES {
        let mut long = bytes[..bytes.len() / 2].to_vec();
        // Bytes that look like the beginning of frames, again and again.
        long.extend([0xFF, 0xF8, 0xFB, 0x90, b'O', b'g', b'g', b'S'].repeat(256 * 1024));
        let begun = std::time::Instant::now();
        let _ = decoded(&long);
        let taken = begun.elapsed();
        println!("{name}: {taken:?} for {} bytes", long.len());
        assert!(taken < Duration::from_secs(10), "{name}: {taken:?}");
    }
}

/// A source that counts what is read from it.
struct Counted {
    inner: Cursor<Vec<u8>>,
    read: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

impl std::io::Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read.fetch_add(read as u64, std::sync::atomic::Ordering::Relaxed);
        Ok(read)
    }
}

impl std::io::Seek for Counted {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        self.inner.seek(to)
    }
}

impl symphonia::core::io::MediaSource for Counted {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.inner.get_ref().len() as u64)
    }
}

/// FLAC frames of 65535 samples of silence each, mono, 16 kHz, 16 bits (RFC 9639 §8.2, §9).
fn silent_flac(frames: u16) -> Vec<u8> {
    let mut file = b"fLaC\x80\x00\x00\x22".to_vec();
    file.extend([0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0]);
    // 16000 Hz in 20 bits, 1 channel, 16 bits, an unknown number of samples, no MD5.
    file.extend([0x03, 0xE8, 0x00, 0xF0, 0, 0, 0, 0]);
    file.extend([0; 16]);
    for number in 0..frames {
        let mut frame = vec![0xFF, 0xF8, 0x70, 0x00];
        match number {
            0..0x80 => frame.push(number as u8),
            0x80..0x800 => frame.extend([0xC0 | (number >> 6) as u8, 0x80 | (number & 0x3F) as u8]),
            _ => frame.extend([
                0xE0 | (number >> 12) as u8,
                0x80 | (number >> 6 & 0x3F) as u8,
                0x80 | (number & 0x3F) as u8,
            ]),
        }
        frame.extend([0xFF, 0xFE]);
        frame.push(crc(&frame, 8, 0x07) as u8);
        // One constant subframe of the value 0.
        frame.extend([0x00, 0x00, 0x00]);
        let crc = crc(&frame, 16, 0x8005);
        frame.extend(crc.to_be_bytes());
        file.extend(frame);
    }
    file
}

fn crc(bytes: &[u8], bits: u32, polynomial: u16) -> u16 {
    let (top, mask) = (1_u16 << (bits - 1), u16::MAX >> (16 - bits));
    bytes.iter().fold(0, |mut crc, byte| {
        crc ^= u16::from(*byte) << (bits - 8);
        for _ in 0..8 {
            crc = if crc & top != 0 { crc << 1 ^ polynomial } else { crc << 1 };
        }
        crc & mask
    })
}
