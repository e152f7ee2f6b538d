//! What the first bytes of a file look like: the part of an error that tells a developer that the
//! "WAV file" is a login page.

use std::fmt;

/// Bytes of a file that are looked at to name it.
pub(super) const LOOK: usize = 64;

/// The beginning of a file that is not a WAV file. Displays as printable ASCII of limited length,
/// safe to log and to send in a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    shown: String,
    kind: Option<&'static str>,
}

impl Opening {
    /// At most this many characters of the file are shown, escapes included.
    pub const MAX_SHOWN: usize = 32;

    /// Looks at the first bytes of a file.
    pub fn of(bytes: &[u8]) -> Self {
        Self { shown: escaped(bytes), kind: kind(bytes) }
    }

    /// What the bytes are taken for, such as "an HTML page".
    pub fn kind(&self) -> Option<&'static str> {
        self.kind
    }
}

impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.shown)?;
        self.kind.map_or(Ok(()), |kind| write!(f, " ({kind})"))
    }
}

/// Printable ASCII as it is, everything else (and what quotes the text) as escapes.
fn escaped(bytes: &[u8]) -> String {
    // Sixteen bytes tell formats apart; more would only carry the page's contents into logs.
    const SHOWN_BYTES: usize = 16;
    let mut shown = String::new();
    for &byte in bytes.iter().take(SHOWN_BYTES) {
        let piece = match byte {
            b'\r' => "\\r".to_owned(),
            b'\n' => "\\n".to_owned(),
            b'\t' => "\\t".to_owned(),
            b' '..=b'~' if byte != b'`' && byte != b'\\' => char::from(byte).to_string(),
            _ => format!("\\x{byte:02X}"),
        };
        if shown.len() + piece.len() > Opening::MAX_SHOWN {
            break;
        }
        shown.push_str(&piece);
    }
    shown
}

fn kind(bytes: &[u8]) -> Option<&'static str> {
    const BOM: &[u8] = b"\xEF\xBB\xBF";
    let at = |offset: usize, magic: &[u8]| {
        bytes.get(offset..).is_some_and(|rest| rest.starts_with(magic))
    };
    let text = bytes.strip_prefix(BOM).unwrap_or(bytes).trim_ascii_start();
    let tag =
        |name: &[u8]| text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));

    let binary: [(usize, &[u8], &str); 20] = [
        (0, b"RIFX", "a big-endian WAV file"),
        (0, b"riff.\x91\xCF\x11", "a Sony Wave64 file"),
        (8, b"WEBP", "a WebP image"),
        (8, b"AVI ", "an AVI video"),
        (8, b"AIFF", "an AIFF file"),
        (8, b"AIFC", "an AIFF file"),
        (0, b"OggS", "an Ogg file"),
        (0, b"fLaC", "a FLAC file"),
        (0, b"ID3", "an MP3 file"),
        (4, b"ftyp", "an MP4 or M4A file"),
        (0, b"\x1A\x45\xDF\xA3", "a WebM or Matroska file"),
        (0, b"#!AMR", "an AMR file"),
        (0, b".snd", "an AU file"),
        (0, b"caff", "an Apple CAF file"),
        (0, b"\x30\x26\xB2\x75", "a Windows Media file"),
        (0, b"\x1F\x8B", "gzip-compressed data"),
        (0, b"\x28\xB5\x2F\xFD", "zstd-compressed data"),
        (0, b"PK\x03\x04", "a ZIP archive"),
        (0, b"%PDF", "a PDF document"),
        (0, b"version https://git-lfs", "a Git LFS pointer instead of the file"),
    ];
    if let Some(&(_, _, name)) = binary.iter().find(|(offset, magic, _)| at(*offset, magic)) {
        return Some(name);
    }
    match bytes {
        // MPEG audio frame sync; layer bits 00 mean ADTS (ISO 13818-7 §6.2).
        [0xFF, second, ..] if second & 0xF6 == 0xF0 => return Some("an AAC file"),
        // Layer bits 01 mean layer 3; version bits 01 do not exist (ISO 11172-3 §2.4.2.3).
        [0xFF, second, ..] if second & 0xE6 == 0xE2 && second & 0x18 != 0x08 => {
            return Some("an MP3 file");
        }
        [b'R', b'I', b'F', b'F', _, _, _, _, ..] => {
            return Some("a RIFF file, but not of WAVE form");
        }
        _ => {}
    }
    if tag(b"RIFF") && !bytes.starts_with(b"RIFF") {
        return Some(if text.starts_with(b"RIFF") {
            "a WAV header with bytes before it"
        } else {
            "a WAV header in the wrong case"
        });
    }
    if tag(b"<!doctype html") || tag(b"<html") {
        Some("an HTML page")
    } else if tag(b"<?xml") {
        Some("an XML document")
    } else if text.starts_with(b"{") || text.starts_with(b"[") {
        Some("a JSON document")
    } else {
        let printable = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
        (bytes.len() >= 8 && bytes.iter().all(printable)).then_some("text")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        Opening::of(bytes).to_string()
    }

    #[test]
    fn a_login_page_is_called_an_html_page() {
        assert_eq!(text(b"<!DOCTYPE html><html>"), "`<!DOCTYPE html><` (an HTML page)");
        assert_eq!(text(b"\xEF\xBB\xBF\n<HTML>"), "`\\xEF\\xBB\\xBF\\n<HTML>` (an HTML page)");
    }

    #[test]
    fn common_formats_are_recognised() {
        for (bytes, kind) in [
            (&b"{\"error\":\"expired\"}"[..], "a JSON document"),
            (b"<?xml version='1.0'?><Error>", "an XML document"),
            (b"ID3\x03\0\0\0\0", "an MP3 file"),
            (b"\xFF\xFB\x90\0", "an MP3 file"),
            (b"\xFF\xF1\x50\x80", "an AAC file"),
            (b"OggS\0\x02", "an Ogg file"),
            (b"\0\0\0\x20ftypM4A ", "an MP4 or M4A file"),
            (b"FORM\0\0\0\x1EAIFFCOMM", "an AIFF file"),
            (b"RIFX\0\0\0\x1EWAVE", "a big-endian WAV file"),
            (b"riff\0\0\0\x1EWAVE", "a WAV header in the wrong case"),
            (b"\r\n\r\nRIFF\0\0\0\x1EWAVE", "a WAV header with bytes before it"),
            (b"RIFF\0\0\0\x1EWAVX", "a RIFF file, but not of WAVE form"),
            (b"Not found.", "text"),
        ] {
            assert_eq!(Opening::of(bytes).kind(), Some(kind));
        }
        assert_eq!(Opening::of(b"\x01\x02\x03").kind(), None);
    }

    #[test]
    fn nothing_but_short_printable_ascii_is_shown() {
        let hostile = text(&[0x1B; 64]);
        assert_eq!(hostile, format!("`{}`", "\\x1B".repeat(8)));
        for byte in 0..=u8::MAX {
            let opening = Opening::of(&[byte; 40]);
            assert!(opening.shown.len() <= Opening::MAX_SHOWN);
            assert!(opening.shown.bytes().all(|shown| (b' '..=b'~').contains(&shown)));
            assert!(!opening.shown.contains('`'), "the quote must end the quotation");
        }
    }
}
