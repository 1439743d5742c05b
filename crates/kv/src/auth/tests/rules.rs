use super::*;
use crate::auth::tokens::TOKENS_MAX;

#[test]
fn it_cannot_be_switched_on_without_root() {
    let mut machine = Machine::new();
    let enable = auth(AuthCommand::Enable);
    assert_eq!(machine.refusal(&enable), OperationError::RootUserNotExist);
    machine.must(&user_add("root"));
    assert_eq!(machine.refusal(&enable), OperationError::RootRoleNotExist);
    machine.must(&grant_role("root", "root")); // although nobody added that role
    let before = revision(&machine);
    machine.must(&enable);
    machine.must(&enable);
    assert_eq!(machine.kv.reader().auth_status(), (true, before), "switching on changes no user");
    machine.must(&auth(AuthCommand::Disable));
    assert_eq!(machine.kv.reader().auth_status(), (false, before + 1));
}

#[test]
fn each_change_of_users_and_roles_counts_once() {
    let mut machine = Machine::new();
    assert_eq!(revision(&machine), 1);
    let name = || "alice".to_owned();
    let commands = [
        user_add("alice"),
        role_add("r"),
        grant_role("alice", "r"),
        permit("r", PermissionKind::Read, keys("a", "c")),
        permit("r", PermissionKind::Write, keys("a", "c")), // the same range: another kind
        auth(AuthCommand::UserChangePassword { name: name(), password: hash("new") }),
        auth(AuthCommand::RoleRevokePermission { role: "r".into(), range: keys("a", "c") }),
        auth(AuthCommand::UserRevokeRole { user: name(), role: "r".into() }),
        grant_role("alice", "r"),
        auth(AuthCommand::RoleDelete { name: "r".into() }),
        auth(AuthCommand::UserDelete { name: name() }),
    ];
    for (at, command) in commands.iter().enumerate() {
        machine.must(command);
        assert_eq!(revision(&machine), at as u64 + 2, "{command:?}");
    }
    assert!(machine.kv.reader().user_names().is_empty() && machine.kv.reader().role_names().is_empty());
}

#[test]
fn a_role_that_is_granted_already_changes_nothing() {
    let mut machine = enabled();
    let before = revision(&machine);
    machine.must(&grant_role("root", "root"));
    assert_eq!(revision(&machine), before);
}

#[test]
fn refusals_are_etcds() {
    let mut machine = enabled();
    machine.must(&user_add("alice"));
    machine.must(&role_add("r"));
    let (alice, nobody, r) = (|| "alice".to_owned(), || "nobody".to_owned(), || "r".to_owned());
    let table = [
        (user_add(""), OperationError::UserEmpty),
        (user_add("alice"), OperationError::UserAlreadyExists),
        (role_add(""), OperationError::RoleEmpty),
        (role_add("r"), OperationError::RoleAlreadyExists),
        (auth(AuthCommand::UserDelete { name: nobody() }), OperationError::UserNotFound),
        (auth(AuthCommand::UserDelete { name: "root".into() }), OperationError::InvalidAuthManagement),
        (auth(AuthCommand::UserChangePassword { name: nobody(), password: hash("x") }), OperationError::UserNotFound),
        (grant_role("nobody", "r"), OperationError::UserNotFound),
        (grant_role("alice", "none"), OperationError::RoleNotFound),
        (auth(AuthCommand::UserRevokeRole { user: nobody(), role: r() }), OperationError::UserNotFound),
        (auth(AuthCommand::UserRevokeRole { user: alice(), role: r() }), OperationError::RoleNotGranted),
        (
            auth(AuthCommand::UserRevokeRole { user: "root".into(), role: "root".into() }),
            OperationError::InvalidAuthManagement,
        ),
        (auth(AuthCommand::RoleDelete { name: "none".into() }), OperationError::RoleNotFound),
        (auth(AuthCommand::RoleDelete { name: "root".into() }), OperationError::InvalidAuthManagement),
        (permit("none", PermissionKind::Read, keys("a", "")), OperationError::RoleNotFound),
        (permit("r", PermissionKind::Read, keys("", "")), OperationError::InvalidAuthManagement),
        (permit("r", PermissionKind::Read, keys("", "\0")), OperationError::InvalidAuthManagement),
        (permit("r", PermissionKind::Read, keys("b", "b")), OperationError::InvalidAuthManagement),
        (permit("r", PermissionKind::Read, keys("b", "a")), OperationError::InvalidAuthManagement),
        (
            auth(AuthCommand::RoleRevokePermission { role: r(), range: keys("a", "b") }),
            OperationError::PermissionNotGranted,
        ),
    ];
    for (command, refusal) in table {
        assert_eq!(machine.refusal(&command), refusal, "{command:?}");
    }
}

#[test]
fn with_authentication_off_root_is_a_user_like_others() {
    let mut machine = Machine::new();
    for command in [user_add("root"), role_add("root"), grant_role("root", "root")] {
        machine.must(&command);
    }
    machine.must(&auth(AuthCommand::UserRevokeRole { user: "root".into(), role: "root".into() }));
    machine.must(&auth(AuthCommand::RoleDelete { name: "root".into() }));
    machine.must(&auth(AuthCommand::UserDelete { name: "root".into() }));
}

