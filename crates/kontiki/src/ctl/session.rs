//! A lease that lives as long as the command: what locks and elections hang on.

use std::time::Duration;

use futures_util::stream;
use kontiki_api::rpc::{LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use tonic::Status;

use super::client::{Connection, Context, stale};
use super::failure::Failure;

/// A lease and the connection on which it is used.
pub struct Session<'a> {
    context: &'a Context,
    pub connection: Connection,
    pub lease: i64,
    ttl: i64,
}

impl<'a> Session<'a> {
    /// Grants the lease.
    pub async fn open(context: &'a Context, ttl: i64) -> Result<Session<'a>, Failure> {
        let request = LeaseGrantRequest { ttl, id: 0 };
        let answer = context.write(async |to| Ok(to.lease().lease_grant(request).await?.into_inner())).await?;
        let connection = context.connect(0).await?;
        Ok(Session { context, connection, lease: answer.id, ttl: answer.ttl })
    }

    /// Does a piece of work while the lease is renewed. Ends early when a signal asks for it or the lease is lost.
    pub async fn during<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<Ended<T>, Failure> {
        tokio::select! {
            done = work => done.map(Ended::Done),
            () = asked_to_end() => Ok(Ended::Interrupted),
            () = self.keep() => Err(Failure::error("session expired")),
        }
    }

    /// Renews the lease; returns when it is lost.
    async fn keep(&self) {
        let third = Duration::from_millis(self.ttl.unsigned_abs().saturating_mul(1000) / 3);
        let mut lost_after = self.ttl;
        while lost_after > 0 {
            sleep(third).await;
            match self.renew().await {
                Ok(0) => return,
                Ok(ttl) => lost_after = ttl,
                Err(()) => lost_after -= self.ttl.div_euclid(3).max(1),
            }
        }
    }

    async fn renew(&self) -> Result<i64, ()> {
        let ask = async |connection: &Connection| {
            let requests = stream::iter([LeaseKeepAliveRequest { id: self.lease }]);
            let mut answers = connection.lease().lease_keep_alive(requests).await?.into_inner();
            answers.message().await?.ok_or_else(|| Status::unavailable("the member closed the stream of renewals"))
        };
        self.context.read(ask).await.map(|answer| answer.ttl).map_err(|_| ())
    }

    /// Makes a call that may wait for long. A login that ran out is renewed once.
    pub async fn wait<T>(&self, ask: impl AsyncFn(&Connection) -> Result<T, Status>) -> Result<T, Failure> {
        let answer = match ask(&self.connection).await {
            Err(status) if stale(&status) && self.context.renew_login(&self.connection).await => {
                ask(&self.connection).await
            }
            answer => answer,
        };
        answer.map_err(|status| self.connection.failure(&status))
    }

    /// Ends the lease, and with it the key.
    pub async fn close(&self) -> Result<(), Failure> {
        let request = LeaseRevokeRequest { id: self.lease };
        self.context.write(async |to| Ok(to.lease().lease_revoke(request).await?.into_inner())).await.map(|_| ())
    }
}

/// How a piece of work ended.
pub enum Ended<T> {
    /// By itself.
    Done(T),
    /// By a signal.
    Interrupted,
}

/// Waits for a signal that asks the program to end.
pub async fn asked_to_end() {
    let stream = |kind| signal(kind).expect("a handler for a signal that can be caught");
    let (mut interrupt, mut terminate) = (stream(SignalKind::interrupt()), stream(SignalKind::terminate()));
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
