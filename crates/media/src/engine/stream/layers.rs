//! A stream's overlays, and what moves one playout or overlay alone.

use super::{NewPlayout, Now, Playout, PlayoutId, Stream, StreamEvent};

/// What an owner asks of one of the layers.
pub(in super::super) enum LayerCommand {
    /// One more on top.
    Overlay(Box<NewPlayout>),
    /// Silent for now, or not any more.
    Pause { id: PlayoutId, paused: bool },
    /// From another place on.
    Seek { id: PlayoutId, units: u64 },
}

impl Stream {
    pub(super) fn layer(&mut self, now: Now, command: LayerCommand) {
        match command {
            LayerCommand::Overlay(new) => self.overlay(now, *new),
            LayerCommand::Pause { id, paused } => {
                if let Some(playout) = self.playing(id) {
                    playout.pause(paused);
                }
            }
            LayerCommand::Seek { id, units } => {
                if let Some(playout) = self.playing(id) {
                    playout.seek(units);
                    self.finish_overlays(now);
                    self.finish_if_over(now);
                }
            }
        }
    }

    /// Whether it was one.
    pub(super) fn stop_overlay(&mut self, id: PlayoutId) -> bool {
        let stopped = self.overlays.as_mut().is_some_and(|overlays| overlays.remove(id));
        self.forget_overlays();
        stopped
    }

    /// Ends overlays of which nothing is left.
    pub(super) fn finish_overlays(&mut self, now: Now) {
        while let Some(over) = self.overlays.as_mut().and_then(|overlays| overlays.take_finished())
        {
            self.mailbox.post(StreamEvent::Finished(over), now.at);
        }
        self.forget_overlays();
    }

    fn overlay(&mut self, now: Now, new: NewPlayout) {
        let overlays = self.overlays.get_or_insert_default();
        if overlays.is_full() {
            self.mailbox.post(StreamEvent::Stopped(new.id), now.at);
            return;
        }
        let mut playout = Playout::new(new.id, new.progress, self.codec, new.sealed, new.looping);
        playout.append(new.segments, &new.block);
        overlays.add(playout);
        self.finish_overlays(now);
    }

    /// The playout or overlay of this name.
    fn playing(&mut self, id: PlayoutId) -> Option<&mut Playout> {
        let playout = self.playout.as_mut().filter(|playout| playout.id == id);
        playout.or_else(|| self.overlays.as_mut()?.get_mut(id))
    }

    /// Without overlays packets are sent the cheap way again.
    fn forget_overlays(&mut self) {
        self.overlays.take_if(|overlays| overlays.is_over());
    }
}
