//! What a process has cost, from `/proc`.

use std::time::Duration;

use anyhow::Context;

/// Processor time of a process so far, user and system.
///
/// # Errors
/// When the process is gone.
pub fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} is gone"))?;
    let ticks = ticks(&text).context("/proc/PID/stat is not as in proc(5)")?;
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// Memory that is resident, in bytes.
///
/// # Errors
/// When the process is gone.
pub(super) fn resident(pid: u32) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} is gone"))?;
    Ok(resident_kib(&text).context("/proc/PID/status has no VmRSS")? * 1_024)
}

/// `utime` and `stime`; the name before them is in brackets and may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    Some(times.next()?.parse::<u64>().ok()? + times.next()?.parse::<u64>().ok()?)
}

fn resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_move_the_fields() {
        let stat = "17 (a b) c) S 1 17 17 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 9 0 1";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("17 (cut"), None);
    }

    #[test]
    fn resident_memory_is_vm_rss() {
        assert_eq!(resident_kib("VmHWM:\t  900 kB\nVmRSS:\t  812 kB\n"), Some(812));
    }
}
