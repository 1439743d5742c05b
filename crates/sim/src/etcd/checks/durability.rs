//! What was acknowledged stands in the log, once; what was not done does not; nobody's wish stands there uncalled for.

use kontiki_kv::{Command, OperationError};

use super::shown_by;
use crate::etcd::history::{Answer, Call, History, Request};
use crate::etcd::replay::{Replay, Step};
use crate::observation::Violation;

const PROPERTY: &str = "durability";

/// Checks it.
///
/// # Errors
/// Where it does not hold.
pub fn check(history: &History, replay: &Replay) -> Result<(), Violation> {
    for (number, call) in history.calls.iter().enumerate() {
        let Request::Write(command) = &call.request else { continue };
        let missing = replay.matching.step_of[number].is_none();
        match &call.answer {
            Answer::Written(..) if missing => return Err(shown_by(PROPERTY, call, why_missing(call, command, replay))),
            Answer::Refused(refusal) if missing && by_state(*refusal) => {
                return Err(shown_by(PROPERTY, call, "no entry of the log was refused so meanwhile"));
            }
            Answer::Written(..) | Answer::Refused(_) | Answer::NotDone(_) | Answer::Unknown(_) => {}
            Answer::Range(..) | Answer::TxnRead(..) | Answer::KeepAlive(_) | Answer::TimeToLive(_) => {
                return Err(shown_by(PROPERTY, call, "this is no answer to a write"));
            }
        }
    }
    let asked = replay.matching.call_of.iter();
    let uncalled = asked.zip(&replay.steps).find(|(call, step)| call.is_none() && !is_made_by_members(&step.command));
    match uncalled {
        Some((_, step)) => Err(why_uncalled(history, replay, step)),
        None => Ok(()),
    }
}

/// Refusals that only the state can give, so that there must be an entry.
fn by_state(refusal: OperationError) -> bool {
    match refusal {
        OperationError::KeyNotFound
        | OperationError::Compacted
        | OperationError::FutureRevision
        | OperationError::LeaseNotFound
        | OperationError::LeaseExists => true,
        OperationError::EmptyKey
        | OperationError::ValueProvided
        | OperationError::LeaseProvided
        | OperationError::TooManyOps
        | OperationError::DuplicateKey
        | OperationError::InvalidSortOption
        | OperationError::LeaseTtlTooLarge
        | OperationError::NoSpace
        | OperationError::Corrupt
        | OperationError::PeerUrlExists
        | OperationError::TooManyLearners
        | OperationError::MemberExists
        | OperationError::MemberNotFound => false,
        // Simulated clients leave authentication alone.
        OperationError::UserEmpty
        | OperationError::RoleEmpty
        | OperationError::AuthFailed
        | OperationError::NoPasswordUser
        | OperationError::PermissionNotGiven
        | OperationError::InvalidAuthManagement
        | OperationError::AuthOldRevision
        | OperationError::RootUserNotExist
        | OperationError::RootRoleNotExist
        | OperationError::UserAlreadyExists
        | OperationError::UserNotFound
        | OperationError::RoleAlreadyExists
        | OperationError::RoleNotFound
        | OperationError::RoleNotGranted
        | OperationError::PermissionNotGranted
        | OperationError::AuthNotEnabled
        | OperationError::PermissionDenied
        | OperationError::InvalidAuthToken
        | OperationError::PasswordTooLong => false,
    }
}

/// Members end leases, raise alarms and describe themselves of their own accord.
fn is_made_by_members(command: &Command) -> bool {
    match command {
        Command::LeaseRevoke { .. }
        | Command::Alarm { .. }
        | Command::MemberAttributes(_)
        | Command::LeaseCheckpoint { .. }
        | Command::LeaseExpire { .. }
        | Command::ClusterVersion(_)
        | Command::Downgrade(_)
        | Command::Auth(_)
        | Command::Membership(_) => true,
        Command::Put(_)
        | Command::DeleteRange(_)
        | Command::Txn(_)
        | Command::Compact { .. }
        | Command::LeaseGrant { .. } => false,
    }
}

fn why_missing(call: &Call, command: &Command, replay: &Replay) -> String {
    let like = replay.steps.iter().filter(|step| step.command == *command);
    match like.min_by_key(|step| step.at.abs_diff(call.ended)) {
        None => "the acknowledged write is not in the log".to_owned(),
        Some(step) => format!(
            "the acknowledged write does not agree with the log, where the nearest of this content is entry {}, proposed by \
             member {}, applied at {:?}, with the result {:?} at revision {}",
            step.index, step.proposer.0, step.at, step.result, step.revision
        ),
    }
}

fn why_uncalled(history: &History, replay: &Replay, step: &Step) -> Violation {
    let like = |call: &&Call| matches!(&call.request, Request::Write(command) if *command == step.command);
    let others: Vec<_> = replay.steps.iter().filter(|other| other.command == step.command).map(|s| s.index.0).collect();
    let why = match history.calls.iter().find(like) {
        None => "no client asked for it".to_owned(),
        Some(call) => format!(
            "the call of it, by client {} at {:?}, was answered {:?}, and the entries of this content are {others:?}",
            call.client, call.invoked, call.answer
        ),
    };
    let what = format!("entry {} should not be in the log: {:?}; {why}", step.index, step.command);
    Violation { property: PROPERTY, at: step.at, what }
}
