//! The judgement for people: one sentence, the members, then what to know and what to do.

use super::super::gotext;
use super::report::{Report, Role, Row, Weight};

const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const GREEN: &str = "\x1b[32m";
const PLAIN: &str = "\x1b[0m";

/// The text, in colours if wanted.
pub fn draw(report: &Report, colours: bool) -> String {
    let paint = |colour: &str, text: &str| match colours {
        true => format!("{colour}{text}{PLAIN}"),
        false => text.to_string(),
    };
    let verdict = if report.healthy() { paint(GREEN, "healthy") } else { paint(RED, "not healthy") };
    let mut text = format!("Cluster {:x} is {verdict}.\n{}\n", report.cluster_id, bearing(report));
    if !report.rows.is_empty() {
        text += "\n";
    }
    let width = report.rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
    for row in &report.rows {
        let line = line(row, width);
        text += &if row.role == Role::Unreachable { paint(RED, &line) } else { line };
        text += "\n";
    }
    for finding in &report.findings {
        let title = match finding.weight {
            Weight::Problem => paint(RED, "PROBLEM"),
            Weight::Note => paint(YELLOW, "NOTE"),
        };
        text += &format!("\n{title} {}\n  do: {}\n", finding.what, finding.advice);
    }
    text
}

fn bearing(report: &Report) -> String {
    let leader = match report.leader_name() {
        Some(name) => format!("{name} leads at term {}", report.term),
        None => "nobody leads".to_string(),
    };
    let bears = match report.spare {
        None => "writes have stopped".to_string(),
        Some(0) => "the loss of any voter stops writes".to_string(),
        Some(1) => "it survives the loss of 1 more voter".to_string(),
        Some(spare) => format!("it survives the loss of {spare} more voters"),
    };
    format!("{} of {} voters answer, {leader}; {bears}.", report.reachable, report.voters)
}

fn line(row: &Row, width: usize) -> String {
    let mark = if row.role == Role::Leader { "*" } else { " " };
    let facts = match row.role {
        Role::Unreachable => String::new(),
        _ => {
            let size = gotext::size(u64::try_from(row.db_size).unwrap_or_default());
            format!("  {}  {size}  applied {}", row.version, row.applied)
        }
    };
    format!("{mark} {:width$}  {:016x}  {:11}{facts}  {}", row.name, row.id, row.role.word(), row.client_urls.join(","))
}
