//! Three members in one thread, with any number of groups between them.
//!
//! A member takes turns. In a turn it receives what the others sent, group by group, takes its clients' commands, and lets
//! every replica that had something to do bring its turn to an end once. Messages lie in one link per direction, entries'
//! bytes beside them, as in the buffer of a socket.

use crate::batch::{Batch, Entries};
use crate::machine::Machine;
use crate::memory_log::Retention;

/// Members of the cluster, and replicas of each group.
pub const MEMBERS: usize = 3;

/// A replica of one group under a contestant's consensus.
pub trait Replica: Sized {
    /// What replicas send to each other.
    type Message;
    /// Buffers that a member needs once and not per replica.
    type Scratch: Default;

    /// The replica at a place of its group.
    fn new(place: usize, retention: Retention) -> Self;
    /// Stands for election.
    fn campaign(&mut self, context: &mut Context<'_, Self>);
    /// Takes clients' commands, at the leader.
    fn propose(&mut self, commands: &Batch, context: &mut Context<'_, Self>);
    /// Takes a message. Its entries, if it has any, are the next ones of `entries`.
    fn receive(
        &mut self,
        from: usize,
        message: Self::Message,
        entries: &mut Entries<'_>,
        context: &mut Context<'_, Self>,
    );
    /// Ends a turn in which something came: writes, sends, applies.
    fn flush(&mut self, context: &mut Context<'_, Self>);
    /// Tells the other replicas what is committed, where that would wait for the next command.
    fn conclude(&mut self, context: &mut Context<'_, Self>);
    /// The state machine.
    fn machine(&self) -> Machine;
    /// Whether it leads and could commit an entry of its own.
    fn leads(&self) -> bool;
}

/// One direction between two members.
struct Link<M> {
    messages: Vec<(u32, M)>,
    entries: Batch,
}

impl<M> Default for Link<M> {
    fn default() -> Link<M> {
        Link { messages: Vec::new(), entries: Batch::default() }
    }
}

/// What a replica may use while it is at work.
pub struct Context<'a, R: Replica> {
    /// The member's buffers.
    pub scratch: &'a mut R::Scratch,
    links: &'a mut [Link<R::Message>; MEMBERS],
    group: u32,
}

impl<R: Replica> Context<'_, R> {
    /// Sends a message to the replica at `to`. Its entries were put in [`Context::entries_to`] before.
    pub fn send(&mut self, to: usize, message: R::Message) {
        self.links[to].messages.push((self.group, message));
    }

    /// Where bytes of entries to another replica go.
    pub fn entries_to(&mut self, to: usize) -> &mut Batch {
        &mut self.links[to].entries
    }
}

/// One member: its replicas of all groups.
struct Member<R: Replica> {
    replicas: Vec<R>,
    /// Groups with something to do in the present turn, each once.
    active: Vec<u32>,
    is_active: Vec<bool>,
    scratch: R::Scratch,
    /// What it sends, by receiver.
    links: [Link<R::Message>; MEMBERS],
}

impl<R: Replica> Member<R> {
    fn new(place: usize, groups: usize, retention: Retention) -> Member<R> {
        Member {
            replicas: (0..groups).map(|_| R::new(place, retention)).collect(),
            active: Vec::new(),
            is_active: vec![false; groups],
            scratch: R::Scratch::default(),
            links: Default::default(),
        }
    }

    /// The replica of a group and what it may use; its turn ends later.
    fn activate(&mut self, group: u32) -> (&mut R, Context<'_, R>) {
        if !std::mem::replace(&mut self.is_active[group as usize], true) {
            self.active.push(group);
        }
        let context = Context { scratch: &mut self.scratch, links: &mut self.links, group };
        (&mut self.replicas[group as usize], context)
    }

    fn receive(&mut self, from: usize, link: &mut Link<R::Message>) {
        if link.messages.is_empty() {
            return;
        }
        let mut entries = link.entries.as_slice();
        for (group, message) in link.messages.drain(..) {
            let (replica, mut context) = self.activate(group);
            replica.receive(from, message, &mut entries, &mut context);
        }
        assert_eq!(entries.len(), 0, "a message left entries behind");
        link.entries.clear();
    }

    /// Ends the turn. Returns how many commands were applied at replicas that lead, so how many clients have an answer.
    fn flush(&mut self) -> u64 {
        let mut answered = 0;
        for group in self.active.drain(..) {
            self.is_active[group as usize] = false;
            let replica = &mut self.replicas[group as usize];
            let before = replica.machine().count;
            replica.flush(&mut Context { scratch: &mut self.scratch, links: &mut self.links, group });
            if replica.leads() {
                answered += replica.machine().count - before;
            }
        }
        answered
    }
}

/// Three members, each with a replica of every group. Group `g` is led by member `g` modulo three.
pub struct Cluster<R: Replica> {
    members: [Member<R>; MEMBERS],
}

impl<R: Replica> Cluster<R> {
    /// Starts all groups and elects their leaders.
    pub fn new(groups: usize, retention: Retention) -> Cluster<R> {
        let members = std::array::from_fn(|place| Member::new(place, groups, retention));
        let mut cluster = Cluster { members };
        for group in 0..groups {
            cluster.at_leader(group as u32, R::campaign);
        }
        cluster.settle();
        for group in 0..groups {
            assert!(cluster.members[group % MEMBERS].replicas[group].leads(), "group {group} has no leader");
        }
        cluster
    }

    /// Hands commands to a group's leader. All that a turn brings for a group comes in one call.
    pub fn propose(&mut self, group: u32, commands: &Batch) {
        self.at_leader(group, |replica, context| replica.propose(commands, context));
    }

    /// Gives each member a turn. Returns how many commands were answered: applied where they were proposed.
    pub fn cycle(&mut self) -> u64 {
        let mut answered = 0;
        for place in 0..MEMBERS {
            for from in (0..MEMBERS).filter(|from| *from != place) {
                let [sender, receiver] =
                    self.members.get_disjoint_mut([from, place]).expect("a member does not send to itself");
                receiver.receive(from, &mut sender.links[place]);
            }
            answered += self.members[place].flush();
        }
        answered
    }

    /// Lets all that is on its way arrive, and checks that the three replicas of each group are equal. Returns how many
    /// commands they have applied.
    ///
    /// # Panics
    /// Where replicas differ.
    pub fn finish(mut self) -> u64 {
        self.settle();
        for group in 0..self.members[0].replicas.len() {
            self.at_leader(group as u32, R::conclude);
        }
        self.settle();
        let [first, second, third] = &self.members;
        let mut applied = 0;
        for (group, replica) in first.replicas.iter().enumerate() {
            let machine = replica.machine();
            assert_eq!(machine, second.replicas[group].machine(), "replicas of group {group} differ");
            assert_eq!(machine, third.replicas[group].machine(), "replicas of group {group} differ");
            applied += machine.count;
        }
        applied
    }

    fn at_leader(&mut self, group: u32, work: impl FnOnce(&mut R, &mut Context<'_, R>)) {
        let (replica, mut context) = self.members[group as usize % MEMBERS].activate(group);
        work(replica, &mut context);
    }

    fn settle(&mut self) {
        let busy =
            |member: &Member<R>| !member.active.is_empty() || member.links.iter().any(|link| !link.messages.is_empty());
        while self.members.iter().any(busy) {
            self.cycle();
        }
    }
}
