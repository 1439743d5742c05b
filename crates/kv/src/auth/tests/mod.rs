//! Users, roles and permissions: the rules one by one, and decisions against a monitor that knows no better than to try
//! every key.

mod durable;
mod monitor;
mod rules;

use bytes::Bytes;

use crate::tests::{Machine, keys};
use crate::*;

fn auth(command: AuthCommand) -> Command {
    Command::Auth(command)
}

fn hash(text: &str) -> PasswordHash {
    PasswordHash(Bytes::copy_from_slice(text.as_bytes()))
}

fn user_add(name: &str) -> Command {
    auth(AuthCommand::UserAdd { name: name.into(), password: Some(hash("$2b$04$hash")) })
}

fn role_add(name: &str) -> Command {
    auth(AuthCommand::RoleAdd { name: name.into() })
}

fn grant_role(user: &str, role: &str) -> Command {
    auth(AuthCommand::UserGrantRole { user: user.into(), role: role.into() })
}

fn permit(role: &str, kind: PermissionKind, range: KeyRange) -> Command {
    auth(AuthCommand::RoleGrantPermission { role: role.into(), permission: Permission { kind, range } })
}

/// With the user root, who has the role root, and authentication on.
fn enabled() -> Machine {
    let mut machine = Machine::new();
    for command in [user_add("root"), role_add("root"), grant_role("root", "root"), auth(AuthCommand::Enable)] {
        machine.must(&command);
    }
    machine
}

fn revision(machine: &Machine) -> u64 {
    machine.kv.reader().auth_status().1
}

fn subject(machine: &Machine, user: &str) -> Subject {
    Subject { user: user.into(), revision: revision(machine) }
}

fn apply_as(machine: &mut Machine, proposer: &Proposer, command: &Command) -> Result<Reply, OperationError> {
    let index = machine.kv.applied().0 + 1;
    machine.kv.batch().apply_as(index, 1, proposer, command).unwrap().result
}
