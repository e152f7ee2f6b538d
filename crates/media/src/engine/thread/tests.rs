//! The thread's shell without the thread: full queues, and lateness that commands cause.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    pin::pin,
    sync::atomic::AtomicU64,
    task::Context,
};

use tokio::sync::{
    mpsc::error::TryRecvError::{Disconnected, Empty},
    oneshot,
};

use super::*;
use crate::{
    codec::Codec,
    engine::{
        FeedError, PlayoutId, Remote, StreamEvent, Threads, TonesId,
        feed::{self, feed},
        stats::{LATE, StreamCounters},
        tones::{Form, Tones},
    },
};

/// A thread's both ends, without the thread.
fn shell() -> (Shell, ShardThread) {
    let (queue, commands) = sync_channel(2);
    let (feeds, fed) = sync_channel(2);
    let wake = Arc::new(Wake {
        eventfd: eventfd(0, EventfdFlags::NONBLOCK).unwrap(),
        pending: AtomicBool::new(false),
        sweep: AtomicBool::new(false),
        stop: AtomicBool::new(false),
    });
    let counters = Arc::new(ShardCounters::default());
    let shell =
        Shell::new((commands, fed), Arc::clone(&wake), Arc::clone(&counters), Crossing::single())
            .unwrap();
    (shell, ShardThread { queue, feeds, wake, counters, thread: None })
}

const ID: StreamId = StreamId(7);

fn add(setup: Box<StreamSetup>) -> Command {
    let rtp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    Command::Add { id: ID, setup, sockets: Some(Sockets { rtp, rtcp: None }) }
}

fn tones(codes: Vec<u8>) -> Command {
    let (duration, gap) = (Duration::from_millis(100), Duration::ZERO);
    let form = Form::Events { codes, duration, gap };
    Command::Stream(ID, StreamCommand::Tones(Tones { id: TonesId(1), form }))
}

#[test]
fn a_feed_that_is_full_is_taken_from_though_the_thread_was_told_of_nothing_before() {
    let (mut shell, owners) = shell();
    let (setup, _events) = setup(&Arc::new(AtomicBool::new(false)));
    owners.send(add(setup)).unwrap();
    let shards = vec![owners].into_boxed_slice();
    let threads = Arc::new(Threads { shards, next_id: AtomicU64::new(0) });
    let (feed, frames) = feed(&threads, 0, ID);
    threads.shards[0].send(Command::Stream(ID, StreamCommand::Feed(frames))).unwrap();
    shell.turn(false);
    let began = Instant::now();
    let mut due = (0..).map(|frame| began + Duration::from_millis(20) * frame);
    let mut push = || feed.push(due.next().unwrap(), &[0; 160]);
    (0..feed::PLACES).for_each(|_| push().unwrap());
    // As if there had been no room for it.
    while shell.fed.try_recv().is_ok() {}
    assert_eq!(push(), Err(FeedError::Full));
    threads.shards[0].wake_for_feeds();
    shell.turn(false);
    assert_eq!(push(), Ok(()));
}

#[test]
fn a_stream_closes_even_if_the_queue_is_full() {
    let (mut shell, owners) = shell();
    let abandoned = Arc::new(AtomicBool::new(false));
    let (setup, mut events) = setup(&abandoned);
    owners.send(add(setup)).unwrap();
    let stop = || Command::Stream(ID, StreamCommand::StopTones(TonesId(1)));
    owners.send(stop()).unwrap();
    assert!(owners.send(stop()).is_err(), "refused, not lost silently");
    assert_eq!(owners.counters.commands_refused.load(Ordering::Relaxed), 1);
    owners.close(ID, &abandoned);

    assert!(events.try_recv().is_err_and(|error| error == Empty));
    let now = shell.clock.now();
    shell.take_commands(now);
    assert!(events.try_recv().is_err_and(|error| error == Disconnected), "the stream is gone");
    assert_eq!(shell.shard.deadline(), None);
}

/// Takes its time when it is woken.
struct Slow;

impl std::task::Wake for Slow {
    fn wake(self: Arc<Self>) {
        let begun = Instant::now();
        while begun.elapsed() < 2 * LATE {
            std::hint::spin_loop();
        }
    }
}

#[test]
fn what_commands_take_is_lateness_of_the_packets_behind_them() {
    let (mut shell, owners) = shell();
    let (setup, _events) = setup(&Arc::new(AtomicBool::new(false)));
    owners.send(add(setup)).unwrap();
    owners.send(tones(vec![1])).unwrap();
    let now = shell.clock.now();
    shell.take_commands(now);

    let (done, mut stopped) = oneshot::channel();
    let waker = Arc::new(Slow).into();
    assert!(pin!(&mut stopped).poll(&mut Context::from_waker(&waker)).is_pending());
    let stop = StreamCommand::Stop { id: PlayoutId(1), done: Some(done) };
    owners.send(Command::Stream(ID, stop)).unwrap();
    shell.turn(false);
    // More if the machine lost time as well.
    assert!(owners.counters.late_packets.get() >= 1);
}

fn setup(
    abandoned: &Arc<AtomicBool>,
) -> (Box<StreamSetup>, tokio::sync::mpsc::Receiver<StreamEvent>) {
    let (events, receiver) = tokio::sync::mpsc::channel(1);
    let setup = StreamSetup {
        remote: Remote { rtp: SocketAddr::from((Ipv4Addr::LOCALHOST, 9)), rtcp: None },
        codec: Codec::Pcmu,
        payload_type: 0,
        telephone_event: Some(101),
        ssrc: 1,
        first_sequence: 1,
        first_timestamp: 1,
        cname: String::new(),
        rtcp_interval: Duration::from_secs(5),
        events,
        tap: None,
        srtp: None,
        media_timeout: None,
        counters: Arc::new(StreamCounters::default()),
        abandoned: Arc::clone(abandoned),
    };
    (Box::new(setup), receiver)
}
