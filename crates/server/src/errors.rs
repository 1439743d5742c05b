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
        OperationError::LeaseNotFound | OperationError::MemberNotFound => Code::NotFound,
        OperationError::LeaseExists
        | OperationError::PeerUrlExists
        | OperationError::TooManyLearners
        | OperationError::MemberExists => Code::FailedPrecondition,
        OperationError::Corrupt => Code::DataLoss,
        OperationError::UserEmpty
        | OperationError::RoleEmpty
        | OperationError::AuthFailed
        | OperationError::PermissionNotGiven
        | OperationError::InvalidAuthManagement
        | OperationError::AuthOldRevision => Code::InvalidArgument,
        OperationError::RootUserNotExist
        | OperationError::RootRoleNotExist
        | OperationError::UserAlreadyExists
        | OperationError::UserNotFound
        | OperationError::RoleAlreadyExists
        | OperationError::RoleNotFound
        | OperationError::RoleNotGranted
        | OperationError::PermissionNotGranted
        | OperationError::AuthNotEnabled => Code::FailedPrecondition,
        OperationError::PermissionDenied => Code::PermissionDenied,
        OperationError::InvalidAuthToken => Code::Unauthenticated,
        OperationError::NoPasswordUser | OperationError::PasswordTooLong => Code::Unknown, // as etcd sends them
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
        StoreError::Unhealthy => Code::Unavailable,
        StoreError::RequestTooLarge
        | StoreError::BadPeerUrls
        | StoreError::WrongDowngradeVersionFormat
        | StoreError::InvalidDowngradeTarget => Code::InvalidArgument,
        StoreError::NotLeader
        | StoreError::BadTransferee
        | StoreError::NotEnoughStarted
        | StoreError::NotLearner
        | StoreError::LearnerNotReady
        | StoreError::ClusterVersionUnavailable
        | StoreError::DowngradeInProcess => Code::FailedPrecondition,
        StoreError::TransferTimeout => Code::Unknown, // as etcd sends it
    };
    Status::new(code, error.to_string())
}

/// This member only learns, and answers almost nothing.
pub(crate) fn learner() -> Status {
    Status::failed_precondition("etcdserver: rpc not supported for learner")
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
    const OPERATIONS: [(OperationError, Code, &str); 37] = [
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
        (OperationError::UserEmpty, Code::InvalidArgument, "etcdserver: user name is empty"),
        (OperationError::RoleEmpty, Code::InvalidArgument, "etcdserver: role name is empty"),
        (
            OperationError::AuthFailed,
            Code::InvalidArgument,
            "etcdserver: authentication failed, invalid user ID or password",
        ),
        (OperationError::PermissionNotGiven, Code::InvalidArgument, "etcdserver: permission not given"),
        (OperationError::InvalidAuthManagement, Code::InvalidArgument, "etcdserver: invalid auth management"),
        (OperationError::AuthOldRevision, Code::InvalidArgument, "etcdserver: revision of auth store is old"),
        (OperationError::RootUserNotExist, Code::FailedPrecondition, "etcdserver: root user does not exist"),
        (OperationError::RootRoleNotExist, Code::FailedPrecondition, "etcdserver: root user does not have root role"),
        (OperationError::UserAlreadyExists, Code::FailedPrecondition, "etcdserver: user name already exists"),
        (OperationError::UserNotFound, Code::FailedPrecondition, "etcdserver: user name not found"),
        (OperationError::RoleAlreadyExists, Code::FailedPrecondition, "etcdserver: role name already exists"),
        (OperationError::RoleNotFound, Code::FailedPrecondition, "etcdserver: role name not found"),
        (OperationError::RoleNotGranted, Code::FailedPrecondition, "etcdserver: role is not granted to the user"),
        (
            OperationError::PermissionNotGranted,
            Code::FailedPrecondition,
            "etcdserver: permission is not granted to the role",
        ),
        (OperationError::AuthNotEnabled, Code::FailedPrecondition, "etcdserver: authentication is not enabled"),
        (OperationError::PermissionDenied, Code::PermissionDenied, "etcdserver: permission denied"),
        (OperationError::InvalidAuthToken, Code::Unauthenticated, "etcdserver: invalid auth token"),
        (
            OperationError::NoPasswordUser,
            Code::Unknown,
            "auth: authentication failed, password was given for no password user",
        ),
        (OperationError::PasswordTooLong, Code::Unknown, "bcrypt: password length exceeds 72 bytes"),
        (OperationError::PeerUrlExists, Code::FailedPrecondition, "etcdserver: Peer URLs already exists"),
        (OperationError::TooManyLearners, Code::FailedPrecondition, "etcdserver: too many learner members in cluster"),
        (OperationError::MemberExists, Code::FailedPrecondition, "etcdserver: member ID already exist"),
        (OperationError::MemberNotFound, Code::NotFound, "etcdserver: member not found"),
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
                StoreError::WrongDowngradeVersionFormat,
                Code::InvalidArgument,
                "etcdserver: wrong downgrade target version format",
            ),
            (StoreError::InvalidDowngradeTarget, Code::InvalidArgument, "etcdserver: invalid downgrade target version"),
            (
                StoreError::ClusterVersionUnavailable,
                Code::FailedPrecondition,
                "etcdserver: cluster version not found during downgrade",
            ),
            (
                StoreError::DowngradeInProcess,
                Code::FailedPrecondition,
                "etcdserver: cluster has a downgrade job in progress",
            ),
            (
                StoreError::TransferTimeout,
                Code::Unknown,
                "etcdserver: request timed out, leader transfer took too long",
            ),
            (StoreError::BadPeerUrls, Code::InvalidArgument, "etcdserver: given member URLs are invalid"),
            (
                StoreError::NotEnoughStarted,
                Code::FailedPrecondition,
                "etcdserver: re-configuration failed due to not enough started members",
            ),
            (StoreError::Unhealthy, Code::Unavailable, "etcdserver: unhealthy cluster"),
            (StoreError::NotLearner, Code::FailedPrecondition, "etcdserver: can only promote a learner member"),
            (
                StoreError::LearnerNotReady,
                Code::FailedPrecondition,
                "etcdserver: can only promote a learner member which is in sync with leader",
            ),
        ];
        for (error, code, text) in table {
            let status = store(error);
            assert_eq!((status.code(), status.message()), (code, text));
        }
    }
}
