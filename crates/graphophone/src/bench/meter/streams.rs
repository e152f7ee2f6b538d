//! The streams a meter knows: told apart by source address and SSRC.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::mpsc::Sender,
    time::{Duration, Instant},
};

use graphophone_media::rtp::{Packet, is_rtcp};

use super::{
    super::{
        content::{Content, Expected},
        grid::{Grid, Tally},
    },
    Window,
};

/// A stream with nothing for so long at the end of a window has fallen silent.
const SILENT_MICROS: i64 = 500_000;
/// The first dynamic payload type (RFC 3551 §6): a telephone-event, not G.711.
const FIRST_DYNAMIC: u8 = 96;

/// All streams.
pub(super) struct Streams {
    epoch: Instant,
    /// What is expected from an address.
    sources: HashMap<SocketAddr, Expected>,
    streams: HashMap<(SocketAddr, u32), Stream>,
    watched: HashMap<SocketAddr, Sender<Instant>>,
    window: Option<(Tally, u64, u64)>,
}

struct Stream {
    content: Content,
    grid: Option<Grid>,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            sources: HashMap::new(),
            streams: HashMap::new(),
            watched: HashMap::new(),
            window: None,
        }
    }

    pub(super) fn expect(&mut self, source: SocketAddr, expected: Expected) {
        self.sources.insert(source, expected);
    }

    pub(super) fn forget(&mut self, source: SocketAddr) {
        self.sources.remove(&source);
    }

    pub(super) fn watch(&mut self, source: SocketAddr, arrivals: Sender<Instant>) {
        self.watched.insert(source, arrivals);
    }

    pub(super) fn unwatch(&mut self, source: SocketAddr) {
        self.watched.remove(&source);
    }

    pub(super) fn is_watching(&self) -> bool {
        !self.watched.is_empty()
    }

    /// A window begins: streams of ended calls are dropped, those of others start new books.
    pub(super) fn begin(&mut self) {
        let sources = &self.sources;
        self.streams.retain(|(from, _), _| sources.contains_key(from));
        self.streams.values_mut().for_each(|stream| stream.grid = None);
        self.window = Some(Default::default());
    }

    /// The window ends.
    pub(super) fn end(&mut self, expected: usize) -> Window {
        let now = self.micros(Instant::now());
        let (mut tally, checked, wrong) = self.window.take().unwrap_or_default();
        let mut window = Window { checked, wrong, ..Window::default() };
        let mut live = 0;
        for stream in self.streams.values_mut() {
            let Some(mut grid) = stream.grid.take() else { continue };
            window.streams += 1;
            live += usize::from(now - grid.last_at() <= SILENT_MICROS);
            grid.settle(&mut tally);
        }
        window.silent = expected.saturating_sub(live);
        window.tally = tally;
        window
    }

    /// A datagram.
    pub(super) fn take(&mut self, at: Instant, from: SocketAddr, datagram: &[u8]) {
        if !self.watched.is_empty()
            && let Some(arrivals) = self.watched.get(&from)
        {
            let _ = arrivals.send(at);
        }
        let Ok(packet) = Packet::parse(datagram) else { return };
        if is_rtcp(datagram) || packet.header.payload_type >= FIRST_DYNAMIC {
            return;
        }
        let at = self.micros(at);
        let sources = &self.sources;
        let stream = self.streams.entry((from, packet.header.ssrc)).or_insert_with(|| Stream {
            content: Content::new(sources.get(&from).cloned().unwrap_or(Expected::Any)),
            grid: None,
        });
        let (header, payload) = (packet.header, packet.payload);
        let Some((tally, checked, wrong)) = &mut self.window else {
            stream.content.learn(header.timestamp, payload);
            return;
        };
        match &mut stream.grid {
            Some(grid) => grid.take(at, header.sequence, header.timestamp, tally),
            None => stream.grid = Some(Grid::new(at, header.sequence, header.timestamp)),
        }
        if let Some(right) = stream.content.check(header.payload_type, header.timestamp, payload) {
            *checked += 1;
            *wrong += u64::from(!right);
        }
    }

    fn micros(&self, at: Instant) -> i64 {
        let since: Duration = at.saturating_duration_since(self.epoch);
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }
}
