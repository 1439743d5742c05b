//! What recovery makes of the batch that it expects at a place: the decision table of `docs/formats/log.md`.

use crate::error::Proof;

/// Where the identity of a batch is known from: its header and directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// The segment's file has them, whole.
    Here,
    /// They are damaged there; the ledger has a whole copy.
    Ledger,
    /// Neither.
    Nowhere,
}

/// All that can be said of a place where a batch should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Evidence {
    pub(crate) known: Known,
    /// All payloads that the directory names are whole.
    pub(crate) whole: bool,
    /// What shows that the batch was durable once.
    pub(crate) proof: Option<Proof>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is as it was written.
    Keep,
    /// It was durable; its damaged payloads are lost, by name.
    Gap,
    /// As `Keep`; its header and directory are put right from the ledger.
    Restore,
    /// As `Gap`; its header and directory are put right from the ledger.
    RestoreGap,
    /// The log ends before it: its write was never reported.
    Cut,
    /// It was durable, and nobody knows what was in it.
    Refuse(Proof),
}

impl Evidence {
    /// A write is begun only when the one before it is durable, a row of the ledger is written only when its batch is, and
    /// a segment is named only when its first batch is. So each of these proves it, and without any of them the batch was
    /// never reported.
    pub(crate) fn judge(self) -> Verdict {
        match (self.known, self.whole, self.proof) {
            (Known::Here, true, _) => Verdict::Keep,                    // 1
            (Known::Here, false, Some(_)) => Verdict::Gap,              // 2
            (Known::Here, false, None) => Verdict::Cut,                 // 3
            (Known::Ledger, true, _) => Verdict::Restore,               // 4
            (Known::Ledger, false, _) => Verdict::RestoreGap,           // 5: the row itself is the proof
            (Known::Nowhere, _, Some(proof)) => Verdict::Refuse(proof), // 6
            (Known::Nowhere, _, None) => Verdict::Cut,                  // 7
        }
    }
}
