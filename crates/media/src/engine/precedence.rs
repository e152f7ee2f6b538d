//! Precedence of the engine's threads over others: a packet is due, everything else can wait.

use thread_priority::{
    ThreadPriority,
    unix::{
        RealtimeThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy,
        thread_native_id,
    },
};

/// Nice value where real-time scheduling is not allowed.
const NICE: i32 = -10;

/// Takes what precedence the calling thread may have: real-time scheduling (SCHED_FIFO, lowest
/// priority: a thread that is always behind leaves the kernel's 5 % of the core to others), or a
/// good nice value, or none. Most systems allow either to root only, or by `CAP_SYS_NICE`.
pub(super) fn take() {
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let Err(no_fifo) =
        set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy)
    else {
        return;
    };
    // On Linux it is the calling thread's alone.
    let nice = rustix::process::setpriority_process(None, NICE);
    tracing::debug!(%no_fifo, ?nice, "a playout engine thread is not scheduled in real time");
}

/// Takes precedence over what has no deadlines, but none over the threads that send: what mixes has
/// much to do at once.
pub(crate) fn take_behind_streams() {
    let nice = rustix::process::setpriority_process(None, NICE);
    tracing::debug!(?nice, "a thread that mixes rooms begins");
}
