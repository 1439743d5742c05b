//! `/health`, `/livez`, `/readyz`: what probes and load balancers ask.

use http::{Method, Response, StatusCode};
use kontiki_kv::{Alarm, KeyRange, RangeRequest};

use tonic::Status;

use super::{Body, get_expected, json, not_found, text};
use crate::errors;
use crate::front::Front;
use crate::metrics::Check;

/// `/health`: alarms, a leader, and a read. `?exclude=NOSPACE` passes over an alarm, `?serializable=true` over the leader.
pub(crate) async fn health(front: &Front, method: &Method, query: &str) -> Response<Body> {
    if method != Method::GET {
        return get_expected();
    }
    let serializable = values(query, "serializable").any(|value| value == "true");
    match ill(front, serializable, query).await {
        None => {
            front.metrics.count_health(true);
            json(StatusCode::OK, "{\"health\":\"true\",\"reason\":\"\"}")
        }
        Some(reason) => {
            front.metrics.count_health(false);
            let reason = serde_json::Value::from(reason);
            text(StatusCode::SERVICE_UNAVAILABLE, format!("{{\"health\":\"false\",\"reason\":{reason}}}\n"))
        }
    }
}

/// The first thing that is wrong.
async fn ill(front: &Front, serializable: bool, query: &str) -> Option<String> {
    let alarms = match front.store.reader().alarms() {
        Ok(alarms) => alarms,
        Err(error) => return Some(format!("RANGE ERROR:{}", front.read_failed(error.into()).message())),
    };
    for (_, alarm) in alarms {
        let name = match alarm {
            Alarm::NoSpace => "NOSPACE",
            Alarm::Corrupt => "CORRUPT",
        };
        if !values(query, "exclude").any(|excluded| excluded == name) {
            return Some(format!("ALARM {name}"));
        }
    }
    if !serializable && !front.has_leader() {
        return Some("RAFT NO LEADER".into());
    }
    read(front, serializable).await.err().map(|error| format!("RANGE ERROR:{error}"))
}

/// Reads a key; which one does not matter. What goes wrong is told in the words that clients hear.
async fn read(front: &Front, serializable: bool) -> Result<(), String> {
    let told = |status: Status| status.message().to_owned();
    if !serializable {
        front.store.read_barrier().await.map_err(errors::store).map_err(told)?;
    }
    let any = KeyRange { key: "\0".into(), range_end: "\0".into() };
    let request = RangeRequest { range: any, limit: 1, keys_only: true, ..RangeRequest::default() };
    front.store.reader().range(&request).map(drop).map_err(|failure| told(front.read_failed(failure)))
}

/// `/livez` and `/readyz`, whole or by check (`/readyz/linearizable_read`). `?exclude=name` leaves a check out, `?verbose`
/// lists those that passed, too.
pub(crate) async fn checks(front: &Front, method: &Method, path: &str, query: &str) -> Response<Body> {
    if method != Method::GET {
        return get_expected();
    }
    let mut names = path.trim_start_matches('/').splitn(2, '/');
    let (endpoint, one) = (names.next().unwrap_or_default(), names.next());
    let registered: &[Check] = match endpoint {
        "livez" => &Check::LIVE,
        "readyz" => &Check::READY,
        _ => return not_found(),
    };
    let chosen: Vec<Check> = match one {
        None => registered
            .iter()
            .copied()
            .filter(|check| !values(query, "exclude").any(|name| name == check.name()))
            .collect(),
        Some(name) => registered.iter().copied().filter(|check| check.name() == name).collect(),
    };
    if one.is_some() && chosen.is_empty() {
        return not_found();
    }
    let mut report = String::new();
    let mut passed = true;
    for check in chosen {
        let outcome = run(front, check).await;
        front.metrics.count_check(endpoint == "livez", check, outcome.is_ok());
        match outcome {
            Ok(()) => report.push_str(&format!("[+]{} ok\n", check.name())),
            Err(reason) => {
                passed = false;
                report.push_str(&format!("[-]{} failed: {reason}\n", check.name()));
            }
        }
    }
    if !passed {
        return text(StatusCode::SERVICE_UNAVAILABLE, report + "\n");
    }
    let verbose = values(query, "verbose").next().is_some();
    text(StatusCode::OK, if verbose { report + "ok\n" } else { "ok\n".into() })
}

async fn run(front: &Front, check: Check) -> Result<(), String> {
    match check {
        Check::DataCorruption => {
            let alarms = front.store.reader().alarms();
            let alarms = alarms.map_err(|error| front.read_failed(error.into()).message().to_owned())?;
            if alarms.into_iter().any(|(_, alarm)| alarm == Alarm::Corrupt) {
                Err("alarm activated: CORRUPT".into())
            } else {
                Ok(())
            }
        }
        Check::SerializableRead => read(front, true).await,
        Check::LinearizableRead => read(front, false).await,
        Check::NonLearner => {
            if front.store.status().is_learner {
                Err("not supported for learner".into())
            } else {
                Ok(())
            }
        }
    }
}

/// The values of a parameter, which may stand without one (`?verbose`) or several times.
fn values<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    query.split('&').filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_repeat_and_stand_alone() {
        let all = |query, name| values(query, name).collect::<Vec<_>>();
        assert_eq!(all("exclude=NOSPACE&verbose&exclude=CORRUPT", "exclude"), ["NOSPACE", "CORRUPT"]);
        assert_eq!(all("exclude=NOSPACE&verbose", "verbose"), [""]);
        assert!(all("", "verbose").is_empty());
    }
}
