//! What the state says of members, as they come and go.

use super::*;

fn add(id: u64, url: &str, learner: bool) -> Command {
    let peer_urls = vec![url.to_owned()];
    Command::Membership(MemberCommand::Add { id, peer_urls, learner, learners_max: 1 })
}

fn update(id: u64, url: &str) -> Command {
    Command::Membership(MemberCommand::Update { id, peer_urls: vec![url.to_owned()] })
}

fn settle(members: &[(u64, bool)]) -> Command {
    Command::Membership(MemberCommand::Settle { members: members.to_vec() })
}

fn says(id: u64) -> Command {
    let (name, peer_urls) = (format!("m{id}"), vec!["http://said".to_owned()]);
    Command::MemberAttributes(Member { id, name, peer_urls, ..Member::default() })
}

/// Identity, name, where it is reached, and whether it learns.
fn members(machine: &Machine) -> Vec<(u64, String, String, bool)> {
    let members = machine.kv.reader().members().unwrap();
    members.into_iter().map(|m| (m.id, m.name, m.peer_urls.concat(), m.is_learner)).collect()
}

fn refusal(machine: &mut Machine, command: &Command) -> OperationError {
    machine.apply(command).result.unwrap_err()
}

#[test]
fn who_is_wanted_becomes_a_member_with_the_configuration_and_is_forgotten_with_it() {
    let mut machine = Machine::new();
    machine.must(&says(1));
    machine.must(&add(2, "u2", false));
    assert_eq!(machine.kv.reader().standings().unwrap(), [(2, Standing::Wanted)]);
    machine.must(&settle(&[(1, false)]));
    assert_eq!(members(&machine).len(), 2, "who is wanted stays until it is there");
    machine.checkpoint();
    machine.must(&settle(&[(1, false), (2, true)]));
    assert_eq!(machine.kv.reader().standings().unwrap(), []);
    machine.must(&says(2));
    assert_eq!(members(&machine)[1], (2, "m2".into(), "u2".into(), false), "the cluster says where it is reached");
    machine.must(&settle(&[(1, false)]));
    assert_eq!(members(&machine).len(), 1);
    assert_eq!(machine.kv.reader().standings().unwrap(), [(2, Standing::Removed)]);
    machine.must(&says(2));
    assert_eq!(members(&machine).len(), 1, "it is not heard any more");
    assert_eq!(refusal(&mut machine, &add(2, "u2", false)), OperationError::MemberExists);
    assert_eq!(refusal(&mut machine, &update(2, "u9")), OperationError::MemberNotFound);
    machine.must(&add(3, "u2", false));
}

#[test]
fn an_url_is_one_members_and_learners_are_counted() {
    let mut machine = Machine::new();
    machine.must(&add(1, "u1", false));
    machine.must(&settle(&[(1, false)]));
    assert_eq!(refusal(&mut machine, &add(2, "u1", false)), OperationError::PeerUrlExists);
    machine.must(&add(2, "u2", true));
    assert_eq!(refusal(&mut machine, &add(3, "u3", true)), OperationError::TooManyLearners);
    machine.must(&settle(&[(1, false), (2, true)]));
    assert_eq!(refusal(&mut machine, &add(3, "u3", true)), OperationError::TooManyLearners);
    assert_eq!(refusal(&mut machine, &update(2, "u1")), OperationError::PeerUrlExists);
    machine.must(&update(2, "u2"));
    machine.must(&update(2, "elsewhere"));
    machine.must(&settle(&[(1, false), (2, false)]));
    assert_eq!(members(&machine)[1], (2, String::new(), "elsewhere".into(), false), "it was promoted");
    machine.must(&add(3, "u2", true));
}

#[test]
fn a_founder_that_has_said_nothing_yet_can_move() {
    let mut machine = Machine::new();
    machine.must(&update(1, "u1"));
    machine.must(&says(1));
    assert_eq!(members(&machine), [(1, "m1".into(), "u1".into(), false)]);
}

#[test]
fn members_say_their_names_even_where_nothing_may_be_written() {
    let mut machine = Machine::new();
    machine.must(&Command::Alarm { raise: true, member: 1, alarm: Alarm::Corrupt });
    machine.must(&add(2, "u2", false));
    machine.must(&settle(&[(2, false)]));
}
