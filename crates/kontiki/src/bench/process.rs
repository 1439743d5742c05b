//! What server processes on this machine use: processor time and memory, from Linux' `/proc`.

use std::fs;

use serde::Serialize;

use super::plan::BadInput;

/// Clock ticks per second in `/proc`, the same on every Linux that matters here.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    name: String,
    user_ticks: u64,
    system_ticks: u64,
    resident_bytes: u64,
}

/// What a process used while operations were measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Usage {
    pub pid: u32,
    pub name: String,
    pub user_seconds: f64,
    pub system_seconds: f64,
    pub resident_bytes_before: u64,
    pub resident_bytes_after: u64,
    /// Whether it was gone at the end; the figures are then those of the beginning.
    pub ended: bool,
}

/// Looks at all processes, which must be there.
pub fn look_at(pids: &[u32]) -> Result<Vec<Sample>, BadInput> {
    pids.iter().map(|pid| look(*pid).ok_or(BadInput::NoProcess(*pid))).collect()
}

/// What each used since it was looked at.
pub fn usage(pids: &[u32], before: &[Sample]) -> Vec<Usage> {
    pids.iter().zip(before).map(|(pid, before)| since(*pid, before, look(*pid))).collect()
}

fn since(pid: u32, before: &Sample, after: Option<Sample>) -> Usage {
    let ended = after.is_none();
    let seconds = |after: u64, before: u64| after.saturating_sub(before) as f64 / TICKS_PER_SECOND;
    let after = after.unwrap_or_else(|| before.clone());
    Usage {
        pid,
        name: before.name.clone(),
        user_seconds: seconds(after.user_ticks, before.user_ticks),
        system_seconds: seconds(after.system_ticks, before.system_ticks),
        resident_bytes_before: before.resident_bytes,
        resident_bytes_after: after.resident_bytes,
        ended,
    }
}

fn look(pid: u32) -> Option<Sample> {
    let read = |file| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
    parse(&read("stat")?, &read("status")?)
}

/// Reads `stat` and `status`. The name stands in brackets and may hold anything, brackets included.
fn parse(stat: &str, status: &str) -> Option<Sample> {
    let (head, rest) = stat.rsplit_once(") ")?;
    let ticks = |number: usize| rest.split(' ').nth(number)?.parse::<u64>().ok();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(Sample {
        name: head.split_once('(')?.1.to_owned(),
        user_ticks: ticks(11)?,
        system_ticks: ticks(12)?,
        resident_bytes: resident.split_whitespace().next()?.parse::<u64>().ok()? * 1024,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sample(user: u32, system: u32) -> Sample {
        let stat = format!("7 (a (b) c) S 1 7 7 0 -1 4194560 1 2 3 4 {user} {system} 0 0 20 0 9 0 8");
        parse(&stat, "Name:\ta\nVmRSS:\t    2048 kB\n").unwrap()
    }

    #[test]
    fn fields_are_found_behind_any_name() {
        let found = sample(150, 25);
        assert_eq!((found.name.as_str(), found.user_ticks, found.system_ticks), ("a (b) c", 150, 25));
        assert_eq!(found.resident_bytes, 2 << 20);
        assert_eq!(parse("7 (a) S 1", "VmRSS: 1 kB"), None);
    }

    #[test]
    fn usage_is_the_difference() {
        let used = since(7, &sample(100, 10), Some(sample(300, 35)));
        assert_eq!((used.user_seconds, used.system_seconds, used.ended), (2.0, 0.25, false));
        let gone = since(7, &sample(100, 10), None);
        assert_eq!((gone.user_seconds, gone.ended), (0.0, true));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_there_and_another_is_not() {
        assert!(look_at(&[std::process::id()]).unwrap()[0].resident_bytes > 0);
        assert_eq!(look_at(&[u32::MAX]), Err(BadInput::NoProcess(u32::MAX)));
    }
}
