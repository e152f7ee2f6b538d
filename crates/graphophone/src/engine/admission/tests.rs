//! The machine under a moved clock: bursts, ramps, recovery, and noise that is nobody's fault.

use super::*;

/// What a playing stream costs the modelled machine, in processors (8 µs for a packet).
const STREAM: f64 = 400e-6;
/// What a new call costs it, in seconds.
const SET_UP: f64 = 1.5e-3;

fn limits() -> AdmissionLimits {
    AdmissionLimits {
        enabled: true,
        free_calls: 50,
        engine_thread: 0.8,
        process: 0.85,
        lateness: Duration::from_millis(1),
        queue_age: Duration::from_millis(100),
        fetch_wait: Duration::from_secs(2),
        store_age: Duration::from_secs(1),
    }
}

/// A server on one processor whose calls begin to play 750 ms after they were taken.
struct Server {
    admission: Admission,
    now: Instant,
    calls: VecDeque<Instant>,
    /// What setting a call up costs it, in seconds.
    set_up: f64,
    /// Work of setting calls up that is not done yet, in seconds.
    backlog: f64,
    admitted: usize,
    changes: Vec<Change>,
    /// Added to each sample.
    disturbance: LoadSample,
    /// Most use of the processor seen.
    peak: f64,
    /// Most work of setting calls up that was left over at the end of a window.
    most_backlog: f64,
}

impl Server {
    fn new(limits: AdmissionLimits) -> Self {
        Self {
            admission: Admission::new(limits),
            now: Instant::now(),
            calls: VecDeque::new(),
            set_up: SET_UP,
            backlog: 0.0,
            admitted: 0,
            changes: Vec::new(),
            disturbance: LoadSample::default(),
            peak: 0.0,
            most_backlog: 0.0,
        }
    }

    fn offer(&mut self, calls: usize) -> Option<Verdict> {
        let mut refused = None;
        for _ in 0..calls {
            let (verdict, change) = self.admission.admit(self.now);
            self.changes.extend(change);
            match verdict {
                Verdict::Admit => {
                    self.calls.push_back(self.now);
                    self.admitted += 1;
                }
                Verdict::Refuse { .. } => refused = Some(verdict),
            }
        }
        refused
    }

    fn pass_window(&mut self) {
        self.now += SAMPLE_EVERY;
        let plays = |from: &&Instant| **from + Duration::from_millis(750) <= self.now;
        let playing = self.calls.iter().filter(plays).count() as f64;
        let engine = playing * STREAM;
        let window = SAMPLE_EVERY.as_secs_f64();
        self.backlog += std::mem::take(&mut self.admitted) as f64 * self.set_up;
        let done = self.backlog.min((1.0 - engine - self.disturbance.process).max(0.0) * window);
        self.backlog -= done;
        self.most_backlog = self.most_backlog.max(self.backlog);
        let process = engine + done / window + self.disturbance.process;
        self.peak = self.peak.max(process);
        let sample = LoadSample {
            span: SAMPLE_EVERY,
            calls: self.calls.len(),
            threads: 1,
            playing,
            engine,
            busiest: engine,
            process: process.min(1.0),
            processors: 1.0,
            ..self.disturbance.clone()
        };
        self.changes.extend(self.admission.sample(self.now, &sample));
    }

    /// Offers so many calls in each window, and ends those that are older than `length`.
    fn run(&mut self, windows: usize, offered: usize, length: Duration) {
        for _ in 0..windows {
            while self.calls.pop_front_if(|from| *from + length <= self.now).is_some() {}
            self.offer(offered);
            self.pass_window();
        }
    }
}

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn a_burst_does_not_overshoot() {
    let mut server = Server::new(limits());
    server.pass_window();
    let refused = server.offer(10_000).expect("not all of them");
    let Verdict::Refuse { retry_after, reason } = refused else { panic!("{refused:?}") };
    assert_eq!((retry_after, reason), (Duration::from_secs(1), Reason::TooFast));
    // As many as one engine thread can play to.
    assert_eq!(server.calls.len(), 1_600);
    // Their set-up fills the processor for seconds, in which nobody else is taken.
    server.run(24, 10_000, HOUR);
    assert_eq!((server.calls.len(), server.backlog), (1_600, 0.0));
    server.peak = 0.0;
    server.run(60, 10_000, HOUR);
    let playing = server.calls.len() as f64 * STREAM;
    assert!(playing > 0.75 && playing <= 0.85, "{playing}");
    assert!(server.peak <= 0.95, "{}", server.peak);
    assert_eq!(server.changes, [Change::Refuses(Reason::TooFast)], "told once");
}

