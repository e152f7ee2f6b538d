//! Our answer to an offer, and what a peer's answer to ours means (RFC 3264 §6).

use std::fmt::Write as _;

use graphophone_media::codec::Codec;

use super::{Agreed, Description, Local, SdpError, preamble};

/// Answers an offer. Takes the first codec we have in the offer's order, or `kept`, the one of the
/// running stream, whose prompts are encoded already.
///
/// # Errors
/// [`SdpError::PeerNoCodec`] when `kept` is no longer offered.
pub(crate) fn answer(
    offer: &Description,
    local: &Local,
    kept: Option<Codec>,
) -> Result<(String, Agreed), SdpError> {
    let mut codecs = offer.audio.codecs.iter();
    let &(codec, payload_type) = codecs
        .find(|(codec, _)| kept.is_none_or(|kept| kept == *codec))
        .ok_or(SdpError::PeerNoCodec)?;
    let agreed = offer.agreed(codec, payload_type, offer.audio.mux);

    let mut text = preamble(local);
    for (index, line) in offer.lines.iter().enumerate() {
        if index == offer.chosen {
            audio_line(&mut text, &line.proto, offer, local, &agreed);
        } else {
            // Refused (RFC 3264 §6): video, a second audio stream, anything encrypted.
            let _ = write!(text, "m={} 0 {} {}\r\n", line.media, line.proto, line.formats);
        }
    }
    Ok((text, agreed))
}

/// Reads the answer to an offer of ours.
///
/// # Errors
/// [`SdpError::PeerNoCodec`] when it takes none of our codecs, or not `kept`.
pub(crate) fn accept(answer: &Description, kept: Option<Codec>) -> Result<Agreed, SdpError> {
    let mut codecs = answer.audio.codecs.iter();
    codecs
        .find(|(codec, _)| kept.is_none_or(|kept| kept == *codec))
        // We never offer rtcp-mux, so an answer cannot switch it on (RFC 5761 §5.1.1).
        .map(|&(codec, payload_type)| answer.agreed(codec, payload_type, false))
        .ok_or(SdpError::PeerNoCodec)
}

fn audio_line(text: &mut String, proto: &str, offer: &Description, local: &Local, agreed: &Agreed) {
    let payload_type = agreed.payload_type;
    let _ = write!(text, "m=audio {} {proto} {payload_type}", local.rtp_port);
    if let Some(event) = agreed.telephone_event {
        let _ = write!(text, " {event}");
    }
    let _ = write!(text, "\r\na=rtpmap:{payload_type} {}/8000\r\n", agreed.codec.name());
    if let Some(event) = agreed.telephone_event {
        let _ = write!(text, "a=rtpmap:{event} telephone-event/8000\r\na=fmtp:{event} 0-16\r\n");
    }
    text.push_str("a=ptime:20\r\n");
    if offer.audio.mux {
        text.push_str("a=rtcp-mux\r\n");
    } else {
        let _ = write!(text, "a=rtcp:{}\r\n", local.rtcp_port);
    }
    let _ = write!(text, "a={}\r\n", offer.direction().mirrored().name());
}
