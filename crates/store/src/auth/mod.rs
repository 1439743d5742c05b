//! Who a caller is: passwords, tokens, certificates. What that one may do is decided in [`kontiki_kv`].
//!
//! - `passwords` hashes and checks beside everything else: a few at a time, and once for as long as a password holds.
//! - A *simple token* is 24 letters, a dot, and the index of the entry that gave it out. Members keep the letters' hash in
//!   the replicated state: so it is good on every member, for one that is restarted and for one that joins. `token_clock`
//!   judges its age: it lives for `--auth-token-ttl` from its last use on a member. A member that sees an old one used says
//!   so to all (`RenewToken`), and the leader takes those out that nobody has spoken of for half as long again.
//! - `jwt` signs and checks tokens that carry everything in themselves; nothing is kept of them.
//! - `door` is what the front door calls; `entry` is how an entry says in whose name it was proposed.

mod door;
mod entry;
mod jwt;
mod options;
mod passwords;
mod token;
mod token_clock;

pub use door::{Caller, ChangeAuth};
pub(crate) use entry::{read_body, write_proposer};
pub use options::AuthOptions;
pub(crate) use options::{Authority, Settings};
pub use token::TokenText;
pub(crate) use token_clock::TokenClock;
