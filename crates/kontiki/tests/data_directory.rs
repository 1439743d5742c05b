//! Who may have had their hands in a data directory: what is refused, what is closed, and what a member makes itself.
#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

mod support;

use support::Cluster;

/// Everything below a directory, itself included.
fn all(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![dir.to_owned()];
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(all(&path)) } else { found.push(path) }
    }
    found
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// What a member says that refuses to start.
async fn refusal(cluster: &mut Cluster) -> String {
    cluster.spawn(0);
    let status = cluster.ended(0).await;
    assert_eq!(status.code(), Some(1), "{}", cluster.log(0));
    cluster.log(0).lines().last().unwrap().to_owned()
}

/// A member that has data and does not run.
async fn stopped() -> Cluster {
    let mut cluster = Cluster::start(1, &[]).await;
    assert!(cluster.terminate(0).await.success());
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_member_makes_is_its_user_s_alone() {
    let cluster = stopped().await;
    for path in all(&cluster.data_dir(0)) {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_others_can_read_is_closed_to_them() {
    let mut cluster = Cluster::prepare(1, &[]);
    let dir = cluster.data_dir(0);
    fs::create_dir(&dir).unwrap();
    set_mode(&dir, 0o755); // as mkdir makes it
    cluster.spawn(0);
    cluster.wait_ready(0).await;
    assert_eq!(mode(&dir), 0o700);
    assert!(cluster.log(0).contains("others could read this") && cluster.log(0).contains("0755"), "{}", cluster.log(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_can_write_to_is_refused() {
    let mut cluster = stopped().await;
    let dir = cluster.data_dir(0);
    let places = ["", "member", "member/wal", "member/state", "member/identity", "member/state/state.redb"];
    for place in places.map(|place| dir.join(place)) {
        let before = mode(&place);
        for wrong in [before | 0o020, before | 0o002, before | 0o077] {
            set_mode(&place, wrong);
            let text = refusal(&mut cluster).await;
            assert!(text.contains("can be written by others") && text.contains("chmod"), "{text}");
            assert!(text.contains(place.to_str().unwrap().trim_end_matches('/')), "{text}");
            assert_eq!(mode(&place), wrong, "nothing is changed");
        }
        set_mode(&place, before);
    }
    cluster.spawn(0);
    cluster.wait_ready(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_a_directory_s_or_a_file_s_place_is_refused() {
    let mut cluster = stopped().await;
    let dir = cluster.data_dir(0);
    let aside = dir.with_extension("aside");
    for place in
        [dir.clone(), dir.join("member"), dir.join("member/wal"), dir.join("member/identity"), dir.join("member/LOCK")]
    {
        fs::rename(&place, &aside).unwrap();
        symlink(&aside, &place).unwrap();
        let text = refusal(&mut cluster).await;
        assert!(text.contains("symbolic link") && text.contains(place.to_str().unwrap()), "{text}");
        fs::remove_file(&place).unwrap();
        fs::rename(&aside, &place).unwrap();
    }
    cluster.spawn(0);
    cluster.wait_ready(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_s_directory_is_refused() {
    let mut cluster = stopped().await;
    let file = cluster.data_dir(0).join("member/identity");
    if std::os::unix::fs::chown(&file, Some(12_345), None).is_err() {
        return; // only the superuser can give files away
    }
    let text = refusal(&mut cluster).await;
    assert!(text.contains("belongs to user 12345") && text.contains("chown"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_restore_does_not_start_as_an_empty_member() {
    let mut cluster = Cluster::prepare(1, &[]);
    fs::create_dir_all(cluster.data_dir(0).join("member.restoring")).unwrap();
    let text = refusal(&mut cluster).await;
    assert!(text.contains("restore it again"), "{text}");
    assert!(!cluster.data_dir(0).join("member").exists());
}
