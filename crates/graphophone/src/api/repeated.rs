//! Requests that a client sends again under the same `client-request-id` (promise P7): what they
//! made is answered again, and nothing is dialled or played twice.

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Bytes;
use graphophone_graph::error::ApiError;
use graphophone_store::RequestRecord;

use super::{operations::unreadable, request::Request};
use crate::engine::Once;

impl Request<'_> {
    /// Which request this is; `None` if its client gives it no id.
    pub(super) fn once(&self, body: &Bytes) -> Option<Once> {
        let id = self.parts.headers.get("client-request-id")?.as_bytes();
        if id.is_empty() {
            return None;
        }
        let (tenant, app) = self.owner();
        let path = self.parts.uri.path().as_bytes();
        let mut text = Vec::with_capacity(48 + path.len() + id.len());
        text.extend_from_slice(tenant.uuid().as_bytes());
        text.extend_from_slice(app.uuid().as_bytes());
        text.extend_from_slice(&(path.len() as u64).to_be_bytes());
        text.extend_from_slice(path);
        text.extend_from_slice(id);
        Some(Once { key: short(&text), digest: short(body) })
    }

    /// What the same request has made before.
    ///
    /// # Errors
    /// The id was used for another body, or the store cannot be read.
    pub(super) async fn made_before(
        &self,
        once: Option<Once>,
    ) -> Result<Option<RequestRecord>, ApiError> {
        let Some(once) = once else { return Ok(None) };
        let known = self.state.store().request(once.key).await.map_err(unreadable)?;
        match known {
            Some(known) if known.digest != once.digest => Err(ApiError::BotRequestReused),
            known => Ok(known),
        }
    }
}

/// 128 bits are enough to tell requests apart.
fn short(bytes: &[u8]) -> [u8; 16] {
    *digest(&SHA256, bytes).as_ref().first_chunk().expect("a SHA-256 digest has 32 bytes")
}
