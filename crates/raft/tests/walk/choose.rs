//! Chooses what happens next, by chance and so that something comes of it.

use kontiki_raft::{Lease, MemberChange, NodeId};

use super::Walk;
use super::action::Action;
use super::chance::Chance;
use super::plan::MEMBERS;

/// Packets under way at most; beyond this the oldest arrive.
const CROWD: usize = 150;

fn any(chance: &mut Chance) -> NodeId {
    NodeId(1 + chance.below(MEMBERS as usize) as u64)
}

/// A member that matters: mostly one of the newest configuration.
fn member(walk: &Walk, chance: &mut Chance) -> NodeId {
    let members = walk.cluster.facts.newest_configuration().members();
    if chance.one_in(10) || members.is_empty() { any(chance) } else { chance.of(&members) }
}

/// The next action of a walk.
pub fn choose(walk: &Walk, chance: &mut Chance) -> Action {
    let faults = walk.plan.faults;
    let id = member(walk, chance);
    if walk.cluster.network.packets.len() > CROWD {
        return Action::Deliver { ends: None, count: 30, one_turn: false };
    }
    match chance.below(100) {
        0..=44 => packets(walk, chance),
        45..=64 if walk.plan.drift.is_some() => Action::Time,
        45..=52 => Action::Time,
        53..=64 => Action::Tick(id),
        65..=71 => {
            let at = chance.one_in(8).then_some(id);
            Action::Propose { at, count: 1 + chance.below(3) as u64 }
        }
        72..=74 => Action::Read(id),
        75..=79 if faults.slow_disks => disk(walk, chance, id),
        80..=82 if faults.crashes => crash(walk, chance, id),
        83 if faults.wipes => Action::Wipe { at: id, joins: chance.one_in(2) },
        84..=85 if faults.cuts => cut(chance, id),
        86 if faults.cuts => Action::Heal,
        87 if faults.pauses => sleep(walk, chance, id),
        88..=89 if faults.snapshots => match chance.below(4) {
            0 => Action::SnapshotFailed { at: walk.cluster.leader().unwrap_or(id), to: any(chance) },
            _ => Action::Compact { at: id, keep: chance.below(3) as u64 },
        },
        90..=94 if faults.changes => change(walk, chance),
        95 => Action::Apply(id),
        96 => {
            let to = Some(member(walk, chance)).filter(|_| chance.one_in(2));
            Action::Transfer { at: None, to }
        }
        97 => Action::Campaign(id),
        98 => Action::Suspect { at: id, peer: walk.cluster.leader().unwrap_or(id) },
        _ => packets(walk, chance),
    }
}

/// Something happens to the oldest packets between two members.
fn packets(walk: &Walk, chance: &mut Chance) -> Action {
    let packets = &walk.cluster.network.packets;
    if packets.is_empty() {
        return if walk.cluster.network.held.is_empty() { Action::Time } else { Action::Release };
    }
    let packet = &packets[chance.below(packets.len())];
    let ends = (packet.from, packet.to);
    let faults = walk.plan.faults;
    let count = 1 + chance.below(3) as u64;
    if chance.percent(faults.loss) {
        Action::Lose { ends, count }
    } else if chance.percent(faults.repetition) {
        Action::Repeat { ends, count, late: chance.one_in(2) }
    } else if chance.percent(faults.delay) {
        if chance.one_in(4) { Action::Release } else { Action::Hold { ends, count } }
    } else {
        let all = chance.one_in(4);
        let count = if all { 6 } else { count };
        Action::Deliver { ends: (!all).then_some(ends), count, one_turn: chance.one_in(3) }
    }
}

fn disk(walk: &Walk, chance: &mut Chance, id: NodeId) -> Action {
    let slow = walk.cluster.slow_disks.contains(&id);
    match chance.below(8) {
        0 if !slow => Action::Slow(id),
        0..=1 if slow => Action::Fast(id),
        _ => Action::Persist { at: id, count: 1 + chance.below(3) },
    }
}

fn crash(walk: &Walk, chance: &mut Chance, id: NodeId) -> Action {
    let down = walk.cluster.ids().into_iter().find(|id| !walk.cluster.runs(*id));
    match down {
        Some(at) if chance.one_in(2) => Action::Restart { at, seed: chance.below(1 << 30) as u64 },
        Some(peer) if chance.one_in(2) => Action::Suspect { at: id, peer },
        _ => Action::Crash { at: id, survive: chance.below(3) },
    }
}

fn cut(chance: &mut Chance, id: NodeId) -> Action {
    let other = any(chance);
    match chance.below(5) {
        0 => Action::Isolate(id),
        1 => Action::Cut { from: id, to: other, one_way: true },
        _ => Action::Cut { from: id, to: other, one_way: false },
    }
}

fn sleep(walk: &Walk, chance: &mut Chance, id: NodeId) -> Action {
    let asleep = walk.cluster.members.values().find(|member| member.paused).map(|member| member.id);
    match asleep {
        Some(asleep) if !chance.one_in(4) => Action::Wake(asleep),
        _ => Action::Sleep(if chance.one_in(2) { walk.cluster.leader().unwrap_or(id) } else { id }),
    }
}

/// A change of membership at the leader, mostly one that it can take.
fn change(walk: &Walk, chance: &mut Chance) -> Action {
    let at = chance.one_in(10).then(|| any(chance));
    let present = walk.cluster.leader().map_or_else(
        || walk.cluster.facts.newest_configuration(),
        |leader| walk.cluster.member(leader).log.configuration(),
    );
    let count = chance.of(&[1, 1, 1, 2, 3]);
    let changes = (0..count).map(|_| one_change(walk, chance, present)).collect();
    Action::Change { at, changes }
}

fn one_change(walk: &Walk, chance: &mut Chance, present: &kontiki_raft::Configuration) -> MemberChange {
    let id = any(chance);
    if chance.one_in(12) {
        return MemberChange::SetPriority(id, chance.of(&[50, 100, 200]));
    }
    if let Some(drift_permille) = walk.plan.drift.filter(|_| chance.one_in(6)) {
        let ticks = 3 + chance.below(10) as u32;
        return MemberChange::SetLease(chance.percent(80).then_some(Lease { ticks, drift_permille }));
    }
    match (present.is_member(id), present.is_learner(id)) {
        (false, _) if chance.one_in(4) => MemberChange::AddVoter(id),
        (false, _) => MemberChange::AddLearner { id, promote: chance.one_in(2) },
        (true, true) if chance.one_in(4) => MemberChange::Remove(id),
        (true, true) => MemberChange::Promote(id),
        (true, false) if chance.one_in(3) => MemberChange::Demote(id),
        (true, false) => MemberChange::Remove(id),
    }
}
