//! What a call makes of the news of its leg.

use std::time::Instant;

use super::{Call, CallState, Direction};
use crate::{leg::LegEvent, media_queue::Heard, output::Notification, timer::Timer, tones::Tone};

impl Call {
    pub(super) fn handle_leg(&mut self, now: Instant, event: LegEvent) {
        use CallState::{
            Established, Establishing, Incoming, Redirecting, Terminated, Terminating,
            TransferAccepted, Transferring,
        };
        match (self.state, event) {
            (
                _,
                event
                @ (LegEvent::ReferAccepted | LegEvent::ReferRefused | LegEvent::ReferEnded(_)),
            ) => self.hear_refer(now, event),
            (Redirecting, LegEvent::Answered) => self.redirected(now),
            (Terminated, _)
            | (
                Incoming | Established | Transferring | TransferAccepted | Terminating,
                LegEvent::Answered,
            )
            | (
                Incoming | Established | Transferring | TransferAccepted | Redirecting
                | Terminating,
                LegEvent::Ringing,
            )
            | (Incoming | Establishing | Redirecting | Terminating, LegEvent::Tone(_))
            | (Terminating, LegEvent::Media { .. } | LegEvent::Conference(_)) => {}
            (
                Incoming | Establishing | Established | Transferring | TransferAccepted
                | Redirecting,
                LegEvent::Conference(event),
            ) => self.hear_conference(now, event),
            (Establishing, LegEvent::Ringing) => {
                // 180 may come again and again; only who is called rings.
                if self.direction == Direction::Outgoing && !std::mem::replace(&mut self.rang, true)
                {
                    self.notify(Notification::Ringing);
                }
            }
            // Early media, or a leg whose audio is quicker than its signalling: told once
            // established.
            (Incoming | Establishing | Redirecting, LegEvent::Media { active }) => {
                self.media_active = active;
            }
            (Establishing, LegEvent::Answered) => {
                self.timers.stop(Timer::Establish);
                if let (Direction::Outgoing, Some(longest)) =
                    (self.direction, self.settings.longest_outgoing)
                {
                    self.timers.set(Timer::Longest, now + longest);
                }
                self.enter(Established);
                self.notify(Notification::Established);
                if self.media_active {
                    self.tell_media(now);
                }
            }
            (Established | Transferring | TransferAccepted, LegEvent::Media { active }) => {
                if active != self.media_active {
                    self.media_active = active;
                    self.tell_media(now);
                }
            }
            (Established | Transferring | TransferAccepted, LegEvent::Tone(tone)) => {
                self.hear_tone(tone);
                self.with_queue(now, |queue, cx| queue.heard(Heard::Tone(tone), cx));
                self.with_queue(now, |queue, cx| queue.tone(tone, cx));
            }
            (Established, LegEvent::Ended(_)) if self.may_be_replaced => self.replaced(now),
            (
                Incoming | Establishing | Established | Transferring | TransferAccepted
                | Redirecting | Terminating,
                LegEvent::Ended(result),
            ) => {
                let result = self.end_as.take().unwrap_or(result);
                self.terminate(now, result);
            }
        }
    }

    /// A key press: one notification each, for a bot that has subscribed.
    fn hear_tone(&mut self, tone: Tone) {
        if let Some(sequence) = self.key_presses.hear(tone) {
            self.notify(Notification::Tone { tone, sequence });
        }
    }
}
