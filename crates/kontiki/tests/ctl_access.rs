//! Users and roles on the command line, against a member as a process; and how an import brings them over.
#![allow(clippy::unwrap_used)]

mod support;

use support::{Cluster, run};

/// Runs `kontiki ctl`; gives the exit code, and the output or the errors.
fn ctl(cluster: &Cluster, line: &str) -> (i32, String) {
    let endpoint = format!("--endpoints={}", cluster.client_url(0));
    let words: Vec<&str> = ["ctl", &endpoint].into_iter().chain(line.split(' ')).collect();
    let (status, out, err) = run(tempfile::tempdir().unwrap().path(), &words);
    let code = status.code().unwrap();
    (code, if code == 0 { out } else { err })
}

/// A server with users root and alice; alice may write below `boat/`.
async fn with_users() -> Cluster {
    let cluster = Cluster::start(1, &[]).await;
    let script = [
        ("put boat/name Fram", "OK\n"),
        ("put secret x", "OK\n"),
        ("user add root:rootpw", "User root created\n"),
        ("user add alice --new-user-password=alicepw", "User alice created\n"),
        ("role add sailor", "Role sailor created\n"),
        ("role grant-permission sailor readwrite boat/ --prefix", "Role sailor updated\n"),
        ("user grant-role alice sailor", "Role sailor is granted to user alice\n"),
        (
            "user get alice --detail",
            "User: alice\n\nRole sailor\nKV Read:\n\t[boat/, boat0) (prefix boat/)\nKV Write:\n\t[boat/, boat0) (prefix boat/)\n",
        ),
        ("auth enable", "Authentication Enabled\n"),
    ];
    for (line, expected) in script {
        assert_eq!(ctl(&cluster, line), (0, expected.to_string()), "{line}");
    }
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_do_what() {
    let cluster = with_users().await;
    let error = |text: &str| format!("Error: etcdserver: {text}\n");
    assert_eq!(ctl(&cluster, "get boat/name"), (1, error("user name is empty")));
    assert_eq!(ctl(&cluster, "--user alice:alicepw get boat/name"), (0, "boat/name\nFram\n".into()));
    assert_eq!(ctl(&cluster, "--user alice --password alicepw get secret"), (1, error("permission denied")));
    assert_eq!(
        ctl(&cluster, "--user alice:wrong get boat/name"),
        (2, error("authentication failed, invalid user ID or password"))
    );
    assert_eq!(ctl(&cluster, "--user root:rootpw user list"), (0, "alice\nroot\n".into()));
    assert_eq!(ctl(&cluster, "--user root:rootpw auth disable"), (0, "Authentication Disabled\n".into()));
    assert_eq!(ctl(&cluster, "get secret"), (0, "secret\nx\n".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn users_come_over_and_those_whose_password_is_known_can_log_in() {
    let source = with_users().await;
    let target = Cluster::start(1, &[]).await;
    let (from, to) = (format!("--from={}", source.client_url(0)), format!("--to={}", target.client_url(0)));
    let words = ["import", &from, "--from-user=root:rootpw", &to];
    let (status, out, err) = run(tempfile::tempdir().unwrap().path(), &words);
    assert!(status.success(), "{out}{err}");
    assert!(out.contains("check of users: on") && out.contains("user passwd NAME` for alice"), "{out}");
    assert_eq!(ctl(&target, "get secret").0, 1, "the check is on");
    assert_eq!(ctl(&target, "--user root:rootpw get secret"), (0, "secret\nx\n".into()));
    assert_eq!(ctl(&target, "--user root:rootpw user get alice"), (0, "User: alice\nRoles: sailor\n".into()));
    assert_eq!(ctl(&target, "--user alice:alicepw get boat/name").0, 2);
}