#[test]
fn entries_are_decided_again_when_they_are_applied() {
    let mut machine = enabled();
    for command in [user_add("alice"), role_add("r"), grant_role("alice", "r")] {
        machine.must(&command);
    }
    let before = Proposer::User(subject(&machine, "alice"));
    machine.must(&permit("r", PermissionKind::Write, keys("a", "b")));
    let put = crate::tests::put("a", "1");
    assert_eq!(apply_as(&mut machine, &before, &put), Err(OperationError::AuthOldRevision));
    let now = Proposer::User(subject(&machine, "alice"));
    assert!(apply_as(&mut machine, &now, &put).is_ok());
    assert_eq!(apply_as(&mut machine, &now, &crate::tests::put("b", "1")), Err(OperationError::PermissionDenied));
    assert_eq!(apply_as(&mut machine, &now, &user_add("bob")), Err(OperationError::PermissionDenied));
    assert_eq!(apply_as(&mut machine, &Proposer::Anonymous, &put), Err(OperationError::UserEmpty));
    assert!(apply_as(&mut machine, &Proposer::Member, &put).is_ok());
}

/// What was given to a user who is deleted is not the next one's of that name, not even where that has the role root.
#[test]
fn a_user_made_anew_is_another_user() {
    let mut machine = enabled();
    for command in [user_add("alice"), grant_role("alice", "root")] {
        machine.must(&command);
    }
    let before = Proposer::User(subject(&machine, "alice"));
    for command in
        [auth(AuthCommand::UserDelete { name: "alice".into() }), user_add("alice"), grant_role("alice", "root")]
    {
        machine.must(&command);
    }
    assert_eq!(apply_as(&mut machine, &before, &user_add("bob")), Err(OperationError::AuthOldRevision));
}

fn issue(machine: &mut Machine, user: &str, digest: u8) -> Result<Reply, OperationError> {
    let since = machine.kv.reader().user(user).map_or(0, |user| user.since);
    let issue = AuthCommand::IssueToken { user: user.into(), since, digest: [digest; 32] };
    machine.apply(&auth(issue)).result
}

#[test]
fn tokens_go_with_what_they_rest_on() {
    let name = || "alice".to_owned();
    let ends: [fn() -> AuthCommand; 4] = [
        || AuthCommand::UserDelete { name: "alice".into() },
        || AuthCommand::UserChangePassword { name: "alice".into(), password: hash("x") },
        || AuthCommand::Disable,
        || AuthCommand::ExpireTokens { digests: vec![[7; 32]] },
    ];
    for end in ends {
        let mut machine = enabled();
        for command in [user_add("alice"), role_add("r"), grant_role("alice", "r")] {
            machine.must(&command);
        }
        let Reply::Auth(AuthReply::Issued { index }) = issue(&mut machine, "alice", 7).unwrap() else { panic!() };
        assert_eq!(index, machine.kv.applied().0);
        let (token, _) = machine.kv.reader().token(&[7; 32]).unwrap();
        assert_eq!((&*token.user, token.index), (&*name(), index));
        machine.must(&auth(end()));
        assert_eq!(machine.kv.reader().token(&[7; 32]), None, "{:?}", end());
    }
}

/// A role goes, its users stay who they are.
#[test]
fn tokens_outlive_roles() {
    let mut machine = enabled();
    for command in [user_add("alice"), role_add("r"), grant_role("alice", "r")] {
        machine.must(&command);
    }
    issue(&mut machine, "alice", 7).unwrap();
    machine.must(&auth(AuthCommand::RoleDelete { name: "r".into() }));
    assert!(machine.kv.reader().token(&[7; 32]).is_some());
    assert!(machine.kv.reader().user("alice").unwrap().roles.is_empty());
}

#[test]
fn a_token_is_given_out_only_for_the_password_that_was_checked() {
    let mut machine = enabled();
    machine.must(&user_add("alice"));
    let since = machine.kv.reader().user("alice").unwrap().since;
    machine.must(&auth(AuthCommand::UserChangePassword { name: "alice".into(), password: hash("new") }));
    let late = AuthCommand::IssueToken { user: "alice".into(), since, digest: [1; 32] };
    assert_eq!(machine.refusal(&auth(late)), OperationError::AuthFailed);
    assert_eq!(issue(&mut machine, "nobody", 1), Err(OperationError::AuthFailed));
    machine.must(&auth(AuthCommand::Disable));
    assert_eq!(issue(&mut machine, "alice", 1), Err(OperationError::AuthNotEnabled));
}

#[test]
fn beyond_the_most_the_oldest_token_goes() {
    let mut machine = enabled();
    for digest in 0..=u8::try_from(TOKENS_MAX).unwrap() {
        issue(&mut machine, "root", digest).unwrap();
    }
    assert_eq!(machine.kv.reader().token_digests().len(), TOKENS_MAX);
    assert!(machine.kv.reader().token(&[0; 32]).is_none() && machine.kv.reader().token(&[1; 32]).is_some());
}

#[test]
fn a_user_without_a_password_is_not_given_one() {
    let mut machine = enabled();
    machine.must(&auth(AuthCommand::UserAdd { name: "cn".into(), password: None }));
    machine.must(&auth(AuthCommand::UserChangePassword { name: "cn".into(), password: hash("x") }));
    assert_eq!(machine.kv.reader().user("cn").unwrap().password, None);
}

/// CVE-2021-28235: nothing that could be logged shows what a password became.
#[test]
fn commands_and_users_show_no_hashes() {
    let mut machine = enabled();
    let secret = AuthCommand::UserAdd { name: "alice".into(), password: Some(hash("$2b$10$secret")) };
    let change = AuthCommand::UserChangePassword { name: "alice".into(), password: hash("$2b$10$secret") };
    let issue = AuthCommand::IssueToken { user: "alice".into(), since: 1, digest: [42; 32] };
    machine.must(&auth(secret.clone()));
    let user = machine.kv.reader().user("alice").unwrap();
    for shown in [format!("{secret:?}"), format!("{change:?}"), format!("{issue:?}"), format!("{user:?}")] {
        assert!(!shown.contains("secret") && !shown.contains("42, 42"), "{shown}");
    }
}
