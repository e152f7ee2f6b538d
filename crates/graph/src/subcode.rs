//! Sub-codes of the calling service (spec/api.md §9): `resultInfo.subcode`, and as text
//! `error.code`. Graph and Azure Communication Services share the numbering.

macro_rules! subcodes {
    ($($number:literal $name:ident $text:literal,)*) => {
        /// What went how.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Subcode {
            $(
                #[doc = $text]
                $name = $number,
            )*
        }

        impl Subcode {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The meaning, for people.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

subcodes! {
    0 Success "success",
    7000 Graceful "graceful end",
    7015 Transferred "transferred",
    7500 UnsupportedIdentity "unsupported directory identity",
    7501 InvalidToken "invalid token",
    7502 AccessNotEnabled "access not enabled",
    7504 InsufficientPermissions "insufficient permissions",
    7505 TenantMismatch "tenant mismatch",
    7506 UntrustedCertificate "untrusted certificate",
    7507 SourceIdentityInvalid "call source identity invalid",
    8500 InvalidMediaMode "invalid media mode",
    8501 NotEstablished "call not established",
    8502 ParticipantIdUnavailable "myParticipantId not available",
    8503 AudioInactive "audio inactive",
    8504 MediaStreamsUnavailable "media streams unavailable",
    8505 SeveralParticipantsReplaced "several participants with a replacement",
    8506 NonComplianceCall "not a compliance call",
    8508 OperationCancelled "operation cancelled",
    8509 MaxSilence "longest silence reached",
    8510 InitialSilence "nobody spoke",
    8511 PlayPromptFailed "play prompt failed",
    8512 BeepFailed "beep failed",
    8513 MediaReceiveTimeout "no media received",
    8514 StopTone "stop tone",
    8515 MaxRecordDuration "longest recording reached",
    8516 Throttled "throttled",
    8517 TenantIdMismatch "tenant id mismatch",
    8518 Exception "exception",
    8519 Conflict "conflicting actions",
    8520 NotImplemented "not implemented",
    8521 TooManyHops "too many hops",
    8522 NotFound "not found",
    8523 InvalidArgument "invalid argument",
    8526 BadJoinToken "bad join token",
    8527 BadJoinUrl "bad join address",
    8528 Terminated "call terminated",
    8535 InvalidFileFormat "invalid file format",
    8536 DownloadFailed "file download failed",
    8537 KeepAliveTimeout "keep-alive timeout",
    8538 Declined "callee declined",
    8539 Busy "callee busy",
    8541 Unavailable "callee unavailable",
    8542 Cancelled "cancelled",
    8543 CallGone "call does not exist",
    8544 Unreachable "callee unreachable",
    8548 NotGroupCall "not a group call",
    8558 ParticipantAbsent "participant not present",
    8573 MethodNotAllowed "method not allowed",
    8583 PreconditionFailed "precondition failed",
    8585 WrongState "not valid in the call's state",
    8586 IncomingNotAcknowledged "incoming call not acknowledged by the bot",
    8587 IncomingNotAnswered "incoming call not answered in time",
    8589 RecordThrottled "recording throttled",
    8607 TransferConflict "transfer conflict",
    8610 BotSilent "no response of the bot to a notification",
    9001 UnderlyingError "error of an underlying service",
    9002 UnderlyingTimeout "timeout of an underlying service",
    9003 UnderlyingCancel "cancelled by an underlying service",
    9998 Fatal "fatal",
    9999 Unknown "unknown",
}

impl Subcode {
    /// The number, 0–9999.
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The sub-code with a number, if it is known.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.number() == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_lead_back() {
        assert!(Subcode::ALL.is_sorted_by(|a, b| a.number() < b.number()));
        for code in Subcode::ALL {
            assert_eq!(Subcode::from_number(code.number()), Some(*code));
        }
        assert_eq!(Subcode::from_number(8523), Some(Subcode::InvalidArgument));
        assert_eq!(Subcode::from_number(1), None);
    }

    #[test]
    fn the_cores_results_are_in_the_dictionary() {
        use graphophone_call::ResultInfo;
        let results = [
            ResultInfo::completed(),
            ResultInfo::cancelled(),
            ResultInfo::download_failed(""),
            ResultInfo::format_invalid(""),
        ];
        for result in results {
            assert!(Subcode::from_number(result.subcode).is_some(), "{result:?}");
        }
    }
}
