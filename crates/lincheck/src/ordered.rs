//! Checking an order that the store itself claims.
//!
//! Where answers carry a position in one total order, as etcd's revisions are, no search is needed: there is one order to
//! check. Two questions remain. Does it agree with real time? [`check`] answers this here, for all keys at once, in
//! O(n log n). Is every answer right in it? For that, replay the operations [`in_order`] against whatever the store
//! is meant to be.
//!
//! A write claims the position that it was given, a read that of the last write it could see. An operation whose position
//! was never learned has no claim: leave it out, or look its position up in the store afterwards.
//!
//! ```
//! use kontiki_lincheck::ordered::{Claim, Kind, Violation, check};
//!
//! let put = Claim { invoke: 0, returned: Some(3), position: 5, kind: Kind::Write, payload: "put" };
//! let get = Claim { invoke: 4, returned: Some(6), position: 4, kind: Kind::Read, payload: "get" };
//! let claims = [put, get]; // the get began when the put was over, and yet saw the store as it was before
//! let Err(Violation::RealTime { earlier, later }) = check(&claims) else { panic!() };
//! assert_eq!((earlier.payload, later.payload), ("put", "get"));
//! ```

use std::fmt;

use crate::history::{History, Operation};

/// Whether an operation takes a position or only sees one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// It took this position. Writes come before the reads of the same position.
    Write,
    /// It saw everything up to this position, and nothing after.
    Read,
}

/// An operation, and where in the order it claims to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim<P> {
    /// When it was invoked, in any unit.
    pub invoke: u64,
    /// When it returned, or `None` where its client did not learn of it. Of an invocation and a return at the same time nobody
    /// knows which was first; they do not order anything.
    pub returned: Option<u64>,
    /// The position claimed.
    pub position: u64,
    /// Whether it wrote or read.
    pub kind: Kind,
    /// Whatever helps the reader of a violation, or the caller's replay.
    pub payload: P,
}

/// Two operations whose claims contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation<'a, P> {
    /// The earlier one was over before the later one began, but the later one's position is not after it.
    RealTime {
        /// The one that was over.
        earlier: &'a Claim<P>,
        /// The one that began then.
        later: &'a Claim<P>,
    },
    /// Two writes claim one position.
    SamePosition {
        /// The one that was invoked first.
        first: &'a Claim<P>,
        /// The other one.
        second: &'a Claim<P>,
    },
}

impl<P: fmt::Debug> fmt::Display for Violation<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RealTime { earlier, later } => {
                writeln!(f, "the order contradicts real time:")?;
                writeln!(f, "  {earlier}")?;
                write!(f, "  was over before, but is not ordered before\n  {later}")
            }
            Self::SamePosition { first, second } => {
                write!(f, "two writes claim one position:\n  {first}\n  {second}")
            }
        }
    }
}

impl<P: fmt::Debug> std::error::Error for Violation<'_, P> {}

impl<P: fmt::Debug> fmt::Display for Claim<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { invoke, returned, position, kind, payload } = self;
        let until = returned.map_or_else(|| "?".to_owned(), |returned| returned.to_string());
        write!(f, "{kind:?} at position {position}, from {invoke} to {until}: {payload:?}")
    }
}

/// Whether the claimed order agrees with real time, and gives each write a position of its own.
///
/// # Errors
/// The first violation found, by the time of invocation; two writes of one position before any other.
pub fn check<P>(claims: &[Claim<P>]) -> Result<(), Violation<'_, P>> {
    let mut writes: Vec<&Claim<P>> = claims.iter().filter(|claim| claim.kind == Kind::Write).collect();
    writes.sort_by_key(|claim| (claim.position, claim.invoke));
    if let Some(pair) = writes.windows(2).find(|pair| pair[0].position == pair[1].position) {
        return Err(Violation::SamePosition { first: pair[0], second: pair[1] });
    }
    check_real_time(claims)
}

/// Whether the claimed order agrees with real time, where several writes may share a position.
///
/// # Errors
/// The first violation found, by the time of invocation.
pub fn check_real_time<P>(claims: &[Claim<P>]) -> Result<(), Violation<'_, P>> {
    let mut by_invoke: Vec<&Claim<P>> = claims.iter().collect();
    by_invoke.sort_by_key(|claim| claim.invoke);
    let mut by_return: Vec<(u64, &Claim<P>)> =
        claims.iter().filter_map(|claim| claim.returned.map(|returned| (returned, claim))).collect();
    by_return.sort_by_key(|&(returned, _)| returned);
    let mut over = by_return.into_iter().peekable();
    // The one that is last in the order, of those that are over.
    let mut last: Option<&Claim<P>> = None;
    for later in by_invoke {
        while let Some((_, claim)) = over.next_if(|&(returned, _)| returned < later.invoke) {
            if last.is_none_or(|last| place(last) < place(claim)) {
                last = Some(claim);
            }
        }
        if let Some(earlier) = last.filter(|earlier| place(earlier) > place(later)) {
            return Err(Violation::RealTime { earlier, later });
        }
    }
    Ok(())
}

