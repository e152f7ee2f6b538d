//! Our offer: every codec we have, in our order, and telephone-event.

use std::fmt::Write as _;

use graphophone_media::codec::Codec;

use super::{Local, preamble};

/// Payload type under which we offer telephone-event; 101 is what every phone expects.
const TELEPHONE_EVENT: u8 = 101;

/// Writes an offer of one audio stream.
pub(crate) fn offer(local: &Local) -> String {
    let mut text = preamble(local);
    let _ = write!(text, "m=audio {} RTP/AVP", local.rtp_port);
    for codec in Codec::ALL {
        let _ = write!(text, " {}", codec.payload_type());
    }
    let _ = write!(text, " {TELEPHONE_EVENT}\r\n");
    for codec in Codec::ALL {
        let _ = write!(text, "a=rtpmap:{} {}/8000\r\n", codec.payload_type(), codec.name());
    }
    let _ = write!(
        text,
        "a=rtpmap:{TELEPHONE_EVENT} telephone-event/8000\r\n\
         a=fmtp:{TELEPHONE_EVENT} 0-16\r\n\
         a=ptime:20\r\na=rtcp:{}\r\na=sendrecv\r\n",
        local.rtcp_port
    );
    text
}
