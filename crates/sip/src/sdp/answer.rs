//! Our answer to an offer, and what a peer's answer to ours means (RFC 3264 §6).

use std::fmt::Write as _;

use graphophone_media::codec::Codec;

use super::{Agreed, Description, Local, SdpError, offer::TELEPHONE_EVENT, preamble};

/// Answers an offer. Takes the first codec we have in the offer's order, or that of `running`, the
/// stream that prompts are encoded for already.
///
/// # Errors
/// [`SdpError::PeerNoCodec`] when the codec of `running` is no longer offered,
/// [`SdpError::PeerRenumbered`] when it is, under another number.
pub(crate) fn answer(
    offer: &Description,
    local: &Local,
    running: Option<&Agreed>,
) -> Result<(String, Agreed), SdpError> {
    let offered = offer.audio.telephone_event;
    let (codec, payload_type) = choose(offer, running)?;
    let mut agreed = offer.agreed(codec, payload_type, offer.audio.mux);
    let mut event = offered;
    if let Some(running) = running {
        // The stream keeps its number, also while it is not offered.
        agreed.telephone_event = running.telephone_event;
        event = running.telephone_event.filter(|_| offered.is_some());
        if event != offered && event.is_some() {
            return Err(SdpError::PeerRenumbered);
        }
    }

    let mut text = preamble(local);
    for (index, line) in offer.lines.iter().enumerate() {
        if index == offer.chosen {
            audio_line(&mut text, &line.proto, offer, local, &agreed, event);
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
/// As [`answer`]; [`SdpError::PeerNoCodec`] also when it takes none of our codecs.
pub(crate) fn accept(answer: &Description, running: Option<&Agreed>) -> Result<Agreed, SdpError> {
    let (codec, payload_type) = choose(answer, running)?;
    // Without an offer of rtcp-mux, an answer cannot switch it on (RFC 5761 §5.1.1).
    let mux = running.is_some_and(Agreed::is_mux) && answer.audio.mux;
    let mut agreed = answer.agreed(codec, payload_type, mux);
    agreed.telephone_event = match running {
        // Keys come under the number that we offered (RFC 3264 §6.1). One that prefers to receive
        // under another does not hear ours, which a server hardly ever sends.
        None => agreed.telephone_event.map(|_| TELEPHONE_EVENT),
        Some(running) => running.telephone_event,
    };
    Ok(agreed)
}

/// The codec of a peer's description to use, with the peer's number for it.
fn choose(theirs: &Description, running: Option<&Agreed>) -> Result<(Codec, u8), SdpError> {
    let mut codecs = theirs.audio.codecs.iter();
    let is_wanted = |(codec, _): &&(Codec, u8)| running.is_none_or(|it| it.codec == *codec);
    let &(codec, payload_type) = codecs.find(is_wanted).ok_or(SdpError::PeerNoCodec)?;
    if running.is_some_and(|running| running.payload_type != payload_type) {
        return Err(SdpError::PeerRenumbered);
    }
    Ok((codec, payload_type))
}

fn audio_line(
    text: &mut String,
    proto: &str,
    offer: &Description,
    local: &Local,
    agreed: &Agreed,
    event: Option<u8>,
) {
    let payload_type = agreed.payload_type;
    let _ = write!(text, "m=audio {} {proto} {payload_type}", local.rtp_port);
    if let Some(event) = event {
        let _ = write!(text, " {event}");
    }
    let _ = write!(text, "\r\na=rtpmap:{payload_type} {}/8000\r\n", agreed.codec.name());
    if let Some(event) = event {
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
