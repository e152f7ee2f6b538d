//! SIP legs (RFC 3261): user agent, registrar, SDP, and the built-in phone.
//!
//! [`Endpoint`] is the door. Behind it, `user_agent` decides without touching a socket or a
//! clock, and `shell` acts. sipx-sip parses messages and runs their transactions; nothing of it is
//! visible outside.

mod dialled;
mod digest;
mod endpoint;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod leg;
pub mod limits;
pub mod phone;
mod port_pool;
mod registrar;
mod result_info;
mod sdp;
mod shell;
mod transport;
mod user_agent;

pub use dialled::DialledUri;
pub use digest::DigestAlgorithm;
pub use endpoint::{
    Admit, CallError, Endpoint, EndpointConfig, FollowTo, IncomingCall, IncomingRefer,
    OutgoingCall, Party, PhoneAccount, Trunk, invited, is_sip_uri,
};
pub use leg::{DialogName, LegHandle, LegSignal, LegSinks, Referral};
