//! What the tests of this module share: one tenant with one application, and keys.

use std::sync::LazyLock;

use graphophone_call::{AppId, TenantId};
use uuid::Uuid;

use super::{AppSettings, AuthSettings, Authority, Keys, Secret};

pub(super) const TENANT: TenantId =
    TenantId::new(Uuid::from_u128(0x1111_1111_1111_4111_8111_1111_1111_1111));
pub(super) const OTHER_TENANT: TenantId =
    TenantId::new(Uuid::from_u128(0x2222_2222_2222_4222_8222_2222_2222_2222));
pub(super) const APP: AppId =
    AppId::new(Uuid::from_u128(0xaaaa_aaaa_aaaa_4aaa_8aaa_aaaa_aaaa_aaaa));
pub(super) const SECRET: &str = "correct horse battery staple+/=&%";
pub(super) const NOW: u64 = 1_800_000_000;

pub(super) fn settings() -> AuthSettings {
    AuthSettings {
        tenants: vec![TENANT],
        apps: vec![AppSettings {
            id: APP,
            tenant: TENANT,
            secret: Secret::new(SECRET),
            roles: vec!["Calls.Initiate.All".into(), "Calls.JoinGroupCalls.All".into()],
        }],
        ..AuthSettings::default()
    }
}

pub(super) fn authority() -> Authority {
    Authority::new(settings(), keys()).unwrap()
}

/// The same keys for every test that does not care: making RSA keys is what takes time.
pub(super) fn keys() -> Keys {
    static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::ephemeral().unwrap());
    KEYS.clone()
}