#[test]
fn an_idle_server_refuses_nobody_for_the_rate_of_set_ups() {
    // A debug build that takes 20 ms for a call, with 20 calls a second, also all at once, and
    // with 40; a release build, with 500 a second from one moment to the next.
    let cases = [(20e-3, [5; 4]), (20e-3, [20, 0, 0, 0]), (20e-3, [10; 4]), (1.3e-3, [125; 4])];
    for (set_up, offered) in cases {
        let mut server = Server::new(AdmissionLimits { free_calls: 0, ..limits() });
        server.set_up = set_up;
        server.run(8, 0, HOUR);
        for _ in 0..20 {
            offered.into_iter().for_each(|calls| server.run(1, calls, Duration::from_millis(500)));
        }
        assert_eq!(server.changes, [], "{set_up} {offered:?}: {:?}", server.admission);
    }
}

#[test]
fn what_else_the_process_does_is_not_held_against_new_calls_below_half_of_the_limit() {
    let mut server = Server::new(AdmissionLimits { free_calls: 0, ..limits() });
    // Looks as if each of the few calls cost it 60 ms.
    server.disturbance.process = 0.4;
    server.set_up = 0.0;
    server.run(40, 5, Duration::from_millis(500));
    assert_eq!(server.offer(150), None, "{:?}", server.admission);
}

#[test]
fn calls_that_come_unevenly_are_taken_as_long_as_the_processor_carries_them() {
    let mut server = Server::new(AdmissionLimits { free_calls: 0, ..limits() });
    // 300 calls a second take 69 % of the processor; a window may have a tenth more.
    server.set_up = 2.3e-3;
    for _ in 0..20 {
        for offered in [75, 82, 68, 80, 70] {
            server.run(1, offered, Duration::from_millis(500));
        }
    }
    assert_eq!(server.changes, [], "{:?}", server.admission);
}

#[test]
fn set_ups_beyond_what_the_processor_can_do_are_refused_and_the_others_taken() {
    let mut server = Server::new(limits());
    // 770 set-ups a second would fill it; 130 % of that is offered at once, for short calls.
    server.set_up = 1.3e-3;
    server.run(8, 250, Duration::from_millis(500));
    (server.peak, server.most_backlog) = (0.0, 0.0);
    let before = server.admission.standing().refused;
    server.run(80, 250, Duration::from_millis(500));
    let refused = server.admission.standing().refused - before;
    assert!(refused <= 80 * (250 - 125), "only {} are taken", 80 * 250 - refused);
    assert!(server.peak <= 0.9, "{}", server.peak);
    assert_eq!(server.most_backlog, 0.0);
}

#[test]
fn a_ramp_ends_at_the_limit() {
    let mut server = Server::new(limits());
    // 200 calls a second.
    server.run(100, 50, HOUR);
    let playing = server.calls.len() as f64 * STREAM;
    assert!(playing > 0.75 && playing <= 0.81, "{playing}");
    assert!(server.peak <= 0.9, "{}", server.peak);
    let refused = server.offer(1).expect("no more");
    let Verdict::Refuse { retry_after, reason } = refused else { panic!("{refused:?}") };
    assert!(matches!(reason, Reason::EngineBusy | Reason::ProcessBusy), "{reason:?}");
    assert!((3..8).contains(&retry_after.as_secs()));
}

#[test]
fn offered_too_much_for_long_it_keeps_near_its_limit() {
    let mut server = Server::new(limits());
    // Calls of 20 s, 130 % of what fits: 0.8 / STREAM = 2,000 calls.
    let offered = 32;
    server.run(80, offered, Duration::from_secs(20));
    let (mut least, mut most) = (f64::MAX, 0.0_f64);
    for _ in 0..400 {
        server.run(1, offered, Duration::from_secs(20));
        let playing = server.calls.len() as f64 * STREAM;
        (least, most) = (least.min(playing), most.max(playing));
    }
    assert!(most <= 0.85, "{most}");
    assert!(least >= 0.6, "{least}");
    assert!(server.peak <= 0.95, "{}", server.peak);
    assert!(!server.changes.is_empty());
}

#[test]
fn short_calls_at_a_high_rate_are_taken() {
    let mut server = Server::new(limits());
    // 300 calls a second, 2 s each: 45 % for set-up and 15 % for playing.
    for offered in (5..=75).step_by(5) {
        server.run(4, offered, Duration::from_secs(2));
    }
    server.run(100, 75, Duration::from_secs(2));
    assert_eq!(server.changes, []);
}