/// The claimed order: by position, writes before the reads that saw them, then by invocation.
pub fn in_order<P>(claims: &[Claim<P>]) -> Vec<&Claim<P>> {
    let mut order: Vec<&Claim<P>> = claims.iter().collect();
    order.sort_by_key(|claim| (place(claim), claim.invoke));
    order
}

/// The claims of a history's operations; those for which `claim` knows none are left out.
///
/// Times are places in the sequence of events, so that what the history knows of the order of events is used.
pub fn claims<I, O>(
    history: &History<I, O>,
    claim: impl Fn(&Operation<I, O>) -> Option<(Kind, u64)>,
) -> Vec<Claim<&Operation<I, O>>> {
    let claims = history.spanned().filter_map(|(operation, span)| {
        let (kind, position) = claim(operation)?;
        let returned = span.end.map(|end| end as u64);
        Some(Claim { invoke: span.start as u64, returned, position, kind, payload: operation })
    });
    claims.collect()
}

fn place<P>(claim: &Claim<P>) -> (u64, Kind) {
    (claim.position, claim.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(kind: Kind, position: u64, invoke: u64, returned: impl Into<Option<u64>>) -> Claim<()> {
        Claim { invoke, returned: returned.into(), position, kind, payload: () }
    }

    fn write(position: u64, invoke: u64, returned: impl Into<Option<u64>>) -> Claim<()> {
        claim(Kind::Write, position, invoke, returned)
    }

    fn read(position: u64, invoke: u64, returned: impl Into<Option<u64>>) -> Claim<()> {
        claim(Kind::Read, position, invoke, returned)
    }

    #[test]
    fn concurrent_operations_may_take_any_order() {
        assert!(check(&[write(2, 0, 9), write(1, 1, 8), read(0, 2, 7), read(2, 3, 6), read(1, 4, 5)]).is_ok());
        assert!(check(&[write(2, 0, 5), write(1, 5, 6)]).is_ok(), "at the same time is concurrent");
    }

    #[test]
    fn a_read_that_misses_a_finished_write_is_stale() {
        let claims = [write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)];
        assert_eq!(check(&claims), Err(Violation::RealTime { earlier: &claims[1], later: &claims[2] }));
    }

    #[test]
    fn a_read_never_goes_back_behind_a_finished_read() {
        let claims = [write(1, 0, 20), read(1, 1, 2), read(0, 3, 4)];
        assert_eq!(check(&claims), Err(Violation::RealTime { earlier: &claims[1], later: &claims[2] }));
    }

    #[test]
    fn nobody_sees_a_write_that_has_not_begun() {
        let claims = [read(7, 0, 1), write(7, 2, 3)];
        let violation = check(&claims).unwrap_err();
        assert_eq!(violation, Violation::RealTime { earlier: &claims[0], later: &claims[1] });
        assert!(violation.to_string().contains("Read at position 7, from 0 to 1"));
    }

    #[test]
    fn a_position_belongs_to_one_write_unless_it_is_shared() {
        let claims = [write(3, 0, 1), write(3, 2, 3)];
        assert_eq!(check(&claims), Err(Violation::SamePosition { first: &claims[0], second: &claims[1] }));
        assert!(check_real_time(&claims).is_ok());
    }

    #[test]
    fn what_was_resolved_later_is_bound_by_its_invocation_only() {
        assert!(check(&[write(9, 0, None), read(8, 20, 21), read(9, 22, 23)]).is_ok());
        let claims = [write(5, 0, 1), write(4, 2, None)];
        assert!(check(&claims).is_err(), "it was invoked after 5 was over");
    }

    #[test]
    fn the_order_puts_writes_before_their_readers() {
        let claims = [read(1, 0, 9), write(2, 0, 9), write(1, 0, 9)];
        assert_eq!(in_order(&claims), [&claims[2], &claims[0], &claims[1]]);
    }

    /// Against the definition: every pair, of which one was over before the other began.
    #[test]
    fn it_agrees_with_the_definition_on_random_claims() {
        let mut random = 1_u64;
        let mut below = |bound: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % bound
        };
        let mut rejected = 0;
        for _ in 0..5_000 {
            let claims: Vec<_> = (0..2 + below(5))
                .map(|_| {
                    let invoke = below(12);
                    let kind = if below(2) == 0 { Kind::Read } else { Kind::Write };
                    claim(kind, below(6), invoke, (below(6) > 0).then(|| invoke + below(6)))
                })
                .collect();
            let over_before = |a: &Claim<()>, b: &Claim<()>| a.returned.is_some_and(|returned| returned < b.invoke);
            let wrong = claims
                .iter()
                .any(|a| claims.iter().any(|b| over_before(a, b) && (a.position, a.kind) > (b.position, b.kind)));
            assert_eq!(check_real_time(&claims).is_err(), wrong, "{claims:?}");
            rejected += u32::from(wrong);
        }
        assert!((1_000..4_000).contains(&rejected), "{rejected}");
    }
}
