//! Passwords and tokens stay where they belong.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::harness::{get, put};

/// What the program says, at every level.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Said {
    type Writer = Said;

    fn make_writer(&'a self) -> Said {
        self.clone()
    }
}

impl Said {
    /// All tests of the process write to it once it is asked for.
    fn listen() -> Said {
        static SAID: OnceLock<Said> = OnceLock::new();
        let listen = || {
            let said = Said::default();
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_ansi(false)
                .with_writer(said.clone())
                .finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
            said
        };
        SAID.get_or_init(listen).clone()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_redaction_and_an_audit_record_for_each_refusal() {
    let said = Said::listen();
    let member = Member::start().await;
    let (_, alice) = closed(&member).await;
    let secret_key = "key-Hn5sQy9d";
    member.kv().put(with(&alice, put(secret_key, "1"))).await.unwrap_err();
    member.kv().range(with("forged-token-Kd83.5", get("a"))).await.unwrap_err();
    member.kv().put(with(&alice, put("a", "value-Ux6tBb3e"))).await.unwrap();
    let wrong = AuthenticateRequest { name: "alice".into(), password: "wrong-pass-Jm2cVf8s".into() };
    member.auth().authenticate(wrong).await.unwrap_err();
    let text = said.text();
    let letters = alice.split_once('.').unwrap().0;
    let secrets =
        [ROOT_PASSWORD, ALICE_PASSWORD, letters, secret_key, "Ux6tBb3e", "forged-token-Kd83", "wrong-pass-Jm2"];
    for secret in secrets {
        let line = text.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
    let refusal = |what: &str| {
        text.lines().any(|line| line.contains("audit") && line.contains("/etcdserverpb.KV/") && line.contains(what))
    };
    assert!(refusal("permission denied") && refusal("invalid auth token"), "{text}");
    assert!(text.lines().any(|line| line.contains("audit") && line.contains("alice") && line.contains("ranges=")));
    assert!(text.lines().any(|line| line.contains("audit") && line.contains("/etcdserverpb.Auth/Authenticate")));
    member.stop().await;
}

fn each_file(dir: &Path, look: &mut impl FnMut(&Path, &[u8])) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            each_file(&path, look);
        } else {
            look(&path, &std::fs::read(&path).unwrap());
        }
    }
}

/// etcd audit 012: the log, and the state, hold no password and no token that could be used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_and_tokens_never_replicated_as_plain_text() {
    let member = Member::start().await;
    let (_, alice) = closed(&member).await;
    member.kv().put(with(&alice, put("a", "found-Re7wPq1z"))).await.unwrap();
    let letters = alice.split_once('.').unwrap().0.to_owned();
    let mut found = false;
    each_file(member.data_dir(), &mut |path, bytes| {
        let holds = |what: &str| bytes.windows(what.len()).any(|window| window == what.as_bytes());
        for secret in [ROOT_PASSWORD, ALICE_PASSWORD, letters.as_str()] {
            assert!(!holds(secret), "{} holds {secret}", path.display());
        }
        found |= holds("found-Re7wPq1z");
    });
    assert!(found, "the log was looked at");
    member.stop().await;
}
