//! `Auth`: switched off, and says so.

use kontiki_api::rpc;
use tonic::Status;

use crate::front::Front;

/// Users and roles begin at this revision in etcd.
const FIRST_REVISION: u64 = 1;

/// Whether authentication is on.
pub(crate) fn status(front: &Front) -> rpc::AuthStatusResponse {
    rpc::AuthStatusResponse { header: Some(front.current_header()), enabled: false, auth_revision: FIRST_REVISION }
}

/// The answer to a log-in.
pub(crate) fn not_enabled() -> Status {
    Status::failed_precondition("etcdserver: authentication is not enabled")
}

/// The answer to everything else.
pub(crate) fn unsupported() -> Status {
    Status::unimplemented("kontiki: authentication is not supported by this version")
}
