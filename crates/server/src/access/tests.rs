#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use kontiki_api::rpc;
use kontiki_kv::{AuthCommand, Command};
use kontiki_store::{
    AuthOptions, Caller, ChangeAuth, Given, InitialMember, MembershipOptions, Options, Tuning, Upkeep,
};
use tokio::sync::watch;

use super::*;
use crate::arrival::CommonName;
use crate::dispatch::{Binary, unary};
use crate::methods::METHODS;
use crate::metrics::Metrics;
use crate::options::ServerOptions;
use crate::serve::settings;

/// What needs nobody is this and no more.
#[test]
fn four_methods_are_for_everybody() {
    let open: Vec<_> =
        METHODS.iter().filter(|info| rule(info.method) == Rule::Everybody).map(|info| info.method).collect();
    assert_eq!(open, [Method::AuthStatus, Method::Authenticate, Method::HealthCheck, Method::HealthWatch]);
}

/// Methods decided by their requests refuse one that says nothing; the others do not look at it.
#[test]
fn the_administration_is_roots() {
    for info in &METHODS {
        let names = info.names();
        let administration = names.0 == "etcdserverpb.Auth"
            && !["AuthStatus", "Authenticate", "UserGet", "RoleGet"].contains(&names.1)
            || names.0 == "etcdserverpb.Cluster" && names.1 != "MemberList"
            || names.0 == "etcdserverpb.Maintenance" && !["Status", "Alarm"].contains(&names.1)
            || names.1 == "Compact";
        assert_eq!(rule(info.method) == Rule::Root, administration, "{}", info.path);
    }
}

/// A front door without a door: calls are dispatched directly.
async fn front(dir: &tempfile::TempDir) -> Arc<Front> {
    front_with(dir, "simple").await
}

async fn front_with(dir: &tempfile::TempDir, token: &str) -> Arc<Front> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer_url = format!("http://{}", listener.local_addr().unwrap());
    let store = Store::start(Options {
        name: "solo".into(),
        given: Given::default(),
        data_dir: dir.path().to_path_buf(),
        wal_dir: None,
        initial_cluster: vec![InitialMember { name: "solo".into(), peer_urls: vec![peer_url.clone()] }],
        initial_cluster_token: "access".into(),
        new_cluster: true,
        force_new_cluster: false,
        advertise_peer_urls: vec![peer_url],
        advertise_client_urls: vec!["http://127.0.0.1:1".into()],
        peer_listeners: vec![listener.into()],
        peer_connector: None,
        heartbeat_interval: Duration::from_millis(10),
        election_timeout: Duration::from_millis(100),
        pre_vote: true,
        quota_bytes: 0,
        trailing_entries: 5000,
        progress_notify_interval: Duration::from_secs(600),
        request_bytes_max: 1 << 20,
        auth: AuthOptions { bcrypt_cost: 4, token: token.into(), ..AuthOptions::default() },
        membership: MembershipOptions::default(),
        upkeep: Upkeep::default(),
        tuning: Tuning::default(),
    })
    .await
    .unwrap();
    store.leadership().wait_for(|now| now.is_leader).await.unwrap();
    let add = ChangeAuth::UserAdd { name: "root".into(), password: None };
    store.change_auth(add).await.unwrap();
    let grant = AuthCommand::UserGrantRole { user: "root".into(), role: "root".into() };
    store.propose(Command::Auth(grant)).await.unwrap();
    store.propose(Command::Auth(AuthCommand::Enable)).await.unwrap();
    let (_, stopping) = watch::channel(false);
    Arc::new(Front::new(store, settings(&ServerOptions::default()), Metrics::new(false), stopping))
}

async fn users(front: &Front, caller: Caller) -> Result<(), Status> {
    unary::<Binary>(&front.called(caller), Method::UserList, Bytes::new()).await.map(drop)
}