#[test]
fn it_opens_again_when_calls_end_and_says_so_once() {
    let mut server = Server::new(limits());
    server.run(100, 100, HOUR);
    assert!(server.admission.standing().refuses.is_some());
    server.calls.truncate(1_000);
    server.pass_window();
    server.run(20, 1, HOUR);
    assert!(server.offer(20).is_none(), "{:?}", server.admission);
    let [Change::Refuses(_), Change::Opens { refused }] = server.changes[..] else {
        panic!("{:?}", server.changes);
    };
    assert!(refused > 7_000, "{refused}");
}

#[test]
fn one_call_less_does_not_open_it() {
    let mut server = Server::new(limits());
    server.run(100, 100, HOUR);
    server.run(12, 0, HOUR);
    assert!(server.admission.standing().refuses.is_some());
    server.calls.truncate(server.calls.len() - 5);
    server.run(12, 0, HOUR);
    assert!(server.admission.standing().refuses.is_some(), "{:?}", server.admission);
    server.calls.truncate(1_850);
    server.run(12, 0, HOUR);
    assert!(server.admission.standing().refuses.is_none(), "{:?}", server.admission);
}

#[test]
fn what_waits_too_long_refuses_and_half_of_it_opens() {
    let ms = Duration::from_millis;
    type Set = fn(&mut LoadSample, Duration);
    let rows: [(Set, Duration, Reason); 5] = [
        (|it, age| it.lateness = age, ms(1), Reason::PacketsLate),
        (|it, age| it.command_age = age, ms(100), Reason::CommandsWait),
        (|it, age| it.task_lag = age, ms(100), Reason::TasksWait),
        (|it, age| it.fetch_wait = age, ms(2_000), Reason::FetchesWait),
        (|it, age| it.store_age = age, ms(1_000), Reason::StoreWaits),
    ];
    for (set, limit, reason) in rows {
        let mut server = Server::new(limits());
        server.run(20, 10, HOUR);
        set(&mut server.disturbance, limit);
        server.run(4, 10, HOUR);
        assert_eq!(server.changes, [], "the limit itself is good");
        set(&mut server.disturbance, limit * 2);
        server.run(2, 10, HOUR);
        assert_eq!(server.changes, [Change::Refuses(reason)]);
        set(&mut server.disturbance, limit * 3 / 4);
        server.run(8, 1, HOUR);
        assert_eq!(server.admission.standing().refuses, Some(reason));
        set(&mut server.disturbance, limit / 2);
        server.run(10, 1, HOUR);
        assert!(matches!(server.changes[..], [_, Change::Opens { .. }]), "{:?}", server.changes);
    }
}

#[test]
fn one_stall_is_not_load() {
    let mut server = Server::new(limits());
    server.run(20, 10, HOUR);
    for _ in 0..10 {
        server.disturbance.lateness = Duration::from_millis(30);
        server.disturbance.command_age = Duration::from_millis(300);
        server.pass_window();
        server.disturbance = LoadSample::default();
        server.run(3, 1, HOUR);
    }
    assert_eq!(server.changes, []);
}

#[test]
fn few_calls_are_taken_whatever_else_the_machine_does() {
    let mut server = Server::new(limits());
    server.disturbance = LoadSample {
        lateness: Duration::from_millis(40),
        command_age: Duration::from_millis(500),
        task_lag: Duration::from_millis(500),
        store_age: Duration::from_secs(4),
        process: 1.0,
        ..LoadSample::default()
    };
    server.run(20, 2, HOUR);
    assert_eq!((server.calls.len(), &server.changes[..]), (40, &[][..]));
    assert!(server.offer(20).is_some(), "the 51st is not free");
    assert_eq!(server.calls.len(), 50);
}

#[test]
fn without_samples_the_room_is_not_filled_again() {
    let mut server = Server::new(limits());
    server.run(4, 10, HOUR);
    server.offer(10_000);
    server.now += Duration::from_secs(10);
    assert!(server.offer(1).is_some());
}

#[test]
fn switched_off_it_takes_everything() {
    let mut server = Server::new(AdmissionLimits { enabled: false, ..limits() });
    server.run(10, 1_000, HOUR);
    assert_eq!((server.calls.len(), &server.changes[..]), (10_000, &[][..]));
}

#[test]
fn limits_of_zero_leave_the_free_calls_only() {
    let zero = AdmissionLimits { free_calls: 1, engine_thread: 0.0, process: 0.0, ..limits() };
    let mut server = Server::new(zero);
    server.pass_window();
    assert!(server.offer(1).is_none());
    server.pass_window();
    assert!(server.offer(1).is_some());
    assert!(server.admission.standing().refuses.is_some());
}
