//! The meter pointed at any SIP server: by dialling it, or by being dialled.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use super::{
    content::Expected,
    dialler::Dialler,
    far_end::FarEnd,
    meter::{Meter, Window},
    report::StepReport,
};

/// Between answer and window.
const SETTLE: Duration = Duration::from_secs(1);

/// What to measure at another server.
#[derive(Clone, Debug)]
pub struct Foreign {
    /// Calls to dial, or to wait for.
    pub calls: u32,
    /// Calls dialled per second.
    pub rate: f64,
    /// Length of the window.
    pub window: Duration,
    /// A tone that every stream should carry, in Hz.
    pub tone: Option<f64>,
    /// How long calls are waited for.
    pub patience: Duration,
}

/// What came of it.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ForeignReport {
    /// The window; processor time of the server is not known.
    pub window: StepReport,
    /// Responses that refused calls, and how many each.
    pub refused: BTreeMap<String, usize>,
}

impl Foreign {
    fn expected(&self) -> Expected {
        self.tone.map_or(Expected::Any, Expected::Tone)
    }

    /// Dials `uri`, measures, hangs up.
    ///
    /// # Errors
    /// When no call is answered.
    pub fn dial(&self, uri: &str, ip: Ipv4Addr) -> anyhow::Result<ForeignReport> {
        let (meter, _sockets) = Meter::start(ip)?;
        let mut dialler = Dialler::new(uri, meter.clone(), self.expected())?;
        let up = dialler.dial(self.calls, self.rate)?;
        dialler.serve_until(Instant::now() + SETTLE)?;
        let window = std::thread::scope(|scope| {
            let window = scope.spawn(|| meter.measure(self.window, up));
            dialler.serve_until(Instant::now() + self.window)?;
            window.join().unwrap_or_else(|_| bail!("the meter panicked"))
        })?;
        dialler.hang_up()?;
        let refused = dialler.refused().iter().map(|(line, n)| (line.clone(), *n)).collect();
        Ok(report(up, &window, refused))
    }

    /// Waits at `at` until as many calls as asked for are up, measures, hangs up.
    ///
    /// # Errors
    /// When no call comes in time.
    pub fn listen(&self, at: SocketAddr) -> anyhow::Result<ForeignReport> {
        let IpAddr::V4(ip) = at.ip() else { bail!("listen on an IPv4 address") };
        let (meter, _sockets) = Meter::start(ip)?;
        let expected = self.expected();
        let far_end = FarEnd::start(at, meter.clone(), Box::new(move |_| expected.clone()))?;
        eprintln!("Dial sip:NUMBER@{}", far_end.address());
        let deadline = Instant::now() + self.patience;
        while far_end.up().len() < self.calls as usize && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(SETTLE);
        let up = far_end.up().len();
        (up > 0).then_some(()).context("no call comes")?;
        let window = meter.measure(self.window, up)?;
        far_end.hang_up_all();
        // The datagrams must leave before the process ends.
        std::thread::sleep(Duration::from_millis(100));
        Ok(report(up, &window, BTreeMap::new()))
    }
}

fn report(up: usize, window: &Window, refused: BTreeMap<String, usize>) -> ForeignReport {
    ForeignReport { window: StepReport::new(up, window, Duration::ZERO), refused }
}
