//! What a request brings to be recognized by.

use std::sync::Arc;

use http::{Extensions, Request};
use kontiki_store::{Caller, TokenText};

use crate::arrival::CommonName;
use crate::grpc;

/// Who makes a gRPC call.
pub(crate) fn caller<B>(request: &Request<B>) -> Caller {
    let common_name = request.extensions().get::<CommonName>().map(|name| Arc::clone(&name.0));
    Caller { token: grpc::token(request.headers()), common_name, via_gateway: false }
}

/// Who makes a call through the gateway: a token's bearer or nobody, whatever the connection's certificate says.
pub(crate) fn gateway_caller(token: Option<TokenText>) -> Caller {
    Caller { token, common_name: None, via_gateway: true }
}

/// Whether the connection's certificate has a name, which the gateway cannot take for a user.
pub(crate) fn is_certified(extensions: &Extensions) -> bool {
    extensions.get::<CommonName>().is_some_and(|name| !name.0.is_empty())
}
