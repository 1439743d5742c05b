//! Whether a call may be carried out: the one place that decides, on the decoded request, before a service runs.
//!
//! `rules` has a line for every method; one without would not compile. What a method with rules about keys needs, its
//! request says (`asks`). Who calls is found out by [`Store::recognize`], what that one may do by kv; every member decides
//! once more when it applies what was proposed, and what only reads is checked against users and roles once more when its
//! answer is there. While authentication is off, all this costs a load of a flag.
//!
//! gRPC and the gateway come through here alike. A service gets the front door of its caller: what it proposes there, it
//! proposes in the caller's name.
//!
//! [`Store::recognize`]: kontiki_store::Store::recognize

mod asks;
mod audit;
mod callers;
mod rules;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use kontiki_kv::{Failure, Need, OperationError, Proposer, Subject};
use kontiki_store::Store;
use tonic::{Code, Status};

use crate::errors;
use crate::front::Front;
use crate::methods::Method;

pub(crate) use asks::{Asks, Nothing};
pub(crate) use callers::{caller, gateway_caller, is_certified};
use rules::{Rule, rule};

/// How a call was let in.
#[derive(Debug)]
pub(crate) enum Pass {
    /// Authentication is off, or the method is for everybody.
    Open,
    /// As a user, to a front door of its own.
    As(Box<Admitted>),
}

/// A user who was let in.
pub(crate) struct Admitted {
    front: Arc<Front>,
    subject: Subject,
}

impl std::fmt::Debug for Admitted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Admitted").field(&self.subject).finish()
    }
}

impl Pass {
    /// The front door for the service: the caller's.
    pub(crate) fn front<'a>(&'a self, shared: &'a Arc<Front>) -> &'a Arc<Front> {
        match self {
            Pass::Open => shared,
            Pass::As(admitted) => &admitted.front,
        }
    }

    /// What was read may be answered: users and roles are still those that it was decided by. This member may have learned
    /// only while it read that they were changed before. Without that, the client comes again.
    pub(crate) fn confirm(&self, front: &Front) -> Result<(), Status> {
        let holds = match self {
            Pass::Open => !front.store.auth_enabled(),
            Pass::As(admitted) => admitted.subject.revision >= front.store.reader().auth_status().1,
        };
        if holds { Ok(()) } else { Err(errors::operation(OperationError::AuthOldRevision)) }
    }

    /// A refusal as the caller is to hear it. One that was let in as nobody, because this member had not learned yet that
    /// authentication was switched on, comes again and is asked who it is.
    pub(crate) fn refusal(&self, front: &Front, status: Status) -> Status {
        let late = matches!(self, Pass::Open)
            && front.store.auth_enabled()
            && status.message() == OperationError::UserEmpty.to_string();
        if late { errors::operation(OperationError::AuthOldRevision) } else { status }
    }
}

/// Decides about a call, and says as whom it goes on.
pub(crate) async fn admit<R: Asks>(front: &Front, method: Method, request: &R) -> Result<Pass, Status> {
    if !front.store.auth_enabled() {
        return Ok(Pass::Open);
    }
    Box::pin(decide(front, method, request)).await
}

async fn decide<R: Asks>(front: &Front, method: Method, request: &R) -> Result<Pass, Status> {
    let needs = match rule(method) {
        Rule::Everybody => return Ok(Pass::Open),
        Rule::User => vec![Need::User],
        Rule::Root => vec![Need::Root],
        Rule::Request => request.needs(&front.settings)?,
    };
    let subject = front.store.recognize(&front.caller).await.map_err(|refusal| {
        audit::refused(method, "", &needs, &refusal.to_string());
        errors::operation(refusal)
    })?;
    if needs.is_empty() {
        audit::refused(method, &subject.user, &needs, "the request does not say what it needs");
        return Err(errors::operation(OperationError::PermissionDenied));
    }
    if let Err(failure) = front.store.permit(&subject, &needs).await {
        // Nobody may do what anybody may once authentication is off, which this member may not have learned yet.
        let nobody = matches!(failure, Failure::Operation(OperationError::UserEmpty));
        if nobody && front.store.read_barrier().await.is_ok() && !front.store.auth_enabled() {
            return Ok(Pass::Open);
        }
        let status = front.read_failed(failure);
        audit::refused(method, &subject.user, &needs, status.message());
        return Err(status);
    }
    if rule(method) == Rule::Root {
        audit::carried_out(method, &subject.user);
    }
    let store = front.store.acting_for(Proposer::User(subject.clone()));
    Ok(Pass::As(Box::new(Admitted { front: front.acting(store), subject })))
}

/// Decides about the beginning of a stream whose requests are not looked at one by one.
pub(crate) async fn enter(front: &Front, method: Method) -> Result<(), Status> {
    match rule(method) {
        Rule::Everybody | Rule::Request => Ok(()),
        Rule::User | Rule::Root => admit(front, method, &Nothing).await.map(|_| ()),
    }
}

/// Decides about a new watch. The refusal is the reason that etcd's clients are told, in Go's words.
pub(crate) async fn watch<R: Asks>(front: &Front, creation: &R) -> Result<(), String> {
    admit(front, Method::Watch, creation).await.map(|_| ()).map_err(|status| {
        let known = [OperationError::InvalidAuthToken, OperationError::AuthOldRevision, OperationError::UserEmpty];
        let told = known.into_iter().find(|known| known.to_string() == status.message());
        match told {
            Some(OperationError::InvalidAuthToken) => go_text(Code::Unauthenticated, status.message()),
            Some(_) => go_text(Code::InvalidArgument, status.message()),
            None => go_text(Code::PermissionDenied, &OperationError::PermissionDenied.to_string()),
        }
    })
}

fn go_text(code: Code, text: &str) -> String {
    format!("rpc error: code = {code:?} desc = {text}")
}

/// A log-in came to nothing.
pub(crate) fn log_in_refused(user: &str, status: &Status) {
    audit::refused(Method::Authenticate, user, &[], status.message());
}

/// The store as a front door begins with it: nobody's.
pub(crate) fn nobodys(store: &Store) -> Store {
    store.acting_for(Proposer::Anonymous)
}
