//! Users, roles and log-ins.

use tonic::Code;

use super::*;
use crate::harness::{get, refused};

const FAILED: &str = "etcdserver: authentication failed, invalid user ID or password";

async fn log_in(member: &Member, name: &str, password: &str) -> Result<String, tonic::Status> {
    let request = AuthenticateRequest { name: name.into(), password: password.into() };
    member.auth().authenticate(request).await.map(|response| response.into_inner().token)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switching_on_and_off() {
    let member = Member::start().await;
    let mut auth = member.auth();
    let enable = rpc::AuthEnableRequest {};
    refused(auth.auth_enable(enable).await, Code::FailedPrecondition, "etcdserver: root user does not exist");
    auth.user_add(user_add("root", ROOT_PASSWORD)).await.unwrap();
    refused(auth.auth_enable(enable).await, Code::FailedPrecondition, "etcdserver: root user does not have root role");
    refused(
        log_in(&member, "root", ROOT_PASSWORD).await,
        Code::FailedPrecondition,
        "etcdserver: authentication is not enabled",
    );
    auth.user_grant_role(grant_role("root", "root")).await.unwrap();
    auth.auth_enable(enable).await.unwrap();
    let root = log_in(&member, "root", ROOT_PASSWORD).await.unwrap();
    auth.auth_enable(with(&root, enable)).await.unwrap();
    auth.auth_disable(with(&root, rpc::AuthDisableRequest {})).await.unwrap();
    member.range(get("anything")).await;
    // A token does not outlive the switch.
    auth.auth_enable(enable).await.unwrap();
    refused(member.kv().range(with(&root, get("a"))).await, Code::Unauthenticated, "etcdserver: invalid auth token");
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_ins_are_refused_alike_for_users_that_are_there_and_that_are_not() {
    let member = Member::start().await;
    let (root, alice) = closed(&member).await;
    for (name, password) in [("alice", "wrong"), ("alice", ""), ("nobody", "wrong"), ("", ""), ("alice", ROOT_PASSWORD)]
    {
        refused(log_in(&member, name, password).await, Code::InvalidArgument, FAILED);
    }
    let mut auth = member.auth();
    auth.user_add(with(&root, user_without_password("cn"))).await.unwrap();
    let no_password = "auth: authentication failed, password was given for no password user";
    refused(log_in(&member, "cn", "x").await, Code::Unknown, no_password);
    let change = |password: &str| rpc::AuthUserChangePasswordRequest {
        name: "alice".into(),
        password: password.into(),
        ..rpc::AuthUserChangePasswordRequest::default()
    };
    auth.user_change_password(with(&root, change("other"))).await.unwrap();
    refused(member.kv().range(with(&alice, get("a"))).await, Code::Unauthenticated, "etcdserver: invalid auth token");
    refused(log_in(&member, "alice", ALICE_PASSWORD).await, Code::InvalidArgument, FAILED);
    log_in(&member, "alice", "other").await.unwrap();
    refused(
        auth.user_change_password(with(&root, change(""))).await,
        Code::InvalidArgument,
        "etcdserver: invalid auth management",
    );
    let long = "x".repeat(73);
    refused(
        auth.user_change_password(with(&root, change(&long))).await,
        Code::Unknown,
        "bcrypt: password length exceeds 72 bytes",
    );
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_and_roles_are_shown_to_root_and_ones_own_to_oneself() {
    let member = Member::start().await;
    let (root, alice) = closed(&member).await;
    let mut auth = member.auth();
    let users = auth.user_list(with(&root, rpc::AuthUserListRequest {})).await.unwrap().into_inner().users;
    assert_eq!(users, ["alice", "root"]);
    let roles = auth.role_list(with(&root, rpc::AuthRoleListRequest {})).await.unwrap().into_inner().roles;
    assert_eq!(roles, ["root", "some"]);
    let user = |name: &str| rpc::AuthUserGetRequest { name: name.into() };
    let role = |name: &str| rpc::AuthRoleGetRequest { role: name.into() };
    assert_eq!(auth.user_get(with(&alice, user("alice"))).await.unwrap().into_inner().roles, ["some"]);
    let denied = "etcdserver: permission denied";
    refused(auth.user_get(with(&alice, user("root"))).await, Code::PermissionDenied, denied);
    refused(auth.role_get(with(&alice, role("root"))).await, Code::PermissionDenied, denied);
    let own = auth.role_get(with(&alice, role("some"))).await.unwrap().into_inner().perm;
    let shown: Vec<_> = own.iter().map(|perm| (perm.perm_type, &perm.key[..], &perm.range_end[..])).collect();
    assert_eq!(shown, [(1, &b"a"[..], &b""[..]), (0, b"a", b"c"), (1, b"b", b"")]);
    let all = auth.role_get(with(&root, role("root"))).await.unwrap().into_inner().perm;
    assert_eq!((all[0].perm_type, &all[0].key[..], &all[0].range_end[..]), (2, &b""[..], &b"\0"[..]));
    refused(auth.user_get(with(&root, user("x"))).await, Code::FailedPrecondition, "etcdserver: user name not found");
    refused(auth.role_get(with(&root, role("x"))).await, Code::FailedPrecondition, "etcdserver: role name not found");
    let without = rpc::AuthRoleGrantPermissionRequest { name: "some".into(), perm: None };
    refused(
        auth.role_grant_permission(with(&root, without)).await,
        Code::InvalidArgument,
        "etcdserver: permission not given",
    );
    member.stop().await;
}
