//! What the tests of this module share.

use std::sync::Arc;

use graphophone_store::Store;

use crate::outbox::{DeliverSettings, Deliverer, Outbox, Settings, Trust};

/// An outbox that reaches nobody.
pub(super) async fn silent_outbox(store: &Store) -> Outbox {
    let deliverer = Deliverer::new(
        Arc::new(|_, _| Err("nothing is delivered".into())),
        Arc::new(|_, _| String::new()),
        Arc::new(super::unix_millis),
        Trust::system_and(Vec::new()),
        DeliverSettings::default(),
    );
    Outbox::start(store.clone(), deliverer, Settings::default()).await.unwrap()
}
