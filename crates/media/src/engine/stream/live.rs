//! Live audio of a stream: what a feeder hands over is sent at once or not at all; and the stream
//! without a far end, which hears it instead, and says what it plays to its room.

use super::Stream;
use crate::{
    engine::{
        Now,
        feed::{self, LiveFrame, LiveFrames},
        sender::{Batch, Channel, Content, Datagram},
    },
    rtp::{self, HEADER_LEN},
};

impl Stream {
    /// The stream has no far end: what it plays goes to a room, and what it is fed is what it hears.
    pub(in crate::engine) fn make_virtual(&mut self) {
        self.is_virtual = true;
    }

    pub(in crate::engine) fn is_virtual(&self) -> bool {
        self.is_virtual
    }

    /// Lays down what the feeder has handed over, at most [`feed::PLACES`] datagrams; or hears it.
    pub(in crate::engine) fn take_live(&mut self, now: Now, slot: usize, batch: &mut Batch) {
        for _ in 0..feed::PLACES {
            match self.live.as_ref().map(LiveFrames::next) {
                Some(Ok(Some(frame))) if self.is_virtual => {
                    self.incoming.hear(now, &frame, self.began, &mut self.mailbox);
                }
                Some(Ok(Some(frame))) => self.lay_live_down(&frame, slot, batch),
                Some(Ok(None)) | None => return,
                Some(Err(_)) => self.live = None,
            }
        }
    }

    fn lay_live_down(&mut self, frame: &LiveFrame, slot: usize, batch: &mut Batch) {
        let is_taken = self.due.is_some() || self.clock.free_at().is_some_and(|it| it > frame.at);
        let Some(to) = self.rtp_target().filter(|_| self.sending && !is_taken) else {
            return self.counters.counts.live_left_out.add(1);
        };
        let (header, index) = self.clock.audio(self.payload_type, frame.at);
        let payload = frame.payload();
        let datagram = batch.push();
        datagram.slot = slot;
        datagram.channel = Channel::Rtp;
        datagram.to = to;
        datagram.content = Content::Live;
        datagram.bytes[HEADER_LEN..][..payload.len()].copy_from_slice(payload);
        self.finish(datagram, header, payload.len(), index);
    }

    /// Says to the room what a stream without a far end has laid down; false if none takes it.
    pub(in crate::engine) fn say(&mut self, now: Now, datagram: &Datagram) -> bool {
        rtp::Packet::parse(datagram.bytes())
            .is_ok_and(|packet| self.incoming.tell_room(packet, self.codec, now))
    }
}
