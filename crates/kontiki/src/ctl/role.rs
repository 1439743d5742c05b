//! `role add`, `delete`, `get`, `list`, `grant-permission` and `revoke-permission`.

use std::ffi::OsString;

use bytes::Bytes;
use clap::{Args, Subcommand};
use kontiki_api::auth::Permission;
use kontiki_api::auth::permission::Type;
use kontiki_api::rpc::{
    AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGetRequest, AuthRoleGetResponse, AuthRoleGrantPermissionRequest,
    AuthRoleListRequest, AuthRoleListResponse, AuthRoleRevokePermissionRequest,
};

use super::auth_show::{Done, RoleShown};
use super::client::Context;
use super::failure::Failure;
use super::keys::{OPEN, bytes, prefix_end};

/// Commands about roles.
#[derive(Subcommand, Debug)]
pub enum RoleCommand {
    /// Create a role.
    Add {
        /// The role
        #[arg(num_args = 0..)]
        name: Vec<String>,
    },
    /// Remove a role.
    Delete {
        /// The role
        #[arg(num_args = 0..)]
        name: Vec<String>,
    },
    /// Show what a role permits.
    Get {
        /// The role
        #[arg(num_args = 0..)]
        name: Vec<String>,
    },
    /// List all roles.
    List {
        #[arg(num_args = 0.., hide = true)]
        words: Vec<String>,
    },
    /// Let a role read, write or do both to a key or a range of keys.
    GrantPermission {
        /// The role, the permission (read, write or readwrite) and the key, or the first key and the end of a range
        #[arg(num_args = 0.., value_names = ["ROLE", "PERMISSION", "KEY", "RANGE_END"])]
        words: Vec<OsString>,
        #[command(flatten)]
        meaning: Meaning,
    },
    /// Take a permission from a role.
    RevokePermission {
        /// The role and the key, or the first key and the end of a range, as they were granted
        #[arg(num_args = 0.., value_names = ["ROLE", "KEY", "RANGE_END"])]
        words: Vec<OsString>,
        #[command(flatten)]
        meaning: Meaning,
    },
}

// How the words for keys are meant.
#[derive(Args, Clone, Copy, Debug)]
pub struct Meaning {
    /// All keys that begin with KEY
    #[arg(long)]
    prefix: bool,
    /// All keys from KEY on
    #[arg(long)]
    from_key: bool,
}

/// Runs one of the commands.
pub async fn run(context: &Context, command: RoleCommand) -> Result<(), Failure> {
    match command {
        RoleCommand::Add { name } => add(context, &name).await,
        RoleCommand::Delete { name } => delete(context, &name).await,
        RoleCommand::Get { name } => {
            let printer = context.printer::<RoleShown>()?;
            let name = only_name(&name, "get")?;
            printer.print(&RoleShown { name: name.into(), answer: fetch(context, name).await? })
        }
        RoleCommand::List { words } => list(context, &words).await,
        RoleCommand::GrantPermission { words, meaning } => grant(context, words, meaning).await,
        RoleCommand::RevokePermission { words, meaning } => revoke(context, words, meaning).await,
    }
}

/// Asks for a role's permissions.
pub async fn fetch(context: &Context, role: &str) -> Result<AuthRoleGetResponse, Failure> {
    let request = AuthRoleGetRequest { role: role.into() };
    context.read(async |from| Ok(from.auth().role_get(request.clone()).await?.into_inner())).await
}

fn only_name<'a>(words: &'a [String], command: &str) -> Result<&'a str, Failure> {
    match words {
        [name] => Ok(name),
        _ => Err(Failure::arguments(format!("role {command} command requires role name as its argument"))),
    }
}

async fn add(context: &Context, words: &[String]) -> Result<(), Failure> {
    let printer = context.printer::<Done>()?;
    let name = only_name(words, "add")?;
    let request = AuthRoleAddRequest { name: name.into() };
    let answer = context.write(async |to| Ok(to.auth().role_add(request.clone()).await?.into_inner())).await?;
    printer.print(&Done { sentence: format!("Role {name} created"), header: answer.header })
}

async fn delete(context: &Context, words: &[String]) -> Result<(), Failure> {
    let printer = context.printer::<Done>()?;
    let name = only_name(words, "delete")?;
    let request = AuthRoleDeleteRequest { role: name.into() };
    let answer = context.write(async |to| Ok(to.auth().role_delete(request.clone()).await?.into_inner())).await?;
    printer.print(&Done { sentence: format!("Role {name} deleted"), header: answer.header })
}

async fn list(context: &Context, words: &[String]) -> Result<(), Failure> {
    let printer = context.printer::<AuthRoleListResponse>()?;
    if !words.is_empty() {
        return Err(Failure::arguments("role list command requires no arguments"));
    }
    let request = AuthRoleListRequest {};
    let answer = context.read(async |from| Ok(from.auth().role_list(request).await?.into_inner())).await?;
    printer.print(&answer)
}

