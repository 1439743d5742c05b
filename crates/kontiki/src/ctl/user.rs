//! `user add`, `delete`, `get`, `list`, `passwd`, `grant-role` and `revoke-role`.

use clap::builder::BoolishValueParser;
use clap::{Args, Subcommand};
use kontiki_api::auth::UserAddOptions;
use kontiki_api::rpc::{
    AuthUserAddRequest, AuthUserChangePasswordRequest, AuthUserDeleteRequest, AuthUserGetRequest, AuthUserGetResponse,
    AuthUserGrantRoleRequest, AuthUserListRequest, AuthUserListResponse, AuthUserRevokeRoleRequest,
};

use super::auth_show::{Done, RoleShown, UserShown};
use super::client::Context;
use super::failure::Failure;
use super::show::print;
use super::{password, role};

/// Commands about users.
#[derive(Subcommand, Debug)]
pub enum UserCommand {
    /// Create a user.
    Add(AddArgs),
    /// Remove a user.
    Delete {
        /// The user
        #[arg(num_args = 0..)]
        name: Vec<String>,
    },
    /// Show the roles of a user.
    Get {
        /// The user
        #[arg(num_args = 0..)]
        name: Vec<String>,
        /// Show what these roles permit, too
        #[arg(long)]
        detail: bool,
    },
    /// List all users.
    List {
        #[arg(num_args = 0.., hide = true)]
        words: Vec<String>,
    },
    /// Change the password of a user.
    Passwd {
        /// The user
        #[arg(num_args = 0..)]
        name: Vec<String>,
        #[command(flatten)]
        source: Source,
    },
    /// Give a role to a user.
    GrantRole {
        /// The user and the role
        #[arg(num_args = 0.., value_names = ["USER", "ROLE"])]
        words: Vec<String>,
    },
    /// Take a role from a user.
    RevokeRole {
        /// The user and the role
        #[arg(num_args = 0.., value_names = ["USER", "ROLE"])]
        words: Vec<String>,
    },
}

/// Words and flags of `user add`.
#[derive(Args, Debug)]
pub struct AddArgs {
    /// The user, or user:password
    #[arg(num_args = 0..)]
    name: Vec<String>,
    #[command(flatten)]
    source: Source,
    /// The new user's password
    #[arg(long, default_value = "", hide_default_value = true)]
    new_user_password: String,
    /// Create a user that has no password: it shows a certificate to come in
    #[arg(long)]
    no_password: bool,
}

// Where a password comes from.
#[derive(Args, Debug)]
pub struct Source {
    /// Ask for the password, twice; if false, read it from standard input
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set, value_name = "BOOL", hide_possible_values = true)]
    interactive: bool,
}

impl Source {
    fn password(&self, name: &str) -> Result<String, Failure> {
        if self.interactive { password::choose(name) } else { password::word_of_stdin() }
    }
}

/// Runs one of the commands.
pub async fn run(context: &Context, command: UserCommand) -> Result<(), Failure> {
    match command {
        UserCommand::Add(args) => add(context, args).await,
        UserCommand::Delete { name } => delete(context, &name).await,
        UserCommand::Get { name, detail } => get(context, &name, detail).await,
        UserCommand::List { words } => list(context, &words).await,
        UserCommand::Passwd { name, source } => passwd(context, &name, &source).await,
        UserCommand::GrantRole { words } => grant_role(context, &words).await,
        UserCommand::RevokeRole { words } => revoke_role(context, &words).await,
    }
}

fn only_name<'a>(words: &'a [String], command: &str) -> Result<&'a str, Failure> {
    match words {
        [name] => Ok(name),
        _ => Err(Failure::arguments(format!("user {command} command requires user name as its argument"))),
    }
}

async fn add(context: &Context, args: AddArgs) -> Result<(), Failure> {
    let printer = context.printer::<Done>()?;
    let request = args.request()?;
    let answer = context.write(async |to| Ok(to.auth().user_add(request.clone()).await?.into_inner())).await?;
    printer.print(&Done { sentence: format!("User {} created", request.name), header: answer.header })
}

impl AddArgs {
    fn request(self) -> Result<AuthUserAddRequest, Failure> {
        let word = only_name(&self.name, "add")?;
        let (name, password) = match word.split_once(':') {
            _ if self.no_password => (word, String::new()),
            _ if !self.new_user_password.is_empty() => (word, self.new_user_password.clone()),
            Some(("", _)) => return Err(Failure::arguments("empty user name is not allowed")),
            Some((name, password)) => (name, password.to_string()),
            None => (word, self.source.password(word)?),
        };
        let options = Some(UserAddOptions { no_password: self.no_password });
        Ok(AuthUserAddRequest { name: name.into(), password, options, hashed_password: String::new() })
    }
}

