//! What is known of a request from the connection that it came on. It travels in the request's extensions, so that what
//! does not ask for it does not see it.

use std::sync::Arc;

use crate::accept::Side;

/// The common name of the certificate that the client has shown and that was verified. A gRPC call is made in its name; a
/// gateway's request is nobody's but its token's (CVE-2018-16886).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommonName(pub(crate) Arc<str>);

/// Where a request without gRPC came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// On which listener.
    pub(crate) side: Side,
    /// In TLS.
    pub(crate) secure: bool,
}