async fn grant(context: &Context, words: Vec<OsString>, meaning: Meaning) -> Result<(), Failure> {
    let printer = context.printer::<Done>()?;
    let [role, kind, keys @ ..] = words.as_slice() else {
        return Err(too_few_to_grant());
    };
    if keys.is_empty() {
        return Err(too_few_to_grant());
    }
    let kind = match kind.to_string_lossy().to_uppercase().as_str() {
        "READ" => Type::Read,
        "WRITE" => Type::Write,
        "READWRITE" => Type::Readwrite,
        _ => return Err(Failure::arguments(format!("invalid permission type: {}", kind.to_string_lossy()))),
    };
    let name = role.to_string_lossy().into_owned();
    let (key, range_end) = range(keys, meaning)?;
    let perm = Some(Permission { perm_type: kind as i32, key, range_end });
    let request = AuthRoleGrantPermissionRequest { name: name.clone(), perm };
    let change =
        async |to: &super::client::Connection| Ok(to.auth().role_grant_permission(request.clone()).await?.into_inner());
    let answer = context.write(change).await?;
    printer.print(&Done { sentence: format!("Role {name} updated"), header: answer.header })
}

fn too_few_to_grant() -> Failure {
    Failure::arguments("role grant command requires role name, permission type, and key [endkey] as its argument")
}

async fn revoke(context: &Context, words: Vec<OsString>, meaning: Meaning) -> Result<(), Failure> {
    let printer = context.printer::<Done>()?;
    let [role, keys @ ..] = words.as_slice() else {
        return Err(too_few_to_revoke());
    };
    if keys.is_empty() {
        return Err(too_few_to_revoke());
    }
    let role = role.to_string_lossy().into_owned();
    let (key, range_end) = range(keys, meaning)?;
    let shown = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let sentence = match &range_end[..] {
        b"" => format!("Permission of key {} is revoked from role {role}", shown(&key)),
        b"\0" => format!("Permission of range [{}, <open ended> is revoked from role {role}", shown(&key)),
        _ => format!("Permission of range [{}, {}) is revoked from role {role}", shown(&key), shown(&range_end)),
    };
    let request = AuthRoleRevokePermissionRequest { role, key, range_end };
    let change = async |to: &super::client::Connection| {
        Ok(to.auth().role_revoke_permission(request.clone()).await?.into_inner())
    };
    let answer = context.write(change).await?;
    printer.print(&Done { sentence, header: answer.header })
}

fn too_few_to_revoke() -> Failure {
    Failure::arguments("role revoke-permission command requires role name and key [endkey] as its argument")
}

/// The range that the words behind the role mean. An empty key is the first one that there can be.
fn range(words: &[OsString], meaning: Meaning) -> Result<(Bytes, Bytes), Failure> {
    let complain = |text: &str| Err(Failure::arguments(text));
    let key = bytes(words[0].clone());
    let open = Bytes::from_static(OPEN);
    match (words.get(1), meaning.prefix, meaning.from_key) {
        (None, true, true) => complain("--from-key and --prefix flags are mutually exclusive"),
        (Some(_), true, _) => complain("unexpected endkey argument with --prefix flag"),
        (Some(_), _, true) => complain("unexpected endkey argument with --from-key flag"),
        (Some(end), false, false) => Ok((if key.is_empty() { open } else { key }, bytes(end.clone()))),
        (None, ..) if key.is_empty() && (meaning.prefix || meaning.from_key) => Ok((open.clone(), open)),
        (None, true, false) => Ok((key.clone(), prefix_end(&key))),
        (None, false, true) => Ok((key, open)),
        (None, false, false) => Ok((if key.is_empty() { open } else { key }, Bytes::new())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ranges() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let range = |given: &[&str], prefix, from_key| {
            let range = range(&words(given), Meaning { prefix, from_key });
            range.map(|(key, end)| (String::from_utf8(key.to_vec()).unwrap(), String::from_utf8(end.to_vec()).unwrap()))
        };
        let pair = |key: &str, end: &str| (key.to_string(), end.to_string());
        assert_eq!(range(&["a"], false, false).unwrap(), pair("a", ""));
        assert_eq!(range(&["a", "c"], false, false).unwrap(), pair("a", "c"));
        assert_eq!(range(&["a"], true, false).unwrap(), pair("a", "b"));
        assert_eq!(range(&["a"], false, true).unwrap(), pair("a", "\0"));
        assert_eq!(range(&[""], true, false).unwrap(), pair("\0", "\0"));
        assert!(range(&["a"], true, true).is_err());
        assert!(range(&["a", "b"], true, false).is_err());
    }
}
