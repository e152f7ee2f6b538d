//! The targets by name. Each is a function that panics when something is wrong.

mod call_inputs;
mod compressed;
mod http_values;
mod jwt;
mod odata_json;
mod prompt_uri;
mod rtp_receive;
mod rtp_rtcp;
mod sdp;
mod sip_agent;
mod sip_auth;
mod sip_framing_diff;
mod sip_message;
mod srtp;
mod url_policy;
mod wav;

/// All of them; `run.py` reads the names from here.
pub(crate) const ALL: &[(&str, fn(&[u8]))] = &[
    ("call_inputs", call_inputs::run),
    ("compressed", compressed::run),
    ("http_values", http_values::run),
    ("jwt", jwt::run),
    ("odata_json", odata_json::run),
    ("prompt_uri", prompt_uri::run),
    ("rtp_receive", rtp_receive::run),
    ("rtp_rtcp", rtp_rtcp::run),
    ("sdp", sdp::run),
    ("sip_agent", sip_agent::run),
    ("sip_auth", sip_auth::run),
    ("sip_framing_diff", sip_framing_diff::run),
    ("sip_message", sip_message::run),
    ("srtp", srtp::run),
    ("url_policy", url_policy::run),
    ("wav", wav::run),
];

/// Numbers that depend on all of the input, where a target needs some and its input has no room
/// for them: the input stays what it is on the wire.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn of(data: &[u8]) -> Self {
        // FNV-1a.
        let hash = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Self(data.iter().fold(0xcbf2_9ce4_8422_2325, hash))
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % bound.max(1)
    }
}
