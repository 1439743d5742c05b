//! What the front door does for a request, without its wire: checks, then the store.

use kontiki_kv::{Command, Failure, OperationError, check, check_delete_range, check_put, check_range, is_read_only};
use kontiki_store::{Store, StoreError};

use super::{Answer, Request};

/// Operations in a transaction, at most: etcd's default.
const TXN_OPERATIONS_MAX: usize = 128;

/// Answers a request as a member's front door would.
pub(crate) async fn answer(store: &Store, request: &Request) -> Answer {
    let done = match request {
        Request::Range { range, serializable } => match check_range(range) {
            Ok(()) => self::range(store, range, *serializable).await,
            Err(refusal) => return Answer::Refused(refusal),
        },
        Request::TxnRead(txn) => match check(txn, TXN_OPERATIONS_MAX) {
            Ok(()) => txn_read(store, txn).await,
            Err(refusal) => return Answer::Refused(refusal),
        },
        Request::Write(command) => match check_command(command) {
            Ok(()) => write(store, command).await,
            Err(refusal) => return Answer::Refused(refusal),
        },
        Request::KeepAlive(id) => store.lease_keep_alive(*id).await.map(Answer::KeepAlive),
        Request::TimeToLive(id) => store.lease_time_to_live(*id, true).await.map(Answer::TimeToLive),
    };
    done.unwrap_or_else(failed)
}

async fn range(store: &Store, range: &kontiki_kv::RangeRequest, serializable: bool) -> Result<Answer, StoreError> {
    if serializable {
        store.check_state()?;
    } else {
        store.read_barrier().await?;
    }
    let (result, revision) = store.reader().range(range).map_err(|failure| read_failed(store, failure))?;
    Ok(Answer::Range(result, revision))
}

async fn txn_read(store: &Store, txn: &kontiki_kv::TxnRequest) -> Result<Answer, StoreError> {
    assert!(is_read_only(txn), "a transaction that writes is a write");
    store.read_barrier().await?;
    let reply = store.reader().txn_read(txn).map_err(|failure| read_failed(store, failure))?;
    let revision = reply.revision;
    Ok(Answer::TxnRead(reply, revision))
}

async fn write(store: &Store, command: &Command) -> Result<Answer, StoreError> {
    let applied = match command {
        Command::LeaseGrant { id, ttl } => store.lease_grant(*id, *ttl).await?,
        other => store.propose(other.clone()).await?,
    };
    Ok(Answer::Written(applied.reply, applied.revision))
}

fn check_command(command: &Command) -> Result<(), OperationError> {
    match command {
        Command::Put(put) => check_put(put),
        Command::DeleteRange(delete) => check_delete_range(delete),
        Command::Txn(txn) => check(txn, TXN_OPERATIONS_MAX),
        Command::Compact { .. }
        | Command::LeaseGrant { .. }
        | Command::LeaseRevoke { .. }
        | Command::Alarm { .. }
        | Command::MemberAttributes(_)
        | Command::LeaseCheckpoint { .. }
        | Command::LeaseExpire { .. }
        | Command::ClusterVersion(_)
        | Command::Downgrade(_)
        | Command::Auth(_)
        | Command::Membership(_) => Ok(()),
    }
}

/// The member learns of damage from those who meet it.
fn read_failed(store: &Store, failure: Failure) -> StoreError {
    if let Failure::Storage(error) = &failure {
        store.read_failed(error);
    }
    failure.into()
}

/// What a client may conclude from a failure.
fn failed(error: StoreError) -> Answer {
    match error {
        StoreError::Operation(refusal) => Answer::Refused(refusal),
        StoreError::TooManyRequests | StoreError::RequestTooLarge => Answer::NotDone(error.to_string()),
        other => Answer::Unknown(other.to_string()),
    }
}
