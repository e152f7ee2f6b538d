//! Times and limits of calls, with Graph's values as defaults.

use std::time::Duration;

/// Times and limits; the same for all calls of a server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// An incoming call not answered by then is refused (Graph: 15 s).
    pub answer_within: Duration,
    /// An outgoing call not answered by then is given up.
    pub ring_for: Duration,
    /// A call whose bot sends no keepAlive for so long is ended (Graph: 45 min).
    pub keep_alive: Duration,
    /// A leg that does not confirm its end by then is forgotten.
    pub terminate_within: Duration,
    /// A playback with some prompts ready waits so long for the others.
    pub start_grace: Duration,
    /// Most media operations of one call at a time, the playing one included.
    pub queue_limit: usize,
    /// An outgoing call ends so long after it was answered; `None` never.
    pub longest_outgoing: Option<Duration>,
    /// Notify operations that a hang-up cuts, too. Graph does not.
    pub notify_cut_operations: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            answer_within: Duration::from_secs(15),
            ring_for: Duration::from_secs(60),
            keep_alive: Duration::from_secs(45 * 60),
            terminate_within: Duration::from_secs(35),
            start_grace: Duration::from_secs(2),
            queue_limit: 100,
            longest_outgoing: None,
            notify_cut_operations: false,
        }
    }
}
