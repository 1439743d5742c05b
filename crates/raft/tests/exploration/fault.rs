//! Faults of the driver, planted to see that the search finds what follows. The core stays as it is.

/// A rule that every driver breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Writes are reported durable when they are asked for.
    DurableTooEarly,
    /// Whatever a voter answers arrives as its vote.
    RefusalCountsAsVote,
    /// A crash loses the vote that was durable.
    VoteForgotten,
    /// A crash loses the last entry that was durable.
    EntryForgotten,
    /// The disk replaces entries one by one and keeps what was behind them.
    TruncationForgotten,
    /// Configurations travel without the old half of a joint one.
    JointHalfForgotten,
}
