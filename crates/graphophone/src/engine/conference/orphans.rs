//! People who go on without the bot: in the conference, for how long; or bridged with somebody else;
//! and what ends their dialogs after a crash, now that there is no call whose row could keep them.

use std::sync::Arc;

use graphophone_call::{AppId, CallId, ConferenceInput, ParticipantId, TenantId, WithoutBot};
use tokio::time::Instant;
use tracing::warn;
use uuid::Uuid;

use super::task::ConferenceTask;
use crate::engine::bridge::{Carried, Row, bridge};

/// What a task knows of the time without a bot.
pub(super) struct Orphans {
    /// When that time is up, if there is a bound and no bot.
    until: Option<Instant>,
    /// The row of its own that keeps its dialogs, once there is one.
    row: Option<CallId>,
    /// The last bot's owner; whose number it is, before the first.
    owner: Option<(TenantId, AppId)>,
}

impl Orphans {
    pub(super) fn of(tenant: Option<TenantId>) -> Self {
        let owner = tenant.map(|tenant| (tenant, AppId::new(Uuid::nil())));
        Self { until: None, row: None, owner }
    }

    pub(super) fn belong_to(&mut self, owner: (TenantId, AppId)) {
        self.owner = Some(owner);
    }

    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }
}

impl ConferenceTask {
    /// Begins or ends the time without a bot.
    pub(super) fn watch_orphans(&mut self) {
        let conferences = &self.shared.conferences;
        let is_bounded = conferences.settings(self.key.as_ref()).without_bot == WithoutBot::GoesOn;
        if self.machine.has_bot() || !is_bounded {
            self.orphans.until = None;
        } else if self.orphans.until.is_none() {
            let end = Instant::now() + conferences.rules.without_bot;
            // Nobody whom a bot has dialled stays longer than they could have with it.
            let longest = self.shared.settings.longest_outgoing;
            let dialled = self.people.dialled_since().zip(longest);
            let limit = dialled.map_or(end, |(since, longest)| since + longest);
            self.orphans.until = Some(end.min(limit));
        }
    }

    /// Their time is up, or the server begins nothing more.
    pub(super) async fn end_orphans(&mut self) {
        self.orphans.until = None;
        self.handle(ConferenceInput::TimeIsUp).await;
    }

    /// Makes durable what ends the dialogs of people who are left to themselves. To be done before
    /// the last bot's call is over, whose row has kept them.
    pub(super) async fn keep_own_dialogs(&mut self) {
        let (Some(owner), dialogs) = (self.orphans.owner, self.people.dialogs()) else { return };
        let row = *self.orphans.row.get_or_insert_with(|| CallId::new(Uuid::new_v4()));
        let ledger = &self.shared.ledger;
        match ledger.keep_dialogs(row, owner, Some(dialogs).filter(|all| !all.is_empty())).await {
            Ok(()) => self.people.dialogs_are_kept(),
            Err(error) => warn!(%error, "dialogs of a conference without a bot are not stored"),
        }
    }

    /// Everybody has been hung up.
    pub(super) async fn forget_own_dialogs(&mut self) {
        if let (Some(row), Some(owner)) = (self.orphans.row.take(), self.orphans.owner) {
            self.shared.ledger.forget_own_dialogs(row, owner).await;
        }
    }

    /// Lets one leave who is transferred, to go on with somebody whom we have called.
    pub(super) async fn hand_on(&mut self, id: ParticipantId, other: Carried) {
        // Who is not connected has no leg that could be waited for.
        let is_in = self.machine.roster().person(id).is_some();
        let own = if is_in { self.people.carry_away(id).await } else { None };
        self.handle(ConferenceInput::HandedOn(id)).await;
        let (Some(own), Some(owner)) = (own, self.orphans.owner) else { return };
        let row = CallId::new(Uuid::new_v4());
        let dialogs = own.dialog.iter().chain(&other.dialog).cloned().collect::<Vec<_>>();
        let kept = self.shared.ledger.keep_dialogs(row, owner, Some(dialogs.join("\n"))).await;
        if let Err(error) = kept {
            warn!(%error, "dialogs of a bridge are not stored");
        }
        // It has waited for its dialog to be durable.
        other.leg.dialog_is_kept();
        let task = bridge(Arc::clone(&self.shared), Row::Own(row, owner), [own, other]);
        self.shared.tasks.spawn(task);
    }
}
