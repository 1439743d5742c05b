//! What clients ask for: members are added, moved, promoted, removed. Any member can be asked.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use kontiki_engine::Event;
use kontiki_kv::{Command, Member, MemberCommand, OperationError};
use kontiki_raft::{Configuration, NodeId};
use tokio::sync::oneshot;

use super::directory::Directory;
use super::{Order, OrderState, checks};
use crate::calls::Call;
use crate::error::{StopReason, StoreError};
use crate::identity;
use crate::link::Link;
use crate::machine::GROUP;
use crate::store::Store;

/// How often the leader is asked how far an order is.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// The members after a change, and the one that it was about, where it still is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberChanged {
    /// The member.
    pub member: Option<Member>,
    /// All of them.
    pub members: Vec<Member>,
}

impl Store {
    /// Adds a member at these peer URLs. It counts as one at once, and as a voter as soon as it has started and caught up; a
    /// learner, once it is promoted. Returns when this member's configuration has it.
    ///
    /// # Errors
    /// Where the URLs are none or another member's, a check forbids it, or no leader did it in time; in the last case it may
    /// still come.
    pub async fn member_add(&self, peer_urls: Vec<String>, learner: bool) -> Result<MemberChanged, StoreError> {
        checks::urls(&peer_urls)?;
        self.read_barrier().await?;
        let members = self.members();
        if self.0.membership.strict {
            if !learner {
                checks::ready_to_add(&members)?;
            }
            checks::healthy_quorum(&members, |id| self.is_healthy(id))?;
        }
        checks::taken(&members, 0, &peer_urls)?;
        // etcd mixes in the time, so that who comes back with its old URLs is somebody else; chance does it better.
        let parts = &*self.0;
        let id = identity::added_id(&peer_urls, &parts.identity.token, parts.surroundings.entropy.draw());
        let learners_max = parts.membership.learners_max;
        let add = MemberCommand::Add { id, peer_urls, learner, learners_max };
        self.propose(Command::Membership(add)).await?;
        self.until_configured(|configuration| configuration.is_member(NodeId(id))).await?;
        Ok(self.changed(id))
    }

    /// Says that a member is reached elsewhere from now on.
    ///
    /// # Errors
    /// Where there is no such member, the URLs are another's, or it was not committed in time.
    pub async fn member_update(&self, id: u64, peer_urls: Vec<String>) -> Result<MemberChanged, StoreError> {
        self.read_barrier().await?;
        let members = self.members();
        find(&members, id)?;
        checks::taken(&members, id, &peer_urls)?;
        self.propose(Command::Membership(MemberCommand::Update { id, peer_urls })).await?;
        Ok(self.changed(id))
    }

    /// Makes a learner a voter. Returns when this member's configuration says so.
    ///
    /// # Errors
    /// Where there is no such member, it is no learner or lags behind the leader, a check forbids it, or no leader did it in
    /// time; in the last case it may still come.
    pub async fn member_promote(&self, id: u64) -> Result<MemberChanged, StoreError> {
        self.read_barrier().await?;
        let members = self.members();
        if !find(&members, id)?.is_learner {
            return Err(StoreError::NotLearner);
        }
        if self.0.membership.strict {
            checks::ready_to_promote(&members)?;
        }
        let votes = |configuration: &Configuration| configuration.voters.contains(&NodeId(id));
        self.order(Order::Promote(id), votes).await?;
        Ok(self.changed(id))
    }

    /// Takes a member out for good. Returns when this member's configuration says so.
    ///
    /// # Errors
    /// Where there is no such member, a check forbids it, or no leader did it in time; in the last case it may still come.
    pub async fn member_remove(&self, id: u64) -> Result<MemberChanged, StoreError> {
        self.read_barrier().await?;
        let members = self.members();
        let leaving = find(&members, id)?;
        if self.0.membership.strict && !leaving.is_learner {
            checks::ready_to_remove(&members, id)?;
            if self.is_connected(id) {
                checks::healthy_without_one(&members, |id| self.is_healthy(id))?;
            }
        }
        let _own = (id == self.0.identity.member_id).then(|| Farewell::begin(self.0.link.clone()));
        self.order(Order::Remove(id), |configuration| !configuration.is_member(NodeId(id))).await?;
        let mut changed = self.changed(id);
        changed.members.retain(|member| member.id != id); // of this one, if it is the one and hears no more
        Ok(changed)
    }

    /// Whether this member only learns: it then answers little.
    #[must_use]
    pub fn is_learner(&self) -> bool {
        self.0.link.learner.load(Relaxed)
    }

    /// What this member knows of all.
    pub(crate) fn directory(&self) -> Result<Directory, StoreError> {
        let configuration = self.0.link.configuration.borrow().clone();
        self.directory_of(&configuration)
    }

    /// The same for a configuration that is not applied yet.
    pub(crate) fn directory_of(&self, configuration: &Configuration) -> Result<Directory, StoreError> {
        Ok(Directory::read(&self.reader(), configuration, &self.0.identity)?)
    }

    /// The answer to a process that asks who the members are. Empty, and so of no use to it, where this member cannot tell.
    pub(crate) fn tell_members(&self) -> Bytes {
        let applied = self.0.link.counters.applied.load(Relaxed);
        let directory = self.directory().inspect_err(|error| tracing::error!(%error, "cannot read the members"));
        directory.map(|directory| directory.encode(self.0.identity.cluster_id, applied)).unwrap_or_default()
    }

