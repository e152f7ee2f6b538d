//! One playPrompt being carried out: which prompts are ready, which one broke it.

use std::time::Duration;

use crate::operation::{MediaPrompt, ResultInfo};

/// What is known of one prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Prepared {
    Waiting,
    Ready(Duration),
    Failed(ResultInfo),
}

/// Prompts 1..20 of one operation on their way to the far end.
#[derive(Clone, Debug)]
pub(crate) struct Playback {
    prompts: Vec<Prepared>,
    looping: bool,
    /// What the playout was given so far.
    handed_over: Option<Playable>,
}

/// What is playable now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Playable {
    /// The first so many prompts are ready.
    pub(crate) ready: usize,
    /// Nothing will be added: all are ready, or the next one has failed.
    pub(crate) sealed: bool,
}

impl Playback {
    /// Of a recording that has no prompt there is still one thing to wait for: that it is durable.
    pub(crate) fn new(prompts: &[MediaPrompt], looping: bool) -> Self {
        let count = prompts.len().max(1);
        Self { prompts: vec![Prepared::Waiting; count], looping, handed_over: None }
    }

    /// Notes a prepared prompt; a second report about the same prompt is absorbed.
    pub(crate) fn prepared(&mut self, index: usize, outcome: Result<Duration, ResultInfo>) {
        if let Some(prompt @ Prepared::Waiting) = self.prompts.get_mut(index) {
            *prompt = match outcome {
                Ok(duration) => Prepared::Ready(duration),
                Err(result) => Prepared::Failed(result),
            };
        }
    }

    /// How much can be played, in order from the first prompt.
    pub(crate) fn playable(&self) -> Playable {
        let ready = self.prompts.iter().take_while(|p| matches!(p, Prepared::Ready(_))).count();
        let sealed = !matches!(self.prompts.get(ready), Some(Prepared::Waiting));
        Playable { ready, sealed }
    }

    /// Playing time of one round of what can be played now, with repeats.
    pub(crate) fn length(&self, prompts: &[MediaPrompt]) -> Duration {
        let ready =
            self.prompts.iter().zip(prompts).map_while(|(prepared, prompt)| match prepared {
                Prepared::Ready(duration) => Some(*duration * prompt.repeat),
                Prepared::Waiting | Prepared::Failed(_) => None,
            });
        ready.sum()
    }

    /// The failure that ends the playback after what is playable, if there is one.
    pub(crate) fn failure(&self) -> Option<ResultInfo> {
        if let Some(Prepared::Failed(result)) = self.prompts.get(self.playable().ready) {
            return Some(result.clone());
        }
        // Zero samples for ever would be a busy loop that nobody hears.
        let silent = || self.prompts.iter().all(|p| *p == Prepared::Ready(Duration::ZERO));
        (self.looping && silent())
            .then(|| ResultInfo::format_invalid("The looped prompts have no samples."))
    }

    /// Whether nothing of it can ever be played.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.failure().is_some()
            && self
                .prompts
                .iter()
                .take(self.playable().ready)
                .all(|p| *p == Prepared::Ready(Duration::ZERO))
    }

    /// Whether the playout starts over at its end. A list with a broken prompt is played once,
    /// and then fails.
    pub(crate) fn is_looping(&self) -> bool {
        self.looping && self.failure().is_none()
    }

    /// Whether it may start before all its prompts are known. A loop may not: only a whole list
    /// tells whether to start over, and a playout that loops cannot be told to end.
    pub(crate) fn can_start_early(&self) -> bool {
        !self.looping && self.playable().ready > 0
    }

    /// Whether the playout was told to reach an end, so that it can have finished.
    pub(crate) fn can_finish(&self) -> bool {
        self.handed_over.is_some_and(|playable| playable.sealed) && !self.is_looping()
    }

    /// Whether something changed since the last hand-over.
    pub(crate) fn has_more(&self) -> bool {
        self.handed_over != Some(self.playable())
    }

    /// Notes that the playout gets everything playable.
    pub(crate) fn hand_over(&mut self) -> Playable {
        let playable = self.playable();
        self.handed_over = Some(playable);
        playable
    }
}
