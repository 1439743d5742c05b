//! Proposing a command and taking its reply apart.

use kontiki_kv::{Command, Reply};
use kontiki_store::Applied;
use tonic::Status;

use crate::errors;
use crate::front::Front;

/// Replicates and applies a command.
pub(crate) async fn propose(front: &Front, command: Command) -> Result<Applied, Status> {
    front.store.propose(command).await.map_err(errors::store)
}

/// A reply that does not belong to its command. Nothing outside can bring this about.
pub(crate) fn mismatch(reply: &Reply) -> ! {
    panic!("the reply does not belong to the command: {reply:?}")
}
