//! Which compressed format a file has, by its first bytes and by nothing else.

use std::fmt;

/// Bytes of a file that are looked at.
pub const LOOK: usize = 64;

/// Bytes of an Ogg page before its segment table (RFC 3533 §6).
const PAGE_HEADER: usize = 27;

/// A format of compressed audio that is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// MPEG audio layer 3, with or without ID3 tags.
    Mp3,
    /// FLAC in its own container.
    Flac,
    /// Vorbis or FLAC in Ogg.
    Ogg,
}

impl Packing {
    /// The format of a file that begins so; `None` if it is none of these. That a file is named here
    /// does not mean that it is whole, or audio at all.
    pub fn of(beginning: &[u8]) -> Option<Self> {
        match beginning {
            [b'f', b'L', b'a', b'C', ..] => Some(Self::Flac),
            [b'O', b'g', b'g', b'S', ..] => Some(Self::Ogg),
            [b'I', b'D', b'3', ..] => Some(Self::Mp3),
            // Frame sync; layer bits 01 mean layer 3; version bits 01 do not exist (ISO 11172-3
            // §2.4.2.3).
            [0xFF, second, ..] if second & 0xE6 == 0xE2 && second & 0x18 != 0x08 => Some(Self::Mp3),
            _ => None,
        }
    }
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mp3 => "MP3",
            Self::Flac => "FLAC",
            Self::Ogg => "Ogg",
        })
    }
}

/// What the first packet of an Ogg file says it holds.
pub(super) fn ogg_content(beginning: &[u8]) -> Option<&'static str> {
    let segments = usize::from(*beginning.get(PAGE_HEADER - 1)?);
    let packet = beginning.get(PAGE_HEADER + segments..)?;
    let known: [(&[u8], &str); 6] = [
        (b"OpusHead", "Opus"),
        (b"Speex   ", "Speex"),
        (b"\x80theora", "Theora video"),
        (b"\x01vorbis", "Vorbis"),
        (b"\x7FFLAC", "FLAC"),
        (b"fishead\0", "a skeleton"),
    ];
    known.into_iter().find(|(magic, _)| packet.starts_with(magic)).map(|(_, name)| name)
}
