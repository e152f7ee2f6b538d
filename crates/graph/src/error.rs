//! The OData error envelope, and the one table of HTTP status and `error.code` (spec/api.md §0.5).

use std::borrow::Cow;

use graphophone_call::Rejection;
use serde_json::{Value, json};
use time::{
    OffsetDateTime, UtcOffset, format_description::BorrowedFormatItem, macros::format_description,
};

use crate::json::BodyError;

/// Why a request is refused. Codes of digits are sub-codes of the calling service
/// ([`Subcode`](crate::subcode::Subcode)); the others are the gateway's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// No token, or one that does not hold.
    #[error("{0}")]
    BotTokenInvalid(Cow<'static, str>),
    /// A token of a person (`scp`); calling takes applications only.
    #[error("Delegated tokens are not accepted, use an application token")]
    BotTokenDelegated,
    /// The role for this action is not in the token.
    #[error("Insufficient enterprise tenant permissions, cannot access this API.")]
    BotRoleMissing,
    /// `tenantId` of a new call is missing or not the token's.
    #[error("Request authorization tenant mismatch.")]
    BotTenantMismatch,
    /// `source` names another application than the token.
    #[error("Call source identity invalid.")]
    BotSourceMismatch,
    /// The server's dial plan does not let this bot call that target.
    #[error("{0}")]
    BotTargetDenied(String),
    /// The call is unknown, over, or another application's; these look the same.
    #[error("Call not found.")]
    BotCallNotFound,
    /// The call has no such operation.
    #[error("Operation not found.")]
    BotOperationNotFound,
    /// No resource has this path.
    #[error("No HTTP resource was found that matches the request URI")]
    BotRouteUnknown,
    /// The resource does not know this HTTP method.
    #[error("The HTTP method is not allowed on this resource")]
    BotMethodNotAllowed,
    /// A Graph action or type that this server does not have. The text says which.
    #[error("{0}")]
    BotWantsUnsupported(Cow<'static, str>),
    /// The body, or one of its members.
    #[error(transparent)]
    BotBody(#[from] BodyError),
    /// A query option that is not known, or cannot be read. The text begins with its name.
    #[error("{0}")]
    BotQuery(String),
    /// A member that a rule of the server refuses, such as a forbidden address.
    #[error("{0}")]
    BotArgument(String),
    /// `Content-Type` is not JSON in UTF-8.
    #[error("Content-Type must be application/json in UTF-8")]
    BotMediaType,
    /// `Content-Encoding` is not one we decode. Kiota's Go client then sends plain text.
    #[error("Content-Encoding must be gzip or identity")]
    BotContentEncoding,
    /// The body is longer than is read.
    #[error("The body is too large")]
    BotBodyTooLarge,
    /// A request of a batch whose condition failed.
    #[error("The request {0} that this one depends on has failed")]
    BotDependencyFailed(String),
    /// The action is for calls with other media. The text says which.
    #[error("{0}")]
    BotMediaMode(&'static str),
    /// The call's state does not allow the command.
    #[error("{0}")]
    BotRejected(#[from] Rejection),
    /// The `client-request-id` was used before, for another body.
    #[error("client-request-id was used before with another body: use a new one for each request")]
    BotRequestReused,
    /// The same request has been carried out, and what it made is not kept any more.
    #[error("This request has been carried out: it made {0}, which is no longer kept")]
    BotRequestForgotten(String),
    /// There is no room for another call; nothing was done. Send `Retry-After`.
    #[error("{reason}")]
    BotTooManyCalls {
        /// What there is no room in.
        reason: String,
        /// When to try again, in seconds.
        retry_after: u64,
    },
    /// The disk is full: nothing new is begun, nothing was done. Send `Retry-After`.
    #[error("There is no room left on the server's disk, try again later")]
    ServerDiskFull,
    /// Shutting down or short of something. Send `Retry-After`; nothing may have been done.
    #[error("The service is unavailable, try again later")]
    ServerUnavailable,
    /// A fault of ours; the log has it under the request-id.
    #[error("Unexpected exception returned from the service.")]
    ServerFault,
}

/// The ids of a request, for its error.
#[derive(Clone, Copy, Debug)]
pub struct RequestIds<'a> {
    /// Ours.
    pub request_id: &'a str,
    /// The client's, else ours again.
    pub client_request_id: &'a str,
}

impl ApiError {
    /// HTTP status.
    pub fn status(&self) -> u16 {
        self.row().0
    }

    /// `error.code`: always a string; clients drop numbers.
    pub fn code(&self) -> &'static str {
        self.row().1
    }

    fn row(&self) -> (u16, &'static str) {
        match self {
            Self::BotTokenInvalid(_) => (401, "InvalidAuthenticationToken"),
            Self::BotTokenDelegated => (403, "Forbidden"),
            Self::BotRoleMissing | Self::BotTargetDenied(_) => (403, "7504"),
            Self::BotTenantMismatch => (403, "7505"),
            Self::BotSourceMismatch => (403, "7507"),
            Self::BotCallNotFound | Self::BotOperationNotFound => (404, "8522"),
            Self::BotRouteUnknown => (404, "UnknownError"),
            Self::BotMethodNotAllowed => (405, "8573"),
            Self::BotWantsUnsupported(_) => (405, "8520"),
            Self::BotBody(BodyError::BotMalformed { .. }) | Self::BotQuery(_) => {
                (400, "BadRequest")
            }
            Self::BotBody(BodyError::BotArgument { .. }) | Self::BotArgument(_) => (400, "8523"),
            Self::BotBody(BodyError::BotTooLarge { .. }) | Self::BotBodyTooLarge => {
                (413, "RequestEntityTooLarge")
            }
            Self::BotMediaType | Self::BotContentEncoding => (415, "UnsupportedMediaType"),
            Self::BotDependencyFailed(_) => (424, "FailedDependency"),
            Self::BotRejected(Rejection::NotServiceHosted) | Self::BotMediaMode(_) => (400, "8500"),
            Self::BotRejected(Rejection::NotEstablished) => (400, "8501"),
            Self::BotRejected(Rejection::Terminated) => (400, "8528"),
            Self::BotRejected(Rejection::WrongState) => (400, "8585"),
            Self::BotRejected(
                Rejection::QueueFull | Rejection::HoldMusicBusy | Rejection::RoutingGroupExists,
            ) => (409, "8519"),
            Self::BotRejected(Rejection::NotGroupCall) => (400, "8548"),
            Self::BotRejected(Rejection::NotOnHold | Rejection::NotPlaying) => (400, "8585"),
            Self::BotRejected(
                Rejection::BadRoutingGroup(_)
                | Rejection::SeekBeyondEnd(_)
                | Rejection::NoTransferee,
            ) => (400, "8523"),
            Self::BotRejected(Rejection::ParticipantAbsent) => (404, "8558"),
            Self::BotRejected(Rejection::RoutingGroupAbsent) => (404, "8522"),
            Self::BotRequestReused | Self::BotRequestForgotten(_) => (409, "Conflict"),
            Self::BotTooManyCalls { .. } => (429, "8516"),
            Self::ServerDiskFull => (507, "InsufficientStorage"),
            Self::ServerUnavailable => (503, "ServiceUnavailable"),
            Self::ServerFault => (500, "UnknownError"),
        }
    }

    /// The body of the response. `date` is now; Graph writes it in UTC without saying so.
    pub fn render(&self, date: OffsetDateTime, ids: RequestIds<'_>) -> Value {
        const DATE: &[BorrowedFormatItem<'_>] =
            format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
        let date = date.to_offset(UtcOffset::UTC).format(DATE);
        json!({
            "error": {
                "code": self.code(),
                "message": self.to_string(),
                "innerError": {
                    "date": date.expect("all its parts are in an OffsetDateTime"),
                    "request-id": ids.request_id,
                    "client-request-id": ids.client_request_id,
                },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use graphophone_call::RoutingFault;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn every_refusal_has_the_status_and_code_of_the_spec() {
        let argument = BodyError::argument("prompts", "empty");
        let table = [
            (ApiError::BotTokenInvalid("x".into()), 401, "InvalidAuthenticationToken"),
            (ApiError::BotTokenDelegated, 403, "Forbidden"),
            (ApiError::BotRoleMissing, 403, "7504"),
            (ApiError::BotTargetDenied("x".into()), 403, "7504"),
            (ApiError::BotTenantMismatch, 403, "7505"),
            (ApiError::BotSourceMismatch, 403, "7507"),
            (ApiError::BotCallNotFound, 404, "8522"),
            (ApiError::BotOperationNotFound, 404, "8522"),
            (ApiError::BotRouteUnknown, 404, "UnknownError"),
            (ApiError::BotMethodNotAllowed, 405, "8573"),
            (ApiError::BotWantsUnsupported("x".into()), 405, "8520"),
            (BodyError::malformed("x").into(), 400, "BadRequest"),
            (argument.into(), 400, "8523"),
            (BodyError::BotTooLarge { limit: 1 }.into(), 413, "RequestEntityTooLarge"),
            (ApiError::BotQuery("x".into()), 400, "BadRequest"),
            (ApiError::BotArgument("x".into()), 400, "8523"),
            (ApiError::BotMediaType, 415, "UnsupportedMediaType"),
            (ApiError::BotContentEncoding, 415, "UnsupportedMediaType"),
            (ApiError::BotBodyTooLarge, 413, "RequestEntityTooLarge"),
            (ApiError::BotDependencyFailed("x".into()), 424, "FailedDependency"),
            (ApiError::BotMediaMode("x"), 400, "8500"),
            (Rejection::NotServiceHosted.into(), 400, "8500"),
            (Rejection::NotEstablished.into(), 400, "8501"),
            (Rejection::Terminated.into(), 400, "8528"),
            (Rejection::WrongState.into(), 400, "8585"),
            (Rejection::QueueFull.into(), 409, "8519"),
            (Rejection::HoldMusicBusy.into(), 409, "8519"),
            (Rejection::NotGroupCall.into(), 400, "8548"),
            (Rejection::NotOnHold.into(), 400, "8585"),
            (Rejection::BadRoutingGroup(RoutingFault::Sources).into(), 400, "8523"),
            (Rejection::NoTransferee.into(), 400, "8523"),
            (Rejection::ParticipantAbsent.into(), 404, "8558"),
            (Rejection::RoutingGroupAbsent.into(), 404, "8522"),
            (Rejection::RoutingGroupExists.into(), 409, "8519"),
            (Rejection::NotPlaying.into(), 400, "8585"),
            (Rejection::SeekBeyondEnd(std::time::Duration::ZERO).into(), 400, "8523"),
            (ApiError::BotTooManyCalls { reason: "x".into(), retry_after: 2 }, 429, "8516"),
            (ApiError::BotRequestReused, 409, "Conflict"),
            (ApiError::BotRequestForgotten("x".into()), 409, "Conflict"),
            (ApiError::ServerDiskFull, 507, "InsufficientStorage"),
            (ApiError::ServerUnavailable, 503, "ServiceUnavailable"),
            (ApiError::ServerFault, 500, "UnknownError"),
        ];
        for (error, status, code) in table {
            assert_eq!((error.status(), error.code()), (status, code), "{error:?}");
            let known = |number| crate::subcode::Subcode::from_number(number).is_some();
            assert!(code.parse().map_or(true, known), "{code} is in the dictionary");
        }
    }

    #[test]
    fn the_envelope_is_graphs() {
        let ids = RequestIds { request_id: "r", client_request_id: "c" };
        let rendered = ApiError::BotCallNotFound.render(datetime!(2021-05-06 07:26:40 +2), ids);
        insta::assert_json_snapshot!(rendered);
    }
}
