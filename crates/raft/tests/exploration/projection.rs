//! Fingerprints of states that leave out what cannot matter, and that can be told under other names of the members.
//!
//! A replica's `Debug` text is derived and so names everything that it knows, with the types. It is parsed into a tree
//! and digested to 128 bits. Left out or made alike is only:
//!
//! - the election timer and its chance: no follower's clock ticks here, a candidacy is an input of its own;
//! - settings, which are the same everywhere and always;
//! - the absolute number of tickets: only their order counts, so they are told from the newest durable one;
//! - the order of what is a set: votes, peers, members, messages held back;
//! - whether something empty has been allocated.
//!
//! For symmetry, the same tree is digested once for each renaming of the members that the scenario cannot tell apart.

/// 128 bits that stand for a state, or for a part of one. Parts are added up.
pub type Fingerprint = u128;

/// Another name for each member; place 0 is unused.
pub type Renaming = [u64; 5];

/// Every member by its own name.
pub const IDENTITY: Renaming = [0, 1, 2, 3, 4];

/// What a derived `Debug` text consists of.
#[derive(Debug)]
enum Tree<'a> {
    Word(&'a str),
    /// A tuple; the name is empty for one without.
    Named(&'a str, Vec<Tree<'a>>),
    Struct(&'a str, Vec<(&'a str, Tree<'a>)>),
    List(Vec<Tree<'a>>),
}

/// The fingerprint of a `Debug` text under each of the renamings.
pub fn fingerprints(text: &str, renamings: &[Renaming]) -> Vec<Fingerprint> {
    let mut rest = text;
    let tree = parse(&mut rest);
    assert!(rest.is_empty(), "a derived text is understood to its end: {rest}");
    let durable = newest_durable(&tree).unwrap_or(0);
    renamings.iter().map(|renaming| mix(View { renaming, durable }.digest(&tree, ""), 1)).collect()
}

/// The fingerprint of a few numbers.
pub fn of_numbers(numbers: impl IntoIterator<Item = u64>) -> Fingerprint {
    numbers.into_iter().fold(3, |digest, number| mix(digest, u128::from(number)))
}

fn mix(digest: Fingerprint, part: u128) -> Fingerprint {
    let product =
        (digest ^ part).wrapping_add(0x9E37_79B9_7F4A_7C15).wrapping_mul(0x2D99_7879_26D4_6932_A4C1_F326_80F7_0C55);
    let product = (product ^ product >> 67).wrapping_mul(0xDA94_2042_E4DD_58B5_94D0_49BB_1331_11EB);
    product ^ product >> 61
}

fn parse<'a>(rest: &mut &'a str) -> Tree<'a> {
    let length = rest.find([' ', ',', ':', '(', ')', '[', ']', '{', '}']).unwrap_or(rest.len());
    let (name, behind) = rest.split_at(length);
    *rest = behind;
    if name.is_empty() && eats(rest, "[") {
        return Tree::List(items(rest, "]", parse));
    }
    if eats(rest, "(") {
        return Tree::Named(name, items(rest, ")", parse));
    }
    if eats(rest, " { ") {
        return Tree::Struct(name, items(rest, " }", parse_field));
    }
    assert!(!name.is_empty(), "a derived text has no holes: {rest}");
    Tree::Word(name)
}

fn parse_field<'a>(rest: &mut &'a str) -> (&'a str, Tree<'a>) {
    let (name, behind) = rest.split_once(": ").expect("a field has a value");
    *rest = behind;
    (name, parse(rest))
}

fn items<'a, T>(rest: &mut &'a str, end: &str, one: impl Fn(&mut &'a str) -> T) -> Vec<T> {
    let mut all = Vec::new();
    while !eats(rest, end) {
        assert!(all.is_empty() || eats(rest, ", "), "items are separated: {rest}");
        all.push(one(rest));
    }
    all
}

fn eats(rest: &mut &str, token: &str) -> bool {
    rest.strip_prefix(token).map(|behind| *rest = behind).is_some()
}

/// The newest durable ticket of the replica in a text, if there is one.
fn newest_durable(tree: &Tree<'_>) -> Option<u64> {
    match tree {
        Tree::Word(_) => None,
        Tree::Named(_, parts) | Tree::List(parts) => parts.iter().find_map(newest_durable),
        Tree::Struct("Durability", fields) => {
            fields.iter().find(|(name, _)| *name == "durable").map(|(_, tree)| number(tree))
        }
        Tree::Struct(_, fields) => fields.iter().find_map(|(_, tree)| newest_durable(tree)),
    }
}

