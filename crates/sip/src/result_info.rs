//! Why a leg ended, and what Graph calls that: one table (spec/state-machines.md §1).

use graphophone_call::{RejectReason, ResultInfo};

/// Every way a leg can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Our side asked for the end.
    HungUp,
    /// Our side refused an incoming call.
    Refused(RejectReason),
    /// The peer sent BYE.
    PeerHungUp {
        /// It is a registered phone and not a line behind a trunk.
        phone: bool,
    },
    /// The caller sent CANCEL, or BYE, before we answered.
    CallerGaveUp,
    /// The INVITE got this final response.
    Status(u16),
    /// The phone rang and nobody answered in time.
    RingTimeout,
    /// No response at all to our INVITE.
    NoResponse,
    /// No ACK to our 200.
    NoAck,
    /// The connection to the peer failed.
    Unreachable,
    /// The peer's session description cannot be used.
    BadDescription,
    /// No RTP port or no room in the engine.
    NoResources,
}

impl Cause {
    /// The SIP status that tells another peer of it.
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::Status(status) => status,
            Self::Refused(RejectReason::Busy) => 486,
            Self::Refused(RejectReason::Forbidden) => 403,
            Self::RingTimeout | Self::NoResponse => 408,
            Self::HungUp | Self::CallerGaveUp => 487,
            Self::BadDescription => 488,
            Self::NoResources => 503,
            Self::Refused(RejectReason::None)
            | Self::PeerHungUp { .. }
            | Self::NoAck
            | Self::Unreachable => 480,
        }
    }

    /// The call-level `resultInfo`.
    pub(crate) fn result(self) -> ResultInfo {
        let of = ResultInfo::of_call;
        match self {
            Self::HungUp => of(200, 7000, "The call was ended by the bot."),
            Self::Refused(RejectReason::None) => {
                of(480, 10076, "The incoming call was not answered.")
            }
            Self::Refused(RejectReason::Busy) => {
                of(486, 8539, "The incoming call was refused as busy.")
            }
            Self::Refused(RejectReason::Forbidden) => {
                of(403, 10199, "The incoming call was refused as forbidden.")
            }
            Self::PeerHungUp { phone: true } => {
                of(200, 18503, "The call was ended by the other participant.")
            }
            Self::PeerHungUp { phone: false } => {
                of(200, 560_000, "The call was ended by the PSTN user.")
            }
            Self::CallerGaveUp => of(487, 8542, "The caller gave up before an answer."),
            Self::Status(status) => of_status(status),
            Self::RingTimeout => of(408, 10057, "The far end rang and did not answer in time."),
            Self::NoResponse => of(408, 10057, "The far end did not respond to the call."),
            Self::NoAck => of(408, 1106, "The far end did not acknowledge the answer."),
            Self::Unreachable => of(480, 10076, "The far end cannot be reached."),
            Self::BadDescription => {
                of(500, 1005, "The far end's session description cannot be used.")
            }
            Self::NoResources => of(503, 9001, "No RTP port is free."),
        }
    }
}

fn of_status(status: u16) -> ResultInfo {
    let (code, subcode, text) = match status {
        486 | 600 => (486, 8539, "The far end is busy"),
        603 | 607 | 608 => (status, 8538, "The far end declined"),
        480 => (480, 10076, "The far end is not available"),
        404 | 410 | 484 | 485 | 604 => (status, 10134, "The target cannot be routed"),
        300..=399 => (480, 10134, "The far end asks to be called elsewhere, which is not followed"),
        408 => (408, 10057, "The far end did not answer in time"),
        487 => (487, 8542, "The call was cancelled"),
        403 => (403, 10199, "The far end forbids the call"),
        500..=599 => (500, 9001, "The far end or a server before it failed"),
        _ => (status, 9001, "The far end refused the call"),
    };
    ResultInfo::of_call(u32::from(code), subcode, &format!("{text} (SIP {status})."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_its_row_in_the_table() {
        let rows = [
            (Cause::HungUp, 200, 7000),
            (Cause::Refused(RejectReason::None), 480, 10076),
            (Cause::Refused(RejectReason::Busy), 486, 8539),
            (Cause::Refused(RejectReason::Forbidden), 403, 10199),
            (Cause::PeerHungUp { phone: true }, 200, 18503),
            (Cause::PeerHungUp { phone: false }, 200, 560_000),
            (Cause::CallerGaveUp, 487, 8542),
            (Cause::Status(302), 480, 10134),
            (Cause::Status(401), 401, 9001),
            (Cause::Status(403), 403, 10199),
            (Cause::Status(404), 404, 10134),
            (Cause::Status(408), 408, 10057),
            (Cause::Status(480), 480, 10076),
            (Cause::Status(484), 484, 10134),
            (Cause::Status(486), 486, 8539),
            (Cause::Status(487), 487, 8542),
            (Cause::Status(488), 488, 9001),
            (Cause::Status(500), 500, 9001),
            (Cause::Status(503), 500, 9001),
            (Cause::Status(600), 486, 8539),
            (Cause::Status(603), 603, 8538),
            (Cause::RingTimeout, 408, 10057),
            (Cause::NoResponse, 408, 10057),
            (Cause::NoAck, 408, 1106),
            (Cause::Unreachable, 480, 10076),
            (Cause::BadDescription, 500, 1005),
            (Cause::NoResources, 503, 9001),
        ];
        for (cause, code, subcode) in rows {
            let result = cause.result();
            assert_eq!((result.code, result.subcode), (code, subcode), "{cause:?}");
            let ending = format!("DiagCode: {code}#{subcode}.@");
            assert!(result.message.ends_with(&ending), "{}", result.message);
        }
    }

    #[test]
    fn the_sip_status_is_named_in_the_message() {
        assert!(Cause::Status(503).result().message.contains("SIP 503"));
    }
}
