//! The bot of group calls: gathers several of the far end's numbers in each.

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::{
    calls::{Bot, PAUSE, Pace, TRIES, UP_WITHIN, Up, path_of},
    far_end::Stage,
    http::Client,
};

/// Whom one request may name.
const AT_ONCE: u32 = 5;

impl Bot {
    /// Sets group calls up, each with the `parties` numbers from its own on. Stops at the first
    /// failure, which the pace holds.
    pub(super) fn gather(&self, firsts: Vec<u32>, parties: u32) -> (Vec<Up>, Pace) {
        self.spread(firsts, |client, first| {
            let up = self.call_all(client, first, parties.min(AT_ONCE))?;
            match self.invite_others(client, &up, first, parties) {
                Ok(()) => Ok(up),
                Err(error) => {
                    let _ = client.send("DELETE", &path_of(&up.id), &Value::Null);
                    Err(error)
                }
            }
        })
    }

    fn call_all(&self, client: &mut Client, first: u32, parties: u32) -> anyhow::Result<Up> {
        let body = json!({
            "@odata.type": "#microsoft.graph.call",
            "callbackUri": self.callback,
            "requestedModalities": ["audio"],
            "tenantId": self.tenant,
            "mediaConfig": {"@odata.type": "#microsoft.graph.serviceHostedMediaConfig"},
            "targets": self.invitations(first..first + parties),
        });
        let exchange = client.send("POST", "/v1.0/communications/calls", &body)?;
        Ok(Up { number: first, id: exchange.id()? })
    }

    fn invite_others(
        &self,
        client: &mut Client,
        up: &Up,
        first: u32,
        parties: u32,
    ) -> anyhow::Result<()> {
        let path = format!("{}/participants/invite", path_of(&up.id));
        let mut next = first + parties.min(AT_ONCE);
        while next < first + parties {
            let these = next..(next + AT_ONCE).min(first + parties);
            next = these.end;
            let body = json!({"participants": self.invitations(these)});
            let mut tries = 0;
            // Not before the first of them has answered.
            loop {
                let exchange = client.send("POST", &path, &body)?;
                if exchange.status < 300 {
                    break;
                }
                tries += 1;
                if tries == TRIES {
                    bail!("an invitation is refused: {} {}", exchange.status, exchange.body);
                }
                std::thread::sleep(PAUSE);
            }
        }
        for number in first..first + parties {
            self.far_end
                .wait(number, Stage::Confirmed, UP_WITHIN)
                .with_context(|| format!("participant {number} is not up in time"))?;
        }
        Ok(())
    }

    fn invitations(&self, numbers: std::ops::Range<u32>) -> Vec<Value> {
        let invitation = |number| {
            json!({
                "@odata.type": "#microsoft.graph.invitationParticipantInfo",
                "identity": {"phone": {"id": self.far_end.uri(number)}},
            })
        };
        numbers.map(invitation).collect()
    }
}
