//! Our offer: every codec we have, in our order, and telephone-event; or, once a stream runs, what
//! it runs with.

use std::fmt::Write as _;

use graphophone_media::codec::SampleCodec;

use super::{Agreed, Direction, Local, preamble};

/// Payload type under which we offer telephone-event; 101 is what every phone expects.
pub(super) const TELEPHONE_EVENT: u8 = 101;

/// Writes an offer of one audio stream; `running` is what was agreed before (RFC 3264 §8).
pub(crate) fn offer(local: &Local, running: Option<&Agreed>, direction: Direction) -> String {
    let codecs = match running {
        None => SampleCodec::ALL.map(|codec| (codec.codec(), codec.payload_type())).to_vec(),
        // Another codec, or another number for it, would be one the stream cannot take.
        Some(agreed) => vec![(agreed.codec, agreed.payload_type)],
    };
    let event = running.map_or(Some(TELEPHONE_EVENT), |agreed| agreed.telephone_event);
    let mut text = preamble(local);
    let _ = write!(text, "m=audio {} RTP/AVP", local.rtp_port);
    for payload_type in codecs.iter().map(|(_, payload_type)| *payload_type).chain(event) {
        let _ = write!(text, " {payload_type}");
    }
    text.push_str("\r\n");
    for (codec, payload_type) in codecs {
        let _ = write!(text, "a=rtpmap:{payload_type} {}/8000\r\n", codec.name());
    }
    if let Some(event) = event {
        let _ = write!(text, "a=rtpmap:{event} telephone-event/8000\r\na=fmtp:{event} 0-16\r\n");
    }
    text.push_str("a=ptime:20\r\n");
    if running.is_some_and(|agreed| agreed.is_mux()) {
        text.push_str("a=rtcp-mux\r\n");
    } else {
        let _ = write!(text, "a=rtcp:{}\r\n", local.rtcp_port);
    }
    let _ = write!(text, "a={}\r\n", direction.name());
    text
}
