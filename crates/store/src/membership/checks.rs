//! What is checked before the membership changes, as etcd checks it: no change may leave the cluster without a quorum.

use kontiki_kv::{Member, OperationError};

use crate::error::StoreError;

/// Whether these can be the peer URLs of a member: at least one, each of a known scheme with an address and nothing else.
pub(super) fn urls(urls: &[String]) -> Result<(), StoreError> {
    if !urls.is_empty() && urls.iter().all(|url| is_address(url)) { Ok(()) } else { Err(StoreError::BadPeerUrls) }
}

fn is_address(url: &str) -> bool {
    match url.split_once("://") {
        Some(("http" | "https", rest)) => {
            let port = rest.rsplit_once(':').map(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
            port == Some(true) && !rest.contains(['/', '?', '#', '@', ' '])
        }
        Some(("unix" | "unixs", rest)) => !rest.is_empty(),
        _ => false,
    }
}

/// Whether one of these URLs is a member's already. The state checks it again when it is written there; it does not know
/// members that have not said anything yet.
pub(super) fn taken(members: &[Member], id: u64, urls: &[String]) -> Result<(), StoreError> {
    let mut others = members.iter().filter(|member| member.id != id).flat_map(|member| &member.peer_urls);
    if others.any(|url| urls.contains(url)) { Err(OperationError::PeerUrlExists.into()) } else { Ok(()) }
}

/// Members that have started and say their name.
fn is_started(member: &Member) -> bool {
    !member.name.is_empty()
}

fn voters(members: &[Member]) -> impl Iterator<Item = &Member> {
    members.iter().filter(|member| !member.is_learner)
}

/// One more voter: those that have started must be a quorum of what comes then. One alone may always grow.
pub(super) fn ready_to_add(members: &[Member]) -> Result<(), StoreError> {
    let started = voters(members).filter(|member| is_started(member)).count();
    let size = voters(members).count() + 1;
    enough(started == 1 && size == 2 || started > size / 2)
}

/// A learner votes: it has started, and counts.
pub(super) fn ready_to_promote(members: &[Member]) -> Result<(), StoreError> {
    let started = voters(members).filter(|member| is_started(member)).count() + 1;
    let size = voters(members).count() + 1;
    enough(started > size / 2)
}

/// One voter less.
pub(super) fn ready_to_remove(members: &[Member], id: u64) -> Result<(), StoreError> {
    let left = || voters(members).filter(|member| member.id != id);
    enough(left().filter(|member| is_started(member)).count() > left().count() / 2)
}

fn enough(started: bool) -> Result<(), StoreError> {
    if started { Ok(()) } else { Err(StoreError::NotEnoughStarted) }
}

/// A quorum of the voters must be healthy, this member among them.
pub(super) fn healthy_quorum(members: &[Member], is_healthy: impl Fn(u64) -> bool) -> Result<(), StoreError> {
    let healthy = voters(members).filter(|member| is_healthy(member.id)).count();
    if healthy > voters(members).count() / 2 { Ok(()) } else { Err(StoreError::Unhealthy) }
}

/// Without this healthy voter, the others must still be a quorum of what was before.
pub(super) fn healthy_without_one(members: &[Member], is_healthy: impl Fn(u64) -> bool) -> Result<(), StoreError> {
    let healthy = voters(members).filter(|member| is_healthy(member.id)).count();
    let size = voters(members).count();
    if healthy.saturating_sub(1) > size.saturating_sub(1) / 2 { Ok(()) } else { Err(StoreError::Unhealthy) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, started: bool, is_learner: bool) -> Member {
        let name = if started { format!("m{id}") } else { String::new() };
        Member { id, name, peer_urls: vec![format!("http://h:{id}")], is_learner, ..Member::default() }
    }

    /// So many started voters, then so many that have not started.
    fn members(started: u64, unstarted: u64) -> Vec<Member> {
        (0..started + unstarted).map(|id| member(id, id < started, false)).collect()
    }

    #[test]
    fn urls_have_a_scheme_an_address_and_nothing_else() {
        let check = |url: &str| urls(&[url.to_owned()]);
        for good in ["http://127.0.0.1:2380", "https://a.b:1", "http://[::1]:2380", "unix://a:1", "http://localhost:0"]
        {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", "127.0.0.1:2380", "http://", "http://a", "http://a:x", "http://:1", "ftp://a:1", "http://a:1/p"]
        {
            assert_eq!(check(bad), Err(StoreError::BadPeerUrls), "{bad}");
        }
        assert_eq!(urls(&[]), Err(StoreError::BadPeerUrls));
    }

    #[test]
    fn started_members_must_be_a_quorum_of_what_comes() {
        let table = [((1, 0), true), ((1, 1), false), ((2, 0), true), ((2, 1), false), ((3, 0), true), ((3, 1), true)];
        for ((started, unstarted), ready) in table {
            assert_eq!(ready_to_add(&members(started, unstarted)).is_ok(), ready, "{started} and {unstarted}");
        }
        assert_eq!(ready_to_remove(&members(1, 0), 0), Err(StoreError::NotEnoughStarted), "the last one");
        assert_eq!(ready_to_remove(&members(1, 1), 0), Err(StoreError::NotEnoughStarted));
        assert_eq!(ready_to_remove(&members(1, 1), 1), Ok(()), "one that never started");
        assert_eq!(ready_to_remove(&members(2, 1), 0), Err(StoreError::NotEnoughStarted));
        assert_eq!(ready_to_promote(&members(1, 1)), Ok(()));
        assert_eq!(ready_to_promote(&members(1, 2)), Err(StoreError::NotEnoughStarted));
    }

    #[test]
    fn learners_count_for_nothing() {
        let mut all = members(1, 0);
        all.push(member(7, false, true));
        assert_eq!(ready_to_add(&all), Ok(()));
        assert_eq!(healthy_quorum(&all, |id| id == 0), Ok(()));
    }

    #[test]
    fn a_quorum_must_be_healthy() {
        let all = members(3, 0);
        assert_eq!(healthy_quorum(&all, |id| id < 2), Ok(()));
        assert_eq!(healthy_quorum(&all, |id| id < 1), Err(StoreError::Unhealthy));
        assert_eq!(healthy_without_one(&all, |_| true), Ok(()));
        assert_eq!(healthy_without_one(&all, |id| id < 2), Err(StoreError::Unhealthy));
        assert_eq!(healthy_without_one(&members(5, 0), |id| id < 4), Ok(()));
    }

    #[test]
    fn an_url_is_one_members() {
        let all = members(2, 0);
        let first = ["http://h:0".to_owned()];
        assert_eq!(taken(&all, 9, &first), Err(OperationError::PeerUrlExists.into()));
        assert_eq!(taken(&all, 0, &first), Ok(()), "its own");
    }
}
