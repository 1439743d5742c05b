//! `version`.

use super::client::Context;
use super::failure::Failure;
use super::show::print;

/// Version of the API that the messages belong to.
const API_VERSION: &str = "3.7";

/// Prints the versions, in the same form whatever `-w` says.
pub fn run(_context: &Context) -> Result<(), Failure> {
    let number = kontiki_server::Versions::default().server;
    let text =
        format!("etcdctl version: {number}\nAPI version: {API_VERSION}\nKontiki version: {}\n", crate::version::NUMBER);
    print(text.as_bytes())
}