/// CVE-2018-16886: the gateway took the certificate of whoever connected to it for the user.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cve_2018_16886_a_certificate_is_nobody_through_the_gateway() {
    let dir = tempfile::tempdir().unwrap();
    let front = front(&dir).await;
    let mut request = Request::new(());
    request.extensions_mut().insert(CommonName("root".into()));
    // Over gRPC the name is the user, unless there is a token.
    users(&front, caller(&request)).await.unwrap();
    request.headers_mut().insert("token", "strange.1".parse().unwrap());
    assert_eq!(users(&front, caller(&request)).await.unwrap_err().code(), Code::Unauthenticated);
    // Through the gateway it never is, not even where it would come along.
    let empty = "etcdserver: user name is empty";
    assert_eq!(users(&front, gateway_caller(None)).await.unwrap_err().message(), empty);
    let smuggled = Caller { common_name: Some("root".into()), ..gateway_caller(None) };
    assert_eq!(users(&front, smuggled).await.unwrap_err().message(), empty);
    assert!(is_certified(request.extensions()));
    let body = http_body_util::Full::new(Bytes::new());
    let mut post = Request::post("/v3/auth/user/list").body(body).unwrap();
    post.extensions_mut().insert(CommonName("root".into()));
    let response = crate::web::respond(&front, crate::accept::Side::Clients, post).await;
    assert_eq!(response.status(), http::StatusCode::BAD_REQUEST);
    front.store.stop().await;
}

/// A user without a password proves itself by its certificate only; one that does not exist may do nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_no_user_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let front = front(&dir).await;
    let named = |name: &str| Caller { common_name: Some(name.into()), ..Caller::default() };
    assert_eq!(users(&front, named("stranger")).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(users(&front, named("")).await.unwrap_err().message(), "etcdserver: user name is empty");
    front.store.stop().await;
}

/// A signed token is good until users or roles change; for the administration, until its user's password does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signed_tokens_end_with_the_auth_revision() {
    let (dir, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let secret = keys.path().join("secret");
    std::fs::write(&secret, "a secret that members share, long enough").unwrap();
    let front = front_with(&dir, &format!("jwt,sign-method=HS256,priv-key={}", secret.display())).await;
    let own = front.store.acting_for(Proposer::Member);
    let change = |command| async { own.propose(Command::Auth(command)).await.unwrap() };
    let add = ChangeAuth::UserAdd { name: "admin".into(), password: Some("secret".into()) };
    own.change_auth(add).await.unwrap();
    change(AuthCommand::UserGrantRole { user: "admin".into(), role: "root".into() }).await;
    let (token, ..) = front.store.authenticate("admin", "secret".into()).await.unwrap();
    let caller = || Caller { token: Some(token.clone()), ..Caller::default() };
    let range = || async {
        let request = rpc::RangeRequest { key: "a".into(), ..rpc::RangeRequest::default() };
        admit(&front.called(caller()), Method::Range, &request).await.map(|_| ())
    };
    range().await.unwrap();
    users(&front, caller()).await.unwrap();
    change(AuthCommand::RoleAdd { name: "r".into() }).await;
    let old = "etcdserver: revision of auth store is old";
    assert_eq!(range().await.unwrap_err().message(), old);
    users(&front, caller()).await.unwrap();
    let password = ChangeAuth::ChangePassword { name: "admin".into(), password: "other".into() };
    own.change_auth(password).await.unwrap();
    assert_eq!(users(&front, caller()).await.unwrap_err().message(), old);
    front.store.stop().await;
}

/// What was admitted while authentication was off, or by other users and roles, is not answered by the new ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_is_confirmed() {
    let dir = tempfile::tempdir().unwrap();
    let front = front(&dir).await;
    let old = "etcdserver: revision of auth store is old";
    assert_eq!(Pass::Open.confirm(&front).unwrap_err().message(), old);
    let called = front.called(Caller { common_name: Some("root".into()), ..Caller::default() });
    let pass =
        admit(&called, Method::Range, &rpc::RangeRequest { key: "a".into(), ..Default::default() }).await.unwrap();
    pass.confirm(&called).unwrap();
    let add = AuthCommand::RoleAdd { name: "r".into() };
    front.store.acting_for(Proposer::Member).propose(Command::Auth(add)).await.unwrap();
    assert_eq!(pass.confirm(&called).unwrap_err().message(), old);
    front.store.stop().await;
}
