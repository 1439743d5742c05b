//! What the operating system says of this process. A number that cannot be read is left out.

use std::fs;

use super::text::Text;

/// Clock ticks per second in `/proc`, the same on every Linux that matters here.
const TICKS_PER_SECOND: f64 = 100.0;

/// Adds the families `process_*` and `os_fd_*`.
pub(crate) fn write(text: &mut Text) {
    if let Some(bytes) = resident_bytes() {
        text.value("process_resident_memory_bytes", bytes);
    }
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    if let Some(seconds) = cpu_seconds(&stat) {
        text.value("process_cpu_seconds_total", seconds);
    }
    if let Some(bytes) = field(&stat, 23) {
        text.value("process_virtual_memory_bytes", bytes);
    }
    if let (Some(start), Some(boot)) = (field(&stat, 22), boot_seconds()) {
        let start = boot as f64 + start as f64 / TICKS_PER_SECOND;
        text.value("process_start_time_seconds", start);
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        let open = entries.count();
        text.value("process_open_fds", open);
        text.value("os_fd_used", open);
    }
    text.value("process_virtual_memory_max_bytes", u64::MAX); // no bound is set on it
    if let Some(limit) = descriptors_max() {
        text.value("process_max_fds", limit);
        text.value("os_fd_limit", limit);
    }
}

/// Bytes of memory that are resident.
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// A field of `/proc/self/stat`, counted from 1 as in its manual page. The second, the name, may hold anything.
fn field(stat: &str, number: usize) -> Option<u64> {
    let behind_name = stat.rsplit_once(") ")?.1;
    behind_name.split(' ').nth(number.checked_sub(3)?)?.trim().parse().ok()
}

/// Processor time of a process or thread, from its `stat`.
pub(crate) fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) as f64 / TICKS_PER_SECOND)
}

fn boot_seconds() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// How many files may be open.
pub(crate) fn descriptors_max() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_the_name() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 13 14 15 16 17 18 99 4096 0";
        assert_eq!((field(stat, 4), field(stat, 14), field(stat, 15)), (Some(1), Some(250), Some(50)));
        assert_eq!((cpu_seconds(stat), field(stat, 22), field(stat, 23)), (Some(3.0), Some(99), Some(4096)));
        assert_eq!(field("", 4), None);
    }
}
