//! `Election`: the first in line leads, and its key holds what it proclaims.

use std::sync::Arc;

use bytes::Bytes;
use kontiki_api::election::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest, ProclaimResponse,
    ResignRequest, ResignResponse,
};
use kontiki_kv::{DeleteRangeRequest, EventKind, KeyRange, PutRequest, RequestOp};
use kontiki_store::{WatchCreate, WatchKind, WatchStream};
use tonic::Status;

use crate::access;
use crate::call::StreamEnd;
use crate::front::Front;
use crate::grpc::{self, AnswerStream, MessageReader};
use crate::methods::Method;
use crate::services::line::{self, Place};
use crate::{convert, metrics};

/// Waits until the caller leads.
pub(crate) async fn campaign(front: &Arc<Front>, request: CampaignRequest) -> Result<CampaignResponse, Status> {
    let (mut place, before) = Place::take(front, &request.name, request.lease, request.value.clone()).await?;
    let header = Some(front.current_header()); // of the moment when the place was taken, as in etcd
    if before.is_some_and(|before| before != request.value) {
        write(front, leader_key(&request.name, &place), request.value).await?;
    }
    place.reach_front().await?;
    place.keep();
    Ok(CampaignResponse { header, leader: Some(leader_key(&request.name, &place)) })
}

fn leader_key(name: &Bytes, place: &Place) -> LeaderKey {
    LeaderKey { name: name.clone(), key: place.key.clone(), rev: place.created, lease: place.lease }
}

/// Changes what the leader says.
pub(crate) async fn proclaim(front: &Front, request: ProclaimRequest) -> Result<ProclaimResponse, Status> {
    let revision = write(front, given(request.leader)?, request.value).await?;
    Ok(ProclaimResponse { header: Some(front.header(revision)) })
}

async fn write(front: &Front, leader: LeaderKey, value: Bytes) -> Result<i64, Status> {
    let put = PutRequest { key: leader.key.clone(), value, lease: leader.lease, ..PutRequest::default() };
    match line::if_created_at(front, leader.key, leader.rev, RequestOp::Put(put)).await? {
        (true, revision) => Ok(revision),
        (false, _) => Err(Status::unknown("election: not leader")),
    }
}

/// Gives leadership, or the place in line, up. One that is gone already is no error.
pub(crate) async fn resign(front: &Front, request: ResignRequest) -> Result<ResignResponse, Status> {
    let leader = given(request.leader)?;
    let range = KeyRange { key: leader.key.clone(), range_end: Bytes::new() };
    let deletion = RequestOp::DeleteRange(DeleteRangeRequest { range, prev_kv: false });
    let (_, revision) = line::if_created_at(front, leader.key, leader.rev, deletion).await?;
    Ok(ResignResponse { header: Some(front.header(revision)) })
}

fn given(leader: Option<LeaderKey>) -> Result<LeaderKey, Status> {
    leader.ok_or_else(|| Status::unknown("\"leader\" field must be provided"))
}

/// Who leads.
pub(crate) async fn leader(front: &Front, request: LeaderRequest) -> Result<LeaderResponse, Status> {
    let (first, revision) = line::first(front, &line::prefix(&request.name)).await?;
    let kv = first.ok_or_else(|| Status::unknown("election: no leader"))?;
    Ok(LeaderResponse { header: Some(front.header(revision)), kv: Some(convert::key_value(kv)) })
}

/// Tells who leads, what it says, and every change of either.
pub(crate) async fn observe(
    front: &Front,
    counters: &metrics::Call,
    requests: &mut MessageReader,
    answers: &mut AnswerStream,
) -> Result<(), StreamEnd> {
    let message = requests.only().await?;
    counters.received(message.len());
    let request: LeaderRequest = grpc::decode(message)?;
    access::admit(front, Method::Observe, &request).await?;
    let mut observer = Observer::new(front, &request.name);
    loop {
        let response = tokio::select! {
            response = observer.next() => response?,
            gone = answers.gone() => return Err(gone.into()),
        };
        let message = grpc::encode(&response);
        counters.sent(1, message.len());
        answers.ready().await?;
        answers.send(message)?;
    }
}

/// Follows the leaders of an election.
pub(crate) struct Observer<'f> {
    front: &'f Front,
    prefix: Bytes,
    /// Watches the leader's key, or, without a leader, the line.
    watch: Option<WatchStream>,
    ready: std::collections::VecDeque<LeaderResponse>,
}

impl<'f> Observer<'f> {
    pub(crate) fn new(front: &'f Front, name: &[u8]) -> Observer<'f> {
        Observer { front, prefix: line::prefix(name), watch: None, ready: std::collections::VecDeque::new() }
    }

    /// The next leader, or the next thing that it says.
    pub(crate) async fn next(&mut self) -> Result<LeaderResponse, Status> {
        loop {
            if let Some(response) = self.ready.pop_front() {
                return Ok(response);
            }
            match &mut self.watch {
                None => self.look().await?,
                Some(watch) => {
                    let response = watch.next().await;
                    self.take(response.kind);
                }
            }
        }
    }

    /// Finds the leader, and begins to watch from there.
    async fn look(&mut self) -> Result<(), Status> {
        let (first, revision) = line::first(self.front, &self.prefix).await?;
        let range = match first {
            None => line::line(&self.prefix),
            Some(kv) => {
                let range = KeyRange { key: kv.key.clone(), range_end: Bytes::new() };
                let header = Some(self.front.header(revision));
                self.ready.push_back(LeaderResponse { header, kv: Some(convert::key_value(kv)) });
                range
            }
        };
        let mut watch = self.front.store.watch_stream();
        watch.create(WatchCreate { range, start_revision: revision + 1, ..WatchCreate::default() });
        self.watch = Some(watch);
        Ok(())
    }

    /// What the leader puts is told; when it leaves, or someone comes where nobody was, it is time to look again.
    fn take(&mut self, kind: WatchKind) {
        match kind {
            WatchKind::Created | WatchKind::Progress => {}
            WatchKind::Rejected(_) | WatchKind::Canceled { .. } => self.watch = None,
            WatchKind::Events(events) => {
                for event in events {
                    let new = event.kv.create_revision == event.kv.mod_revision;
                    if event.kind == EventKind::Delete || new {
                        self.watch = None;
                        return;
                    }
                    let header = Some(self.front.header(event.kv.mod_revision));
                    self.ready.push_back(LeaderResponse { header, kv: Some(convert::key_value(event.kv.clone())) });
                }
            }
        }
    }
}
