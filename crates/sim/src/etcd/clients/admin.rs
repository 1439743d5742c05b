//! What an operator does: moves the leader, compacts, makes files smaller, looks at alarms and now and then raises one.

use std::time::Duration;

use kontiki_kv::{Alarm, Command};
use kontiki_raft::NodeId;

use crate::etcd::Answer;
use crate::etcd::client::Client;

/// An operator waits so long for a member, which may stand still together with its clock.
const PATIENCE: Duration = Duration::from_secs(10);

/// An alarm must not stay: so often its end is tried, each time at several members.
const CLEARS_MAX: u32 = 20;

/// Administers. Moves the leader only where that is wished.
pub(crate) async fn run(mut client: Client, thinks: Duration, moves: bool) {
    while client.thinks(thinks).await {
        match client.chance.below(10) {
            0..=2 if moves => move_leader(&mut client).await,
            3 => defragment(&mut client).await,
            4 => raise_and_clear(&mut client).await,
            _ => look_at_alarms(&mut client).await,
        }
    }
}

/// Compacts a recent revision now and then.
pub(crate) async fn run_compactor(mut client: Client, thinks: Duration) {
    while client.thinks(thinks).await {
        let back = i64::try_from(client.chance.below(100)).unwrap_or(0);
        let revision = (client.site.revision() - back).max(1);
        if let Answer::Written(..) = client.write(Command::Compact { revision }).await {
            client.site.compacts(revision);
        }
    }
}

async fn move_leader(client: &mut Client) {
    let Some(leader) = leader(client).await.filter(|_| !client.site.is_settled()) else { return };
    let others: Vec<NodeId> = client.site.directory.members().into_iter().filter(|member| *member != leader).collect();
    let chosen = usize::try_from(client.chance.below(others.len() as u64 + 1)).unwrap_or(0);
    let to = others.get(chosen).map(|member| member.0);
    let Some(mut connection) = client.site.directory.connect(leader) else { return };
    let store = connection.store.clone();
    tokio::select! {
        biased;
        () = connection.broken() => {}
        // It may have no leader to move, or nowhere to move it: then nothing comes of it.
        _ = store.move_leader(to) => {}
        () = client.site.spawner.sleep(PATIENCE) => {}
    }
}

async fn leader(client: &mut Client) -> Option<NodeId> {
    let connection = client.connect().await?;
    let leadership = *connection.store.leadership().borrow();
    leadership.leader.map(NodeId)
}

async fn defragment(client: &mut Client) {
    if let Some(connection) = client.connect().await {
        connection.store.defragment();
    }
}

async fn look_at_alarms(client: &mut Client) {
    let Some(mut connection) = client.connect().await else { return };
    let store = connection.store.clone();
    tokio::select! {
        biased;
        () = connection.broken() => {}
        barrier = store.read_barrier() => {
            if let (Ok(()), Err(error)) = (barrier, store.reader().alarms()) {
                store.read_failed(&error);
            }
        }
        () = client.site.spawner.sleep(PATIENCE) => {}
    }
}

async fn raise_and_clear(client: &mut Client) {
    let (member, alarm) = (client.member().0, Alarm::NoSpace);
    client.write(Command::Alarm { raise: true, member, alarm }).await;
    client.thinks(Duration::from_millis(500)).await;
    for _ in 0..CLEARS_MAX {
        if client.write_again(Command::Alarm { raise: false, member, alarm }).await.is_some() {
            return;
        }
    }
}
