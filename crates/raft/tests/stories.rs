//! The scripts under `scripts/`: one situation each, told by the messages that real replicas exchange.
//!
//! `UPDATE_GOLDENFILES=1 cargo test -p kontiki-raft --test stories` rewrites them; the difference is read like prose.
//! `STORY=election` in the environment runs only those whose name has this in it.
//!
//! | command | meaning |
//! |---|---|
//! | `cluster nodes=3 leader=1` | members with empty disks; the election of `leader` is not told. `members=1/2/3` (joint, old before new: `1/2/3-3/4/5`; learners: `1/2/3.4`), `priorities=1@200/2@5`, `lease=10/100` (ticks/permille), `incarnations=yes` (lives of disks are told apart) or `incarnations=bound` (and the first configuration knows them), `delivery=manual`, `apply=manual`, `seed=`, and the settings |
//! | `settings 2 prevote=no` | n2 starts anew with settings of its own: `prevote=`, `quorumcheck=`, `atonce=no` (followers learn of commitment with the next message only), `timeout=`, `heartbeat=`, `batch=` (bytes in a message; an entry is one), `inflight=` (messages), `window=` (bytes), `uncommitted=` (bytes) |
//! | `log 1 1 1 4 term=6 vote=2 applied=1` | n1 starts anew with entries of these terms on its disk; `at2=1/2/3/4` makes entry 2 a configuration |
//! | `tick 2 count=3 settle=yes`, `tick` | time passes for n2, for all |
//! | `campaign 1`, `put 1 count=3`, `read 2`, `transfer 1 2`, `suspect 2 1`, `pause 1`, `apply 1` | inputs; `pause` tells n1 that it has lost track of time |
//! | `change 1 add=4 learner=5 candidate=6 promote=5 demote=3 remove=2 priority=3@5 lease=10/100` | one change of membership; `candidate` is a learner that is to be promoted by itself; `lease=none` |
//! | `force-new-cluster 1` | n1 goes on alone; nothing is checked from here on |
//! | `join 4`, `wipe 3 joins=yes` | n4 starts and waits to be added; n3 loses its disk and starts as another life, as at the beginning or waiting to be added |
//! | `remember 3`, `forget 3` | n3 starts anew, and its disk has lost in silence what was written to its log since |
//! | `isolate 1`, `cut 1 2 oneway=yes`, `heal` | who hears whom; one way: n2 does not hear n1 |
//! | `deliver from= to= kind= count= turn=one report=no`, `lose from= to= kind= count=`, `settle` | what is under way arrives or is lost; kinds as in the traces, and `Snapshot`; `report=no`: the sender of a snapshot does not learn of its end |
//! | `hold from= to= kind= count=`, `release`, `repeat from= to= kind= count= late=yes` | holds back what is under way and what will be sent, until released; copies, behind everything or (late) among what is held back |
//! | `forge from=2 to=1 kind=Heartbeat term=3 round= commit=` | a message that nobody has sent. `AppendEntries prev=1@1 entries=2/2 commit=`, `Pulled prev= entries=`, `AppendAccepted matched=`, `AppendRejected prev= hint=`, `RequestVote last= transfer=yes`, `PreVote last=`, `RequestVoteReply`/`PreVoteReply granted=yes last=`, `HeartbeatReply round= promise=`, `TimeoutNow`, `Resigned`, `Excluded at=`, `ReadIndexReply read= index=`; all take `session=` and `life=` |
//! | `snapshot 3 5@2 members=`, `report 1 3 5@2`, `report 1 3 failed` | a snapshot arrives that nobody has sent; n1 learns how its stream to n3 ended |
//! | `disk 1 slow`, `disk 1 fast`, `persist 1 count=1`, `compact 1 keep=2` | disks |
//! | `crash 1 survive=1`, `restart 1 seed=`, `sleep 1`, `wake 1` | processes; who wakes up knows that it has slept |
//! | `tell heartbeats=yes writes=yes`, `listen yes`, `listen no`, `listen yes 1 2` | what is told; who listens tells decisions as `(n1: …)` |
//! | `logs 1 2`, `progress 1`, `status 1`, `configurations 1`, `network` | shows all members, or those named; leader's view; all a replica knows; configurations that may be in force again, the last one is; what is under way |
//!
//! `!command` expects a panic or an error, which is then told; `(command)` tells nothing.

#![allow(clippy::unwrap_used)]

mod cluster;

use std::path::PathBuf;

use cluster::story::Story;

/// Every script, each on a cluster of its own. All are run before the first failure ends the test.
#[test]
fn every_script_tells_its_story() {
    let chosen = std::env::var("STORY").unwrap_or_default();
    let files = std::fs::read_dir("tests/scripts").unwrap().map(|file| file.unwrap().path());
    let mut scripts: Vec<PathBuf> = files.filter(|path| path.to_string_lossy().contains(&chosen)).collect();
    scripts.sort();
    assert!(!scripts.is_empty(), "no script has {chosen} in its name");
    let fails = |path: &&PathBuf| {
        println!("{}", path.display());
        let outcome = std::panic::catch_unwind(|| goldenscript::run(&mut Story::default(), path));
        match outcome {
            Ok(Ok(())) => false,
            Ok(Err(error)) => {
                println!("{error}");
                true
            }
            Err(_) => true,
        }
    };
    let failed: Vec<&PathBuf> = scripts.iter().filter(fails).collect();
    assert!(failed.is_empty(), "{} of {} scripts fail: {failed:?}", failed.len(), scripts.len());
}
