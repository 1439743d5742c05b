//! The report for people.

use std::fmt::Write;

use super::args::Operation;
use super::report::{Figures, Report, Summary, late};

/// Syncs are worth comparing with where operations write.
fn writes(operation: Operation) -> bool {
    matches!(operation, Operation::Put | Operation::Cas | Operation::Watch | Operation::Lease)
}

impl Report {
    /// As lines.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = self.head(&mut text);
        let _ = self.operations(&mut text);
        let _ = self.latencies(&mut text);
        let _ = self.open_loop(&mut text);
        let _ = self.processes(&mut text);
        let _ = self.end(&mut text);
        text
    }

    fn head(&self, text: &mut String) -> std::fmt::Result {
        let (plan, place) = (&self.settings, &self.environment);
        let words = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".into());
        let debug =
            if place.build == "debug" { " (debug build: it sends several times less than a release)" } else { "" };
        writeln!(text, "program     kontiki {}{debug}", place.kontiki_version)?;
        writeln!(text, "system      {} {} {}", place.os, words(&place.kernel), place.arch)?;
        write!(text, "machine     {} x {}", place.cpus, words(&place.cpu_model))?;
        if let Some(bytes) = place.memory_bytes {
            write!(text, ", {:.1} GiB", bytes as f64 / f64::from(1 << 30))?;
        }
        if let Some(load) = place.load_average {
            write!(text, ", load average {load:.2} before")?;
        }
        writeln!(text)?;
        for server in &self.servers {
            let leads = if server.leads { ", leads" } else { "" };
            writeln!(text, "server      {} version {}{leads}", server.endpoint, server.version)?;
        }
        writeln!(text, "cluster     {} voters, {} learners", self.members.voters, self.members.learners)?;
        if let Some(disk) = &self.disk {
            writeln!(
                text,
                "disk        {}: {} appends of {} bytes, each synced: p50 {:.3} ms, p99 {:.3} ms, {:.0}/s",
                disk.directory, disk.appends, disk.append_bytes, disk.p50_ms, disk.p99_ms, disk.per_second
            )?;
        }
        let pace = match (plan.rate, plan.arrivals) {
            (Some(rate), Some(arrivals)) => format!("open loop, {rate}/s due ({arrivals:?})").to_lowercase(),
            _ => "closed loop".into(),
        };
        let order = if plan.sequential { "in order" } else { "at random" };
        writeln!(
            text,
            "load        {}: {} clients, {} connections, {pace}; {} keys of {} bytes {order}, values of {} bytes",
            format!("{:?}", plan.operation).to_lowercase(),
            plan.clients,
            plan.connections,
            plan.keys,
            plan.key_size,
            plan.value_size
        )
    }

    fn operations(&self, text: &mut String) -> std::fmt::Result {
        let Figures { seconds, operations, per_second, errors, .. } = &self.result;
        let early = if self.interrupted { " (interrupted)" } else { "" };
        writeln!(text, "\n{operations} operations in {seconds:.2} s{early}: {per_second:.1}/s, {errors} errors")?;
        if self.result.warmup_operations + self.result.warmup_errors > 0 {
            let Figures { warmup_operations, warmup_errors, .. } = &self.result;
            writeln!(text, "{warmup_operations} more and {warmup_errors} errors in the warm-up, which do not count")?;
        }
        for error in &self.result.error_texts {
            writeln!(text, "  {} x {}", error.count, error.text)?;
        }
        if self.result.other_errors > 0 {
            writeln!(text, "  {} x other errors", self.result.other_errors)?;
        }
        if let Some(conflicts) = self.result.conflicts {
            writeln!(text, "{conflicts} of the transactions found their key changed")?;
        }
        if let Some(events) = &self.result.events {
            writeln!(
                text,
                "{} of {} events reached the watchers: {:.1}/s; {} streams broke",
                events.received, events.expected, events.per_second, events.broken_watchers
            )?;
        }
        Ok(())
    }

    fn latencies(&self, text: &mut String) -> std::fmt::Result {
        let result = &self.result;
        if result.latency_ms.is_none() {
            return Ok(()); // then there are no others either
        }
        writeln!(
            text,
            "\n{:<14}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "ms", "p50", "p90", "p99", "p99.9", "max", "mean"
        )?;
        let from_sending = result.open_loop.as_ref().and_then(|open| open.from_sending_ms);
        let rows = [
            ("operations", result.latency_ms),
            ("  reads", result.reads_ms),
            ("  writes", result.writes_ms),
            ("events", result.events.as_ref().and_then(|events| events.latency_ms)),
            ("(from sending)", from_sending),
        ];
        for (name, summary) in rows {
            if let Some(Summary { p50, p90, p99, p99_9, max, mean }) = summary {
                writeln!(text, "{name:<14}{p50:>10.3}{p90:>10.3}{p99:>10.3}{p99_9:>10.3}{max:>10.3}{mean:>10.3}")?;
            }
        }
        if let (Some(disk), Some(summary)) = (&self.disk, result.latency_ms.filter(|_| writes(self.settings.operation)))
        {
            let ratio = summary.p50 / disk.p50_ms.max(1e-9);
            writeln!(text, "the median operation took as long as {ratio:.1} syncs of {}", disk.directory)?;
        }
        Ok(())
    }

    fn open_loop(&self, text: &mut String) -> std::fmt::Result {
        let Some(open) = &self.result.open_loop else { return Ok(()) };
        writeln!(
            text,
            "\n{} were due; {} were sent late ({}), by {:.3} ms at worst; {} were not sent",
            open.due,
            open.sent_late,
            late(),
            open.delay_max_ms,
            open.not_sent
        )?;
        if open.not_sent > 0 {
            writeln!(
                text,
                "the percentiles lack what was not sent: lower --rate, or raise --clients if the servers were idle"
            )?;
        }
        Ok(())
    }

    fn processes(&self, text: &mut String) -> std::fmt::Result {
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        for (position, process) in self.processes.iter().enumerate() {
            let space = if position == 0 { "\n" } else { "" };
            writeln!(
                text,
                "{space}process {} {}: {:.2} s user, {:.2} s system; resident {:.1} MiB, before {:.1} MiB{}",
                process.pid,
                process.name,
                process.user_seconds,
                process.system_seconds,
                mebibytes(process.resident_bytes_after),
                mebibytes(process.resident_bytes_before),
                if process.ended { "; IT ENDED during the run" } else { "" }
            )?;
        }
        if let Some(cost) = self.result.cpu_us_per_operation {
            writeln!(text, "these processes together: {cost:.1} µs of processor time per operation")?;
        }
        Ok(())
    }

    fn end(&self, text: &mut String) -> std::fmt::Result {
        let Figures { revision_before, revision_after, keys_deleted, .. } = &self.result;
        match revision_after {
            Some(after) => writeln!(text, "\nrevision {revision_before} before, {after} after")?,
            None => writeln!(text, "\nrevision {revision_before} before; the cluster does not answer any more")?,
        }
        match keys_deleted {
            Some(deleted) => writeln!(text, "{deleted} keys were deleted"),
            None => writeln!(text, "keys under {:?} may be left (--cleanup deletes them)", self.settings.prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::bench::report::tests::sample;

    #[test]
    fn a_report_can_be_read() {
        let text = sample("put --rate 60").text();
        for line in [
            "program     kontiki 0.1.0 (debug build: it sends several times less than a release)",
            "machine     2 x Some CPU, 8.0 GiB, load average 0.50 before",
            "server      127.0.0.1:2379 version 3.5.1, leads",
            "cluster     3 voters, 0 learners",
            "disk        /d: 1000 appends of 288 bytes, each synced: p50 1.000 ms, p99 2.000 ms, 900/s",
            "load        put: 64 clients, 8 connections, open loop, 60/s due (fixed); 10000 keys of 32 bytes at random, values of 256 bytes",
            "100 operations in 2.00 s: 50.0/s, 3 errors",
            "  2 x two",
            "120 were due; 103 were sent late (over 1 ms), by 2.000 ms at worst; 17 were not sent",
            "process 7 etcd: 0.01 s user, 0.01 s system; resident 3.0 MiB, before 1.0 MiB",
            "these processes together: 200.0 µs of processor time per operation",
            "revision 10 before, 30 after",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.contains("\n(from sending)"), "{text}");
        assert!(text.contains("the median operation took as long as 52."), "{text}");
        let closed = sample("get").text();
        assert!(closed.contains("closed loop") && !closed.contains("due") && !closed.contains("syncs of"), "{closed}");
    }
}
