//! What is taken of peers at most. More is refused or dropped before anything is built of it.

use crate::{gate, sdp, transport, user_agent};

/// Octets of a message, and of its body; more get 413 or 513.
pub const MESSAGE: usize = gate::LIMITS.max_message_bytes;
/// Header fields of a message; more get 513.
pub const HEADERS: usize = gate::LIMITS.max_headers;
/// Octets of a header field; more get 513.
pub const HEADER: usize = gate::LIMITS.max_header_bytes;
/// Lines that a header field is folded into; more get 513.
pub const FOLDED_LINES: usize = gate::LIMITS.max_folding_lines;
/// Via values; more get 513.
pub const VIAS: usize = gate::MOST_VIAS;
/// Parameters of the start line or of a header field other than Via; more get 513.
pub const PARAMETERS: usize = gate::MOST_PARAMETERS;
/// Octets of a session description.
pub const DESCRIPTION: usize = sdp::LARGEST;
/// `m=` lines of a session description.
pub const MEDIA_LINES: usize = sdp::MOST_MEDIA;
/// TCP connections at a time; more are closed at once.
pub const CONNECTIONS: usize = transport::MOST_CONNECTIONS;
/// TCP connections of one address.
pub const CONNECTIONS_OF_ADDRESS: usize = transport::MOST_PER_ADDRESS;
/// Server transactions at a time.
pub const TRANSACTIONS: usize = user_agent::MOST_SERVER_TRANSACTIONS;
