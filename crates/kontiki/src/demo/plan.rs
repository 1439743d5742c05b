//! Where the demo's members live: their ports and directories. Kept beside the data, because a cluster that continues
//! must find its members where they were.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::DemoError;

/// The whole demo.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plan {
    /// One seat for each member.
    pub seats: Vec<Seat>,
}

/// One member's place.
#[derive(Debug, Serialize, Deserialize)]
pub struct Seat {
    /// Its name, `m1`, `m2`, ….
    pub name: String,
    /// Where it serves clients.
    pub client_port: u16,
    /// Where it hears the others.
    pub peer_port: u16,
}

impl Seat {
    /// The URL for clients.
    pub fn client_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    /// The URL for the other members.
    pub fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer_port)
    }

    /// The member's directory within the demo's.
    pub fn data_dir(&self, directory: &Path) -> PathBuf {
        directory.join(&self.name)
    }
}

impl Plan {
    /// The plan of a demo that was here before, or a new one on free ports.
    pub fn find(directory: &Path, members: usize) -> Result<Plan, DemoError> {
        let path = directory.join("demo.json");
        let failed = |problem| {
            let path = path.clone();
            move |source| DemoError::Directory { path, problem, source }
        };
        if path.exists() {
            let text = std::fs::read_to_string(&path).map_err(failed("the demo's plan cannot be read"))?;
            let plan: Plan =
                serde_json::from_str(&text).map_err(|source| DemoError::Plan { path: path.clone(), source })?;
            if plan.seats.len() != members {
                return Err(DemoError::OtherSize { path: directory.to_owned(), found: plan.seats.len() });
            }
            return Ok(plan);
        }
        let plan = Plan::choose(members).map_err(failed("no free port was found"))?;
        let text = serde_json::to_string_pretty(&plan).expect("a plan has nothing that JSON cannot say");
        std::fs::write(&path, text).map_err(failed("the demo's plan cannot be written"))?;
        Ok(plan)
    }

    /// The customary ports 2379, 22379, 32379, …, and free ones where those are taken.
    fn choose(members: usize) -> std::io::Result<Plan> {
        let mut held = Vec::new(); // all stay open until all are chosen, so that no port is chosen twice
        let mut seats = Vec::new();
        for number in 1..=members {
            let base = if number == 1 { 2379 } else { 2379 + 10_000 * number as u16 };
            let mut free = |preferred: u16| -> std::io::Result<u16> {
                let listener =
                    TcpListener::bind(("127.0.0.1", preferred)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)))?;
                let port = listener.local_addr()?.port();
                held.push(listener);
                Ok(port)
            };
            let (client_port, peer_port) = (free(base)?, free(base + 1)?);
            seats.push(Seat { name: format!("m{number}"), client_port, peer_port });
        }
        Ok(Plan { seats })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_demo_that_continues_keeps_its_ports() {
        let directory = tempfile::tempdir().unwrap();
        let first = Plan::find(directory.path(), 3).unwrap();
        let again = Plan::find(directory.path(), 3).unwrap();
        let ports = |plan: &Plan| plan.seats.iter().map(|s| (s.client_port, s.peer_port)).collect::<Vec<_>>();
        assert_eq!(ports(&first), ports(&again));
        let mut all: Vec<u16> = first.seats.iter().flat_map(|seat| [seat.client_port, seat.peer_port]).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 6);
        let error = Plan::find(directory.path(), 5).unwrap_err().to_string();
        assert!(error.contains("--members 3"), "{error}");
    }
}