async fn delete(context: &Context, words: &[String]) -> Result<(), Failure> {
    let printer = context.printer::<Done>()?;
    let name = only_name(words, "delete")?;
    let request = AuthUserDeleteRequest { name: name.into() };
    let answer = context.write(async |to| Ok(to.auth().user_delete(request.clone()).await?.into_inner())).await?;
    printer.print(&Done { sentence: format!("User {name} deleted"), header: answer.header })
}

async fn get(context: &Context, words: &[String], detail: bool) -> Result<(), Failure> {
    let name = only_name(words, "get")?.to_string();
    let printer = if detail { context.printer::<RoleShown>()? } else { context.printer::<UserShown>()? };
    let request = AuthUserGetRequest { name: name.clone() };
    let answer: AuthUserGetResponse =
        context.read(async |from| Ok(from.auth().user_get(request.clone()).await?.into_inner())).await?;
    if !detail {
        return printer.print(&UserShown { name, answer });
    }
    print(format!("User: {name}\n").as_bytes())?;
    for role in answer.roles {
        print(b"\n")?;
        let answer = role::fetch(context, &role).await?;
        printer.print(&RoleShown { name: role, answer })?;
    }
    Ok(())
}

async fn list(context: &Context, words: &[String]) -> Result<(), Failure> {
    let printer = context.printer::<AuthUserListResponse>()?;
    if !words.is_empty() {
        return Err(Failure::arguments("user list command requires no arguments"));
    }
    let request = AuthUserListRequest {};
    let answer = context.read(async |from| Ok(from.auth().user_list(request).await?.into_inner())).await?;
    printer.print(&answer)
}

async fn passwd(context: &Context, words: &[String], source: &Source) -> Result<(), Failure> {
    let printer = context.printer::<Done>()?;
    let name = only_name(words, "passwd")?;
    let password = source.password(name)?;
    let request = AuthUserChangePasswordRequest { name: name.into(), password, hashed_password: String::new() };
    let change =
        async |to: &super::client::Connection| Ok(to.auth().user_change_password(request.clone()).await?.into_inner());
    let answer = context.write(change).await?;
    printer.print(&Done { sentence: "Password updated".into(), header: answer.header })
}

async fn grant_role(context: &Context, words: &[String]) -> Result<(), Failure> {
    let printer = context.printer::<Done>()?;
    let [user, role] = words else {
        return Err(Failure::arguments("user grant command requires user name and role name as its argument"));
    };
    let request = AuthUserGrantRoleRequest { user: user.clone(), role: role.clone() };
    let answer = context.write(async |to| Ok(to.auth().user_grant_role(request.clone()).await?.into_inner())).await?;
    printer.print(&Done { sentence: format!("Role {role} is granted to user {user}"), header: answer.header })
}

async fn revoke_role(context: &Context, words: &[String]) -> Result<(), Failure> {
    let printer = context.printer::<Done>()?;
    let [user, role] = words else {
        return Err(Failure::arguments("user revoke-role requires user name and role name as its argument"));
    };
    let request = AuthUserRevokeRoleRequest { name: user.clone(), role: role.clone() };
    let answer = context.write(async |to| Ok(to.auth().user_revoke_role(request.clone()).await?.into_inner())).await?;
    printer.print(&Done { sentence: format!("Role {role} is revoked from user {user}"), header: answer.header })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn args(name: &str, password: &str, no_password: bool) -> AddArgs {
        let source = Source { interactive: false };
        AddArgs { name: vec![name.into()], source, new_user_password: password.into(), no_password }
    }

    #[test]
    fn where_a_new_password_comes_from() {
        let both = |args: AddArgs| args.request().map(|request| (request.name, request.password)).unwrap();
        assert_eq!(both(args("u:p:q", "", false)), ("u".into(), "p:q".into()));
        assert_eq!(both(args("u:p", "flag", false)), ("u:p".into(), "flag".into()));
        assert_eq!(both(args("u:p", "", true)), ("u:p".into(), String::new()));
        assert!(args("u", "", true).request().unwrap().options.unwrap().no_password);
        assert!(args(":p", "", false).request().unwrap_err().to_string().starts_with("empty user name"));
    }
}
