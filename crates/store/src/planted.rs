//! Planting a bug in all crates of a store at once.

/// Plants this bug on this thread, in place of any other; zero plants none.
pub fn plant(bug: u8) {
    kontiki_raft::planted::plant(bug);
    kontiki_kv::planted::plant(bug);
}
