//! MP3, FLAC and Ogg files: whatever they hold, they become samples or a refusal, in bounded memory; and
//! the beginning of a file is the same however much of it is asked for.

use std::{panic, sync::Once, time::Duration};

use graphophone_media::{
    compressed::{CompressedError, Packing, decode_bytes},
    wav::{MAX_RATE, MIN_RATE},
};

use super::Numbers;

/// What is asked for: enough for several packets of each format.
const SHORT: Duration = Duration::from_millis(250);
const LONG: Duration = Duration::from_secs(4);
/// The decoders' own tables, as `decode` documents them, and what a packet unpacks to.
const TABLES: u64 = 96 << 20;
/// Bytes for a sample of the longest file, in a vector that doubles.
const A_SAMPLE: u64 = 6;

pub(crate) fn run(data: &[u8]) {
    tolerate_decoders();
    // What begins like none of them is never decoded; here it is, as one of them.
    let guess = || [Packing::Mp3, Packing::Flac, Packing::Ogg][Numbers::of(data).below(3)];
    let packing = Packing::of(data).unwrap_or_else(guess);
    let mut decoded = None;
    let used = allocation_counter::measure(|| decoded = Some(read(data, packing, LONG)));
    let most = TABLES + A_SAMPLE * LONG.as_secs() * 48_000 + 8 * data.len() as u64;
    assert!(used.bytes_max <= most, "{} bytes for {packing}", used.bytes_max);
    let short = read(data, packing, SHORT);
    match (decoded.expect("measured"), short) {
        (Ok((rate, long, is_whole)), Ok((same_rate, short, short_is_whole))) => {
            assert_eq!(rate, same_rate);
            assert!((MIN_RATE..=MAX_RATE).contains(&rate), "{rate} Hz");
            assert!(!short.is_empty() && long.starts_with(&short), "another beginning");
            assert!(!short_is_whole || (is_whole && long.len() == short.len()));
            assert!(is_whole || long.len() as u64 >= LONG.as_secs() * u64::from(rate.min(48_000)));
        }
        // Damage behind what is asked for is not looked at.
        (Err(_), Ok((.., is_whole))) => assert!(!is_whole, "the rest of it is refused"),
        (Err(long), Err(short)) => assert_eq!(long.to_string(), short.to_string()),
        (Ok(_), Err(error)) => panic!("only a part of it is refused: {error}"),
    }
}

type Samples = (u32, Vec<i16>, bool);

fn read(data: &[u8], packing: Packing, longest: Duration) -> Result<Samples, CompressedError> {
    let decoded = decode_bytes(data.to_vec(), packing, longest);
    if let Err(error) = &decoded {
        let text = error.to_string();
        assert!(text.len() < 300 && !text.contains(char::is_control), "{text}");
    }
    decoded.map(|found| (found.prompt.rate, found.prompt.samples, found.is_whole))
}

/// A panic of symphonia's is caught in `decode` and ends as a refusal; libFuzzer would end the process
/// before that. One anywhere else is a finding.
fn tolerate_decoders() {
    static SET: Once = Once::new();
    SET.call_once(|| {
        let ends = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let file = panic.location().map(|location| location.file()).unwrap_or_default();
            if !file.contains("symphonia") {
                ends(panic);
            }
        }));
    });
}
