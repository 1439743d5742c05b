//! What `--version` prints: etcd's four lines, which test drivers look for, and then our own.

use kontiki_server::Versions;

/// Kontiki's own version.
pub const NUMBER: &str = env!("CARGO_PKG_VERSION");

/// The lines of `--version`. There is no Go here: its labels carry what stands in its place.
pub fn text() -> String {
    format!(
        "etcd Version: {}\nGit SHA: {}\nGo Version: none (Rust {})\nGo OS/Arch: {}/{}\nKontiki Version: {NUMBER}\n",
        Versions::default().server,
        option_env!("KONTIKI_GIT_SHA").unwrap_or("unknown"),
        env!("CARGO_PKG_RUST_VERSION"),
        std::env::consts::OS,
        arch(),
    )
}

/// The processor's name as Go spells it.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_labels_are_those_that_drivers_look_for() {
        let text = super::text();
        let labels: Vec<&str> = text.lines().filter_map(|line| line.split_once(": ")).map(|(label, _)| label).collect();
        assert_eq!(labels, ["etcd Version", "Git SHA", "Go Version", "Go OS/Arch", "Kontiki Version"]);
    }
}
