#![allow(clippy::unwrap_used)]
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::*;

/// Passwords whose slow work is counted.
fn passwords(cost: u32) -> (Passwords, Arc<AtomicUsize>) {
    let works = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&works);
    let real = Surroundings::real();
    let aside = Arc::clone(&real.aside);
    let aside: Arc<dyn Fn(Work) + Send + Sync> = Arc::new(move |work| {
        counted.fetch_add(1, Ordering::SeqCst);
        aside(work);
    });
    (Passwords::new(cost, &Surroundings { aside, ..real }), works)
}

fn user(name: &str, password: Option<PasswordHash>) -> User {
    User { name: name.into(), password, since: 1, roles: BTreeSet::new(), grants: Arc::default() }
}

#[tokio::test]
async fn a_right_password_is_hashed_once_and_a_wrong_one_each_time() {
    let (passwords, works) = passwords(4);
    let alice = user("alice", Some(passwords.hash("secret".into()).await.unwrap()));
    works.store(0, Ordering::SeqCst);
    for _ in 0..50 {
        assert!(passwords.check(Some(&alice), "secret".into()).await.unwrap());
    }
    assert_eq!(works.load(Ordering::SeqCst), 1);
    for _ in 0..3 {
        assert!(!passwords.check(Some(&alice), "Secret".into()).await.unwrap());
    }
    assert_eq!(works.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_changed_password_is_not_remembered() {
    let (passwords, _) = passwords(4);
    let before = user("alice", Some(passwords.hash("old".into()).await.unwrap()));
    assert!(passwords.check(Some(&before), "old".into()).await.unwrap());
    let after = user("alice", Some(passwords.hash("new".into()).await.unwrap()));
    assert!(!passwords.check(Some(&after), "old".into()).await.unwrap());
    assert!(passwords.check(Some(&after), "new".into()).await.unwrap());
}

#[tokio::test]
async fn constant_work_for_unknown_user() {
    let (passwords, works) = passwords(6);
    let known = user("alice", Some(passwords.hash("secret".into()).await.unwrap()));
    let without = user("bob", None);
    let users = [Some(&known), None, Some(&without)];
    works.store(0, Ordering::SeqCst);
    let mut least = [f64::MAX; 3];
    // In turns, so that what else the machine does falls on all alike.
    for _ in 0..30 {
        for (user, least) in users.into_iter().zip(&mut least) {
            let began = Instant::now();
            assert!(!passwords.check(user, "guess".into()).await.unwrap());
            *least = least.min(began.elapsed().as_secs_f64());
        }
    }
    assert_eq!(works.load(Ordering::SeqCst), 90);
    // Leaving the work out would be a hundredth.
    assert!(least.iter().all(|time| (0.5..2.0).contains(&(time / least[0]))), "{least:?}");
}

#[tokio::test]
async fn bcrypt_never_leaves_the_end_of_a_password_out() {
    let (passwords, _) = passwords(4);
    let longest = "x".repeat(72);
    let alice = user("alice", Some(passwords.hash(longest.clone()).await.unwrap()));
    assert!(passwords.check(Some(&alice), longest.clone()).await.unwrap());
    assert!(!passwords.check(Some(&alice), format!("{longest}y")).await.unwrap());
    let refused = passwords.hash(format!("{longest}y")).await;
    assert_eq!(refused, Err(StoreError::Operation(OperationError::PasswordTooLong)));
}

#[tokio::test]
async fn hashes_of_etcd_are_understood_and_show_nothing() {
    let (passwords, _) = passwords(4);
    let hash = passwords.hash("secret".into()).await.unwrap();
    let of_go = String::from_utf8(hash.0.to_vec()).unwrap().replace("$2b$", "$2a$");
    let alice = user("alice", Some(PasswordHash(of_go.into())));
    assert!(passwords.check(Some(&alice), "secret".into()).await.unwrap());
    let shown = format!("{alice:?} {passwords:?}");
    assert!(!shown.contains("$2") && !shown.contains("secret"), "{shown}");
}