    fn changed(&self, id: u64) -> MemberChanged {
        let members = self.members();
        MemberChanged { member: members.iter().find(|member| member.id == id).cloned(), members }
    }

    /// Whether a member has been connected for long enough to count on.
    fn is_healthy(&self, id: u64) -> bool {
        let parts = &*self.0;
        let long = |peer: &kontiki_transport::PeerStatistics| {
            peer.connected_for.is_some_and(|time| time >= parts.membership.healthy_after)
        };
        id == parts.identity.member_id || parts.peers.statistics().get(&NodeId(id)).is_some_and(long)
    }

    fn is_connected(&self, id: u64) -> bool {
        let connected = self.0.peers.statistics().get(&NodeId(id)).is_some_and(|peer| peer.connected);
        id == self.0.identity.member_id || connected
    }

    /// Waits until the configuration that is applied here is as wished.
    async fn until_configured(&self, is_so: impl Fn(&Configuration) -> bool) -> Result<(), StoreError> {
        let mut configuration = self.0.link.configuration.subscribe();
        let wait = configuration.wait_for(|configuration| is_so(configuration));
        match self.0.within(self.0.request_timeout, wait).await {
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) => Err(StoreError::Stopped),
            None => Err(self.too_late()),
        }
    }

    fn too_late(&self) -> StoreError {
        let led = self.0.link.leadership.borrow().leader.is_some();
        if led { StoreError::Timeout } else { StoreError::NoLeader }
    }

    /// Has the leader carry out an order, and waits until the configuration here shows it.
    async fn order(&self, order: Order, is_done: impl Fn(&Configuration) -> bool) -> Result<(), StoreError> {
        let parts = &*self.0;
        let (number, begin) = (parts.surroundings.entropy.draw(), parts.now());
        loop {
            if is_done(&parts.link.configuration.borrow()) || self.is_out() {
                return Ok(());
            }
            match self.ask_how_far(number, order).await? {
                Some(OrderState::Done) if self.until_done(&is_done).await => return Ok(()),
                // It was there when this began: a former leader did it.
                Some(OrderState::NotMember) if matches!(order, Order::Remove(_)) && self.until_done(&is_done).await => {
                    return Ok(());
                }
                Some(OrderState::NotLearner) if self.until_done(&is_done).await => return Ok(()),
                Some(OrderState::NotMember) => return Err(OperationError::MemberNotFound.into()),
                Some(OrderState::NotLearner) => return Err(StoreError::NotLearner),
                Some(OrderState::NotReady) => return Err(StoreError::LearnerNotReady),
                Some(OrderState::NoVoter) => return Err(StoreError::NotEnoughStarted),
                Some(OrderState::Done | OrderState::Open) | None => {}
            }
            if parts.now().saturating_sub(begin) > parts.request_timeout {
                return Err(self.too_late());
            }
            parts.sleep(ASK_AGAIN).await;
        }
    }

    /// Waits a little until what is done is seen here: the leader is ahead of the others by a message.
    async fn until_done(&self, is_done: impl Fn(&Configuration) -> bool) -> bool {
        let mut configuration = self.0.link.configuration.subscribe();
        let seen = configuration.wait_for(|configuration| is_done(configuration) || self.is_out());
        self.0.within(self.0.election_timeout, seen).await.is_some_and(|seen| seen.is_ok()) || self.is_out()
    }

    /// Whether this member was taken out.
    fn is_out(&self) -> bool {
        self.0.link.is_removed()
    }

    async fn ask_how_far(&self, number: u64, order: Order) -> Result<Option<OrderState>, StoreError> {
        let parts = &*self.0;
        let token = parts.link.token();
        let (sender, answer) = oneshot::channel();
        parts.link.expect_call(token, self.waiter(sender));
        if !parts.inbox.post(Event::Call { group: GROUP, id: token, body: Call::Order(number, order).encode() }) {
            return Err(StoreError::Stopped);
        }
        let answer = parts.within(parts.election_timeout, answer).await;
        Ok(answer.and_then(Result::ok).flatten().and_then(|bytes| OrderState::decode(&bytes)))
    }
}

fn find(members: &[Member], id: u64) -> Result<&Member, StoreError> {
    members.iter().find(|member| member.id == id).ok_or(OperationError::MemberNotFound.into())
}

/// As long as it lives, this member does not end because it was taken out: a client waits to hear that it was.
struct Farewell(Arc<Link>);

impl Farewell {
    fn begin(link: Arc<Link>) -> Farewell {
        link.farewells.fetch_add(1, Relaxed);
        Farewell(link)
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.farewells.fetch_sub(1, Relaxed);
    }
}

/// How long a member that was taken out by its own answer lives on, so that the answer arrives.
const FAREWELL: Duration = Duration::from_secs(1);

/// Ends a member that was taken out: at once, or once who asked it for that has its answer.
pub(crate) async fn leave(store: Store) {
    let parts = &*store.0;
    let mut removed = parts.link.removed.subscribe();
    let reason: Option<StopReason> = match removed.wait_for(Option::is_some).await {
        Ok(reason) => reason.clone(),
        Err(_) => return,
    };
    if parts.link.farewells.load(Relaxed) > 0 {
        parts.sleep(FAREWELL).await;
    }
    if let Some(reason) = reason {
        parts.link.fail(reason);
    }
}
