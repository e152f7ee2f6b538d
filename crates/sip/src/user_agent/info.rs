//! INFO with a key press (`application/dtmf-relay` and `application/dtmf`, as many gateways send
//! it; there is no RFC): theirs, and those of a phone of ours.

use std::time::{Duration, Instant};

use graphophone_call::{LegEvent, Tone};
use sipx_sip::{Method, Request, headers::ContentType};

use super::{
    LegId, UserAgent, flow::Flow, leg::State, message, screening::retry_after,
    transactions::Purpose,
};

/// Most presses taken in a second; nobody's fingers are as fast (threats T27).
const MOST_A_SECOND: u32 = 20;
const DTMF_RELAY: &str = "application/dtmf-relay";

/// How many presses a leg has sent by INFO in the second that began last.
#[derive(Debug, Default)]
pub(super) struct PressBudget {
    since: Option<Instant>,
    taken: u32,
}

impl PressBudget {
    fn take(&mut self, now: Instant) -> bool {
        let second = Duration::from_secs(1);
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= second) {
            *self = Self { since: Some(now), taken: 0 };
        }
        self.taken = self.taken.saturating_add(1);
        self.taken <= MOST_A_SECOND
    }
}

impl UserAgent {
    pub(super) fn receive_info(
        &mut self,
        now: Instant,
        id: LegId,
        reply_to: Flow,
        request: Request,
    ) {
        let (status, tone) = read(&request);
        // Before the call is answered, and after its end, nobody listens for keys.
        let listens = self.established(id);
        if let (Some(tone), Some(established)) = (tone, listens) {
            if !established.presses.take(now) {
                return self.conclude(now, reply_to, request, 503, vec![retry_after()]);
            }
            self.tell(id, LegEvent::Tone(tone));
        }
        self.conclude(now, reply_to, request, status, Vec::new());
    }

    /// Sends a key press in an established dialog.
    pub(crate) fn press_by_info(&mut self, now: Instant, id: LegId, tone: Tone) {
        let branch = self.ids.branch();
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let State::Established(established) = &mut leg.state else { return };
        let dialog = &mut established.dialog;
        dialog.local_cseq += 1;
        let body = format!("Signal={}\r\nDuration=160\r\n", signal(tone));
        let body = Some((DTMF_RELAY, body));
        let flow = dialog.next_hop();
        let cseq = dialog.local_cseq;
        let info = dialog.request_with(Method::Info, cseq, &branch, Vec::new(), body);
        if let Some(info) = info {
            self.send_request(now, flow, info, Purpose::Unminded);
        }
    }
}

/// Status for an INFO and the key it names.
fn read(request: &Request) -> (u16, Option<Tone>) {
    if request.body().is_empty() {
        return (200, None);
    }
    let kind = message::typed::<ContentType>(&request.headers);
    let text = String::from_utf8_lossy(request.body());
    let signal = match kind {
        Some(kind) if kind.is("application", "dtmf-relay") => text
            .lines()
            .filter_map(|line| line.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("signal"))
            .map(|(_, value)| value.trim().to_owned()),
        Some(kind) if kind.is("application", "dtmf") => Some(text.trim().to_owned()),
        Some(_) | None => return (415, None),
    };
    match signal.as_deref().and_then(tone) {
        Some(tone) => (200, Some(tone)),
        None => (400, None),
    }
}

fn tone(signal: &str) -> Option<Tone> {
    let code = match signal {
        "*" => 10,
        "#" => 11,
        "A" | "a" => 12,
        "B" | "b" => 13,
        "C" | "c" => 14,
        "D" | "d" => 15,
        number => number.parse().ok()?,
    };
    Tone::from_event_code(code)
}

fn signal(tone: Tone) -> String {
    match tone.event_code() {
        10 => "*".to_owned(),
        11 => "#".to_owned(),
        code @ 12..=15 => char::from(b'A' + code - 12).to_string(),
        code => code.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_signal_that_means_it() {
        for code in 0..=16 {
            let pressed = Tone::from_event_code(code).unwrap();
            assert_eq!(tone(&signal(pressed)), Some(pressed));
        }
    }

    #[test]
    fn twenty_presses_fit_into_a_second_and_no_more() {
        let begun = Instant::now();
        let mut budget = PressBudget::default();
        for second in 0..3 {
            let now = begun + Duration::from_secs(second);
            let taken = (0..100).filter(|_| budget.take(now)).count();
            assert_eq!(taken, MOST_A_SECOND as usize);
        }
    }
}
