//! `/debug/…`, only where `--enable-pprof` asks for it: what can be said of a running member without stopping it. etcd has the
//! profiles of the Go runtime here; a member has threads, and says how much each of them has computed.

use std::fmt::Write as _;
use std::fs;

use http::{Method, Response, StatusCode};
use serde_json::json;

use super::{Body, json as json_response, not_found, only_get, text};
use crate::front::Front;
use crate::metrics::process;

/// Answers a request below `/debug/`.
pub(crate) fn serve(front: &Front, method: &Method, path: &str) -> Response<Body> {
    only_get(method, || match path {
        "/debug/vars" => vars(front),
        "/debug/pprof/" | "/debug/pprof" => text(StatusCode::OK, "/debug/pprof/\n\nthreads\n"),
        "/debug/pprof/threads" => text(StatusCode::OK, threads()),
        "/debug/pprof/profile" | "/debug/pprof/heap" | "/debug/pprof/goroutine" | "/debug/pprof/trace" => text(
            StatusCode::NOT_IMPLEMENTED,
            "profiles of the Go runtime do not exist here: see /debug/pprof/threads, or run `perf record -p PID`\n",
        ),
        _ => not_found(),
    })
}

/// etcd's variables: how Raft stands, and the limits of this process. The command line is left out: it may hold secrets.
fn vars(front: &Front) -> Response<Body> {
    let status = front.store.status();
    let state = match (status.is_leader, status.is_learner) {
        (true, _) => "StateLeader",
        (false, true) => "StateLearner",
        (false, false) => "StateFollower",
    };
    let vars = json!({
        "file_descriptor_limit": process::descriptors_max().unwrap_or_default(),
        "memstats": { "Sys": process::resident_bytes().unwrap_or_default() },
        "raft.status": {
            "id": format!("{:x}", status.member_id),
            "term": status.term,
            "commit": status.raft_index,
            "lead": format!("{:x}", status.leader.unwrap_or_default()),
            "raftState": state,
            "applied": status.applied_index,
        },
    });
    json_response(StatusCode::OK, vars.to_string())
}

/// Name, state and processor time of every thread.
fn threads() -> String {
    let mut out = String::from("seconds of processor time, state, thread\n");
    let entries = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let mut rows: Vec<(f64, String)> = entries
        .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok())
        .filter_map(|stat| {
            let (name, behind) = stat.split_once('(')?.1.rsplit_once(") ")?;
            let state = behind.split(' ').next()?;
            Some((process::cpu_seconds(&stat)?, format!("{state} {name}")))
        })
        .collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (seconds, thread) in rows {
        let _ = writeln!(out, "{seconds:10.2} {thread}");
    }
    out
}
