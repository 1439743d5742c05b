//! `version`.

use super::client::Context;
use super::failure::Failure;
use super::show::print;

/// Version of the API that the messages belong to.
const API_VERSION: &str = "3.7";

/// Prints the versions, in the same form whatever `-w` says.
pub fn run(_context: &Context) -> Result<(), Failure> {
    print(format!("kontiki ctl version: {}\nAPI version: {API_VERSION}\n", env!("CARGO_PKG_VERSION")).as_bytes())
}
