//! Where a run was made: program, system, processor, memory, and what else the machine was doing. What the system does not
//! tell is left out.

use std::fs;

use serde::Serialize;

use crate::version;

/// The machine that sends the load.
#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    pub kontiki_version: &'static str,
    /// `release` or `debug`; the latter sends several times less.
    pub build: &'static str,
    pub os: &'static str,
    pub arch: &'static str,
    pub kernel: Option<String>,
    pub cpu_model: Option<String>,
    pub cpus: usize,
    pub memory_bytes: Option<u64>,
    /// Processes that wanted a processor, averaged over the minute before the run.
    pub load_average: Option<f64>,
    /// Seconds since 1970 at the start.
    pub unix_time: u64,
}

impl Environment {
    /// As it is now.
    pub fn look() -> Environment {
        let read = |path| fs::read_to_string(path).unwrap_or_default(); // only Linux has them
        let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
        Environment {
            kontiki_version: version::NUMBER,
            build: if cfg!(debug_assertions) { "debug" } else { "release" },
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            kernel: (!kernel.is_empty()).then_some(kernel),
            cpu_model: cpu_model(&read("/proc/cpuinfo")),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory_bytes(&read("/proc/meminfo")),
            load_average: read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()),
            unix_time: std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |age| age.as_secs()),
        }
    }
}

fn cpu_model(cpuinfo: &str) -> Option<String> {
    let value = |name| cpuinfo.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_prefix(':'));
    value("model name").or_else(|| value("Model")).map(|model| model.trim().to_owned())
}

fn memory_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_found() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t: a b\n";
        assert_eq!(cpu_model(cpuinfo).as_deref(), Some("Some CPU @ 2 GHz"));
        assert_eq!(cpu_model("processor\t: 0\n"), None);
        assert_eq!(memory_bytes("MemTotal:       16000 kB\nMemFree: 1 kB\n"), Some(16_384_000));
        assert_eq!(memory_bytes(""), None);
    }
}
