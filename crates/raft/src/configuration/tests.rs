//! From one configuration to the next.

use super::*;

fn ids(list: &[u64]) -> Vec<NodeId> {
    list.iter().copied().map(NodeId).collect()
}

fn of(voters: &[u64], outgoing: &[u64], learners: &[u64]) -> Configuration {
    let (voters, outgoing, learners) = (ids(voters), ids(outgoing), ids(learners));
    Configuration { voters, outgoing, learners, ..Configuration::default() }
}

/// Every majority of each half of one and of the other; whether any two have nobody in common.
fn can_decide_apart(one: &Configuration, two: &Configuration) -> bool {
    let decides = |configuration: &Configuration, set: u64| {
        [&configuration.voters, &configuration.outgoing].into_iter().filter(|half| !half.is_empty()).all(|half| {
            let inside = half.iter().filter(|id| set & (1 << id.0) != 0).count();
            inside * 2 > half.len()
        })
    };
    (0..64_u64).any(|set| decides(one, set) && decides(two, !set))
}

/// Figure 4.3, and the general rule: from any configuration of five to any other, neighbours never decide apart.
#[test]
fn neighbouring_configurations_have_a_quorum_in_common() {
    let mut joint = 0;
    for before in 1..32_u64 {
        for after in 1..32_u64 {
            let has = |set: u64, id: &u64| set & (1 << id) != 0;
            let voters: Vec<u64> = (0..5).filter(|id| has(before, id)).collect();
            let old = of(&voters, &[], &[]);
            let changes: Vec<MemberChange> = (0..5_u64)
                .filter_map(|id| match (has(before, &id), has(after, &id)) {
                    (false, true) => Some(MemberChange::AddVoter(NodeId(id))),
                    (true, false) => Some(MemberChange::Remove(NodeId(id))),
                    _ => None,
                })
                .collect();
            if changes.is_empty() {
                assert_eq!(old.changed(&changes), Err(ChangeRefusal::Nothing));
                continue;
            }
            let next = old.changed(&changes).unwrap();
            assert!(!can_decide_apart(&old, &next), "{old:?} and {next:?}");
            let end = if next.is_joint() { next.left() } else { next.clone() };
            assert!(!can_decide_apart(&next, &end), "{next:?} and {end:?}");
            assert_eq!(end.voters, ids(&(0..5).filter(|id| has(after, id)).collect::<Vec<_>>()));
            joint += u64::from(next.is_joint());
        }
    }
    assert!(joint > 700, "most steps change more than one vote: {joint}");
}

#[test]
fn a_direct_switch_would_let_two_majorities_decide() {
    // Figure 4.2.
    assert!(can_decide_apart(&of(&[1, 2, 3], &[], &[]), &of(&[1, 2, 3, 4, 5], &[], &[])));
}

#[test]
fn who_is_demoted_votes_until_the_joint_configuration_is_left() {
    let old = of(&[1, 2, 3], &[], &[4]);
    let changes = [MemberChange::Demote(NodeId(3)), MemberChange::Promote(NodeId(4))];
    let joint = old.changed(&changes).unwrap();
    assert_eq!(joint, of(&[1, 2, 4], &[1, 2, 3], &[3]));
    assert!(joint.is_voter(NodeId(3)) && !joint.is_learner(NodeId(3)));
    assert!(joint.left().is_learner(NodeId(3)) && !joint.left().is_voter(NodeId(3)));
}

#[test]
fn changes_that_do_not_fit_are_refused() {
    let old = of(&[1], &[], &[2]);
    let refused = |change| old.changed(&[change]).unwrap_err();
    assert_eq!(refused(MemberChange::AddVoter(NodeId(1))), ChangeRefusal::Member(NodeId(1)));
    assert_eq!(refused(MemberChange::AddVoter(NodeId(2))), ChangeRefusal::Member(NodeId(2)));
    assert_eq!(refused(MemberChange::Promote(NodeId(1))), ChangeRefusal::NotLearner(NodeId(1)));
    assert_eq!(refused(MemberChange::Demote(NodeId(2))), ChangeRefusal::NotVoter(NodeId(2)));
    assert_eq!(refused(MemberChange::Remove(NodeId(3))), ChangeRefusal::NotMember(NodeId(3)));
    assert_eq!(refused(MemberChange::Remove(NodeId(1))), ChangeRefusal::NoVoter);
    assert_eq!(refused(MemberChange::SetPriority(NodeId(3), 1)), ChangeRefusal::NotMember(NodeId(3)));
    assert_eq!(refused(MemberChange::SetPriority(NodeId(2), Attributes::PRIORITY)), ChangeRefusal::Nothing);
    let lease = Lease { ticks: 2, drift_permille: 0 };
    assert_eq!(refused(MemberChange::SetLease(Some(lease))), ChangeRefusal::BadLease(lease));
    // Bug M30: nobody leaves and comes back in one step.
    let again = [MemberChange::Remove(NodeId(2)), MemberChange::AddVoter(NodeId(2))];
    assert_eq!(old.changed(&again), Err(ChangeRefusal::Member(NodeId(2))));
}

#[test]
fn attributes_come_and_go_with_their_member() {
    let mut old = of(&[1, 2], &[], &[]);
    let bound = Attributes { incarnation: Some(Incarnation(7)), ..Attributes::default() };
    old.set_attributes(NodeId(2), bound);
    old.set_attributes(NodeId(1), bound);
    let next = old.changed(&[MemberChange::Remove(NodeId(2))]).unwrap();
    assert_eq!(next.attributes, [(NodeId(1), bound)]);
    let next = next.changed(&[MemberChange::AddLearner { id: NodeId(2), promote: true }]).unwrap();
    assert_eq!(next.attributes(NodeId(2)), Attributes { promote: true, ..Attributes::default() });
    let next = next.changed(&[MemberChange::Promote(NodeId(2))]).unwrap();
    assert_eq!(next.attributes(NodeId(2)), Attributes::default());
    // In a joint configuration who leaves is still known by its disk.
    let three = of(&[1, 2, 3], &[], &[]);
    let mut three = Configuration { attributes: vec![(NodeId(3), bound)], ..three };
    three = three.changed(&[MemberChange::Remove(NodeId(3)), MemberChange::AddVoter(NodeId(4))]).unwrap();
    assert!(three.is_joint() && three.is_well_formed());
    assert_eq!(three.attributes(NodeId(3)), bound);
    assert_eq!(three.left().attributes(NodeId(3)), Attributes::default());
}

#[test]
fn a_lease_is_shorter_than_its_promise() {
    let usable = |ticks, drift_permille| Lease { ticks, drift_permille }.usable_ticks();
    assert_eq!(usable(3, 0), 1);
    assert_eq!(usable(11, 0), 9);
    assert_eq!(usable(11, 100), 8);
    assert_eq!(usable(3, 999), 0);
}
