//! Users, roles and permissions. Passwords cannot be read from an etcd: who is not in the file of passwords gets one that
//! nobody knows.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use kontiki_api::auth::{Permission, UserAddOptions};
use kontiki_api::rpc::{
    AuthRoleAddRequest, AuthRoleGetRequest, AuthRoleGrantPermissionRequest, AuthRoleListRequest, AuthStatusRequest,
    AuthUserAddRequest, AuthUserGetRequest, AuthUserGrantRoleRequest, AuthUserListRequest,
};
use tonic::{Code, Status};

use crate::ctl::auth;
use crate::ctl::client::{Connection, Context};
use crate::ctl::failure::Failure;

/// The user and the role that may do everything.
const ROOT: &str = "root";

/// What the source knows about who may do what.
#[derive(Debug, Default, PartialEq)]
pub struct Access {
    pub enabled: bool,
    /// Counts changes; 0 where the source is too old to tell.
    pub revision: u64,
    pub roles: BTreeMap<String, Vec<Permission>>,
    /// Users with their roles.
    pub users: BTreeMap<String, Vec<String>>,
}

/// What became of it in the target.
#[derive(Debug, Default)]
pub struct Brought {
    /// Users whose password nobody knows.
    pub without_password: Vec<String>,
    /// Whether the check can be turned on: root can log in.
    pub root_can_log_in: bool,
}

/// Reads it.
pub async fn read(source: &Context) -> Result<Access, Failure> {
    source.read(read_at).await.map_err(|failure| failure.within("users and roles cannot be read"))
}

async fn read_at(at: &Connection) -> Result<Access, Status> {
    let mut client = at.auth();
    let (enabled, revision) = match client.auth_status(AuthStatusRequest {}).await {
        Ok(answer) => (answer.get_ref().enabled, answer.get_ref().auth_revision),
        // Before 3.5: there a login succeeds only where users are checked.
        Err(status) if status.code() == Code::Unimplemented => (at.logged_in(), 0),
        Err(status) => return Err(status),
    };
    let mut access = Access { enabled, revision, ..Default::default() };
    for role in client.role_list(AuthRoleListRequest {}).await?.into_inner().roles {
        let answer = client.role_get(AuthRoleGetRequest { role: role.clone() }).await?.into_inner();
        access.roles.insert(role, answer.perm);
    }
    for name in client.user_list(AuthUserListRequest {}).await?.into_inner().users {
        let answer = client.user_get(AuthUserGetRequest { name: name.clone() }).await?.into_inner();
        access.users.insert(name, answer.roles);
    }
    Ok(access)
}

/// Makes the same in the target, with the passwords that are known. What is there already stays.
pub async fn write(
    target: &Context,
    access: &Access,
    passwords: &BTreeMap<String, String>,
) -> Result<Brought, Failure> {
    let mut brought = Brought::default();
    for (role, permissions) in &access.roles {
        let request = AuthRoleAddRequest { name: role.clone() };
        target.read(async |to| exists(to.auth().role_add(request.clone()).await.map(|_| ()))).await?;
        // The role root may do everything without being told so.
        for permission in permissions.iter().filter(|_| role != ROOT) {
            let request = AuthRoleGrantPermissionRequest { name: role.clone(), perm: Some(permission.clone()) };
            target.read(async |to| to.auth().role_grant_permission(request.clone()).await.map(|_| ())).await?;
        }
    }
    for (name, roles) in &access.users {
        let known = passwords.get(name);
        let password = known.cloned().map_or_else(nobodys_password, Ok)?;
        let options = Some(UserAddOptions { no_password: false });
        let request = AuthUserAddRequest { name: name.clone(), password, options, hashed_password: String::new() };
        target.read(async |to| exists(to.auth().user_add(request.clone()).await.map(|_| ()))).await?;
        if known.is_none() {
            brought.without_password.push(name.clone());
        }
        for role in roles {
            let request = AuthUserGrantRoleRequest { user: name.clone(), role: role.clone() };
            target.read(async |to| to.auth().user_grant_role(request.clone()).await.map(|_| ())).await?;
        }
    }
    brought.root_can_log_in = access.users.contains_key(ROOT) && passwords.contains_key(ROOT);
    Ok(brought)
}

/// Turns the check on.
pub async fn enable(target: &Context) -> Result<(), Failure> {
    target.read(auth::enable).await
}

/// What exists already needs not be made.
fn exists(outcome: Result<(), Status>) -> Result<(), Status> {
    match outcome {
        Err(status) if status.message().ends_with("name already exists") => Ok(()),
        outcome => outcome,
    }
}

/// A password that is forgotten at once.
fn nobodys_password() -> Result<String, Failure> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).map_err(|error| Failure::error(format!("no randomness for passwords: {error}")))?;
    Ok(BASE64_STANDARD.encode(bytes))
}

/// Reads the file of passwords.
pub fn passwords(path: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| Failure::io(format!("cannot read --passwords {}: {error}", path.display())))?;
    parse(&text).map_err(|line| {
        Failure::input(format!("--passwords {}: line {line} is not written as user:password", path.display()))
    })
}

fn parse(text: &str) -> Result<BTreeMap<String, String>, usize> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty());
    let pair = |(number, line): (usize, &str)| {
        let (name, password) = line.split_once(':').ok_or(number + 1)?;
        if name.is_empty() || password.is_empty() { Err(number + 1) } else { Ok((name.into(), password.into())) }
    };
    lines.map(pair).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_file_of_passwords() {
        let passwords = parse("root:a:b\n\nalice:x\n").unwrap();
        assert_eq!(passwords["root"], "a:b");
        assert_eq!(passwords["alice"], "x");
        assert_eq!(parse("root:a\nalice\n"), Err(2));
        assert_eq!(parse("root:\n"), Err(1));
    }
}