fn number(tree: &Tree<'_>) -> u64 {
    match tree {
        Tree::Word(digits) => digits.parse().expect("a number"),
        Tree::Named(_, parts) if parts.len() == 1 => number(&parts[0]),
        other => panic!("a number is expected: {other:?}"),
    }
}

fn is_empty(tree: &Tree<'_>) -> bool {
    match tree {
        Tree::Word(word) => *word == "None",
        Tree::List(items) => items.is_empty(),
        Tree::Struct(_, fields) => fields.iter().all(|(_, tree)| is_empty(tree)),
        Tree::Named(..) => false,
    }
}

struct View<'a> {
    renaming: &'a Renaming,
    durable: u64,
}

impl View<'_> {
    /// `place` is the innermost name around.
    fn digest(&self, tree: &Tree<'_>, place: &str) -> Fingerprint {
        match tree {
            Tree::Word(word) => words(word),
            Tree::Struct("ElectionTimer" | "Settings", _) => 5,
            Tree::Struct(name, fields) => fields
                .iter()
                .fold(words(name), |digest, (field, value)| mix(mix(digest, words(field)), self.digest(value, field))),
            Tree::Named("Ticket", _) => mix(7, u128::from(number(tree).saturating_sub(self.durable))),
            Tree::Named("NodeId", _) => self.member(number(tree)),
            Tree::Named("Optional", _) if ["voted_for", "term_leader"].contains(&place) => self.member(number(tree)),
            Tree::Named("Rare", parts) if matches!(&parts[0], Tree::Named("Some", held) if is_empty(&held[0])) => {
                mix(words("Rare"), words("None"))
            }
            Tree::Named(name, parts) => {
                let inner = if ["", "Some"].contains(name) { place } else { name };
                parts.iter().fold(words(name), |digest, part| mix(digest, self.digest(part, inner)))
            }
            Tree::List(items) if is_set(place) => {
                items.iter().fold(11, |sum: Fingerprint, item| sum.wrapping_add(mix(13, self.digest(item, place))))
            }
            Tree::List(items) => items.iter().fold(17, |digest, item| mix(digest, self.digest(item, place))),
        }
    }

    fn member(&self, id: u64) -> Fingerprint {
        mix(19, u128::from(self.renaming[usize::try_from(id).expect("few members")]))
    }
}

/// Lists whose order says nothing: by identity, or by chance of arrival.
fn is_set(place: &str) -> bool {
    ["peers", "voters", "outgoing", "learners", "attributes", "departing", "Votes", "withheld", "pulls"]
        .contains(&place)
}

fn words(text: &str) -> Fingerprint {
    text.as_bytes().chunks(8).fold(23, |digest, chunk| {
        let mut bytes = [0; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        mix(digest, u128::from(u64::from_le_bytes(bytes)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str, renaming: Renaming) -> Fingerprint {
        fingerprints(text, &[renaming])[0]
    }

    #[test]
    fn what_cannot_matter_is_left_out_and_nothing_else() {
        let text = |ticket: u64, durable: u64, timer: u64, votes: &str| {
            format!(
                "Node {{ durability: Durability {{ issued: Ticket({ticket}), durable: Ticket({durable}) }}, role: \
                 Candidate(Votes([{votes}])), timer: ElectionTimer {{ elapsed: {timer} }}, aside: Rare(None) }}"
            )
        };
        let same = [text(4, 3, 1, "NodeId(1), NodeId(2)"), text(9, 8, 2, "NodeId(2), NodeId(1)")];
        assert_eq!(one(&same[0], IDENTITY), one(&same[1], IDENTITY));
        for other in [text(5, 3, 1, "NodeId(1), NodeId(2)"), text(4, 3, 1, "NodeId(1), NodeId(3)")] {
            assert_ne!(one(&same[0], IDENTITY), one(&other, IDENTITY));
        }
        let empty = "Rare(Some(Aside { withheld: [], suspicion: None }))";
        assert_eq!(one(empty, IDENTITY), one("Rare(None)", IDENTITY));
    }

    #[test]
    fn members_can_be_renamed() {
        let text =
            |vote: u64, to: u64| format!("Node {{ voted_for: Optional({vote}), list: [(NodeId({to}), Index(2))] }}");
        let swapped = [0, 2, 1, 3, 4];
        assert_eq!(one(&text(1, 2), swapped), one(&text(2, 1), IDENTITY));
        assert_ne!(one(&text(1, 2), swapped), one(&text(1, 2), IDENTITY));
        assert_eq!(one(&text(0, 3), swapped), one(&text(0, 3), IDENTITY));
    }
}
