//! Errors as etcd's clients know them: the gRPC code and the text that they match on.

use kontiki_kv::{Failure, KvError, OperationError};
use kontiki_store::StoreError;
use tonic::{Code, Status};

/// A refusal by the state machine.
pub(crate) fn operation(error: OperationError) -> Status {
    Status::new(operation_code(error), error.to_string())
}

fn operation_code(error: OperationError) -> Code {
    match error {
        OperationError::EmptyKey
        | OperationError::KeyNotFound
        | OperationError::ValueProvided
        | OperationError::LeaseProvided
        | OperationError::TooManyOps
        | OperationError::DuplicateKey
        | OperationError::InvalidSortOption => Code::InvalidArgument,
        OperationError::Compacted | OperationError::FutureRevision | OperationError::LeaseTtlTooLarge => {
            Code::OutOfRange
        }
        OperationError::NoSpace => Code::ResourceExhausted,
        OperationError::LeaseNotFound => Code::NotFound,
        OperationError::LeaseExists => Code::FailedPrecondition,
        OperationError::Corrupt => Code::DataLoss,
    }
}

/// A refusal or a failure by the store.
pub(crate) fn store(error: StoreError) -> Status {
    let code = match &error {
        StoreError::Operation(refusal) => return operation(*refusal),
        StoreError::NoLeader | StoreError::Stopped | StoreError::Timeout | StoreError::TimeoutDueToLeaderFail => {
            Code::Unavailable
        }
        // Not one of etcd's: this member is out of order, and the client had better turn to another.
        StoreError::Storage(_) => Code::Unavailable,
        StoreError::TooManyRequests => Code::ResourceExhausted,
        StoreError::RequestTooLarge => Code::InvalidArgument,
        StoreError::NotLeader | StoreError::BadTransferee => Code::FailedPrecondition,
        StoreError::TransferTimeout => Code::Unknown, // as etcd sends it
    };
    Status::new(code, error.to_string())
}

/// A question to the state that got no answer.
pub(crate) fn read(failure: Failure) -> Status {
    match failure {
        Failure::Operation(refusal) => operation(refusal),
        Failure::Storage(error) => damaged(error),
    }
}

/// The state could not be read: something for the operator.
pub(crate) fn damaged(error: KvError) -> Status {
    tracing::error!(%error, "a read failed");
    store(StoreError::Storage(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every refusal of the contract that can occur: code and text.
    const OPERATIONS: [(OperationError, Code, &str); 14] = [
        (OperationError::EmptyKey, Code::InvalidArgument, "etcdserver: key is not provided"),
        (OperationError::KeyNotFound, Code::InvalidArgument, "etcdserver: key not found"),
        (OperationError::ValueProvided, Code::InvalidArgument, "etcdserver: value is provided"),
        (OperationError::LeaseProvided, Code::InvalidArgument, "etcdserver: lease is provided"),
        (OperationError::TooManyOps, Code::InvalidArgument, "etcdserver: too many operations in txn request"),
        (OperationError::DuplicateKey, Code::InvalidArgument, "etcdserver: duplicate key given in txn request"),
        (OperationError::InvalidSortOption, Code::InvalidArgument, "etcdserver: invalid sort option"),
        (OperationError::Compacted, Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted"),
        (OperationError::FutureRevision, Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision"),
        (OperationError::LeaseTtlTooLarge, Code::OutOfRange, "etcdserver: too large lease TTL"),
        (OperationError::NoSpace, Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
        (OperationError::LeaseNotFound, Code::NotFound, "etcdserver: requested lease not found"),
        (OperationError::LeaseExists, Code::FailedPrecondition, "etcdserver: lease already exists"),
        (OperationError::Corrupt, Code::DataLoss, "etcdserver: corrupt cluster"),
    ];

    #[test]
    fn operations_are_refused_in_etcds_words() {
        for (error, code, text) in OPERATIONS {
            for status in [operation(error), store(StoreError::Operation(error)), read(Failure::Operation(error))] {
                assert_eq!((status.code(), status.message()), (code, text));
            }
        }
    }

    #[test]
    fn the_store_fails_in_etcds_words() {
        let table = [
            (StoreError::NoLeader, Code::Unavailable, "etcdserver: no leader"),
            (StoreError::Stopped, Code::Unavailable, "etcdserver: server stopped"),
            (StoreError::Timeout, Code::Unavailable, "etcdserver: request timed out"),
            (
                StoreError::TimeoutDueToLeaderFail,
                Code::Unavailable,
                "etcdserver: request timed out, possibly due to previous leader failure",
            ),
            (StoreError::TooManyRequests, Code::ResourceExhausted, "etcdserver: too many requests"),
            (StoreError::RequestTooLarge, Code::InvalidArgument, "etcdserver: request is too large"),
            (StoreError::NotLeader, Code::FailedPrecondition, "etcdserver: not leader"),
            (StoreError::BadTransferee, Code::FailedPrecondition, "etcdserver: bad leader transferee"),
            (
                StoreError::TransferTimeout,
                Code::Unknown,
                "etcdserver: request timed out, leader transfer took too long",
            ),
        ];
        for (error, code, text) in table {
            let status = store(error);
            assert_eq!((status.code(), status.message()), (code, text));
        }
    }
}
