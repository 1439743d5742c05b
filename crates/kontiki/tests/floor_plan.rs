//! The house rules that a program can check: arrows between crates point down, maps name what is there, files stay
//! readable, links lead somewhere.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Every crate's floor. A crate may use crates of lower floors only; rooms on a floor do not know each other.
const FLOORS: &[(&str, u8)] = &[
    ("kontiki", 5),
    ("server", 4),
    ("sim", 4),
    ("store", 3),
    ("engine", 2),
    ("log", 1),
    ("transport", 1),
    ("raft", 0),
    ("kv", 0),
    ("world", 0),
    ("lincheck", 0),
    ("tls", 0),
    ("api", 0),
];

/// Arrows that tests need and the plan forbids, each with its reason.
const TEST_ONLY_ARROWS: &[(&str, &str, &str)] = &[];

/// Longest file, in lines, that is still one concept.
const LINES_MAX: usize = 700;

#[test]
fn arrows_point_down() {
    let floors: BTreeMap<&str, u8> = FLOORS.iter().copied().collect();
    for (name, manifest) in manifests() {
        let floor = *floors.get(name.as_str()).unwrap_or_else(|| panic!("crate {name} has no floor in this test"));
        for (table, other) in arrows(&manifest) {
            let below =
                *floors.get(other.as_str()).unwrap_or_else(|| panic!("{name} uses {other}, which has no floor"));
            let listed = TEST_ONLY_ARROWS.iter().any(|(from, to, _)| *from == name && *to == other);
            let allowed = below < floor || (table == "dev-dependencies" && listed);
            assert!(
                allowed,
                "{name} (floor {floor}) uses {other} (floor {below}) in [{table}]: arrows point down. Move the code to \
                 the floor where both are known, or put a trait on the lower one"
            );
        }
    }
}

#[test]
fn the_plan_names_the_crates_that_exist() {
    let exist: BTreeSet<String> = manifests().into_keys().collect();
    let planned: BTreeSet<String> = FLOORS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(planned, exist, "the table of this test and the folders under crates/ differ");

    let text = read(&root().join("ARCHITECTURE.md"));
    let mut drawn = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("floor ")) {
        let mut words = line.split_whitespace();
        let floor: u8 = words.next().unwrap().parse().expect("a floor's number");
        drawn.insert(words.next().expect("a crate's name").to_owned(), floor);
    }
    let planned: BTreeMap<String, u8> = FLOORS.iter().map(|(name, floor)| ((*name).to_owned(), *floor)).collect();
    assert_eq!(drawn, planned, "the floor plan in ARCHITECTURE.md and this test differ");
}

#[test]
fn every_crate_is_described() {
    let text = read(&root().join("ARCHITECTURE.md"));
    for (name, _) in FLOORS {
        assert!(
            text.contains(&format!("**`{name}`**")),
            "ARCHITECTURE.md has no paragraph that begins with **`{name}`**"
        );
    }
}

#[test]
fn files_stay_readable() {
    for path in files("rs") {
        let lines = read(&path).lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines: split it by concept", path.display());
    }
}

#[test]
fn links_lead_somewhere() {
    for path in files("md") {
        let text = read(&path);
        for target in links(&text) {
            let file = target.split('#').next().unwrap_or_default();
            let place = path.parent().unwrap().join(file);
            assert!(place.exists(), "{}: the link to {target} leads nowhere", path.display());
        }
    }
}

#[test]
fn links_are_found_in_text_and_not_in_code() {
    let text = "see [one](a.md), [two](https://x.y) and `[no](b.md)`\n```\n[no](c.md)\n```\n[three](d/e.md#part)";
    assert_eq!(links(text), ["a.md", "d/e.md#part"]);
}

/// Targets of the relative links in a page.
fn links(text: &str) -> Vec<String> {
    let mut targets = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
            continue;
        }
        if in_block {
            continue;
        }
        let outside_code: String = line.split('`').step_by(2).collect::<Vec<_>>().join("");
        let mut rest = outside_code.as_str();
        while let Some(at) = rest.find("](") {
            rest = &rest[at + 2..];
            let target = rest.split(')').next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !target.starts_with(['#', '<']) {
                targets.push(target.to_owned());
            }
        }
    }
    targets
}

/// The tables of a manifest in which another crate of ours can stand.
fn arrows(manifest: &toml::Table) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut search = |tables: &toml::Table| {
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(entries) = tables.get(table).and_then(toml::Value::as_table) else { continue };
            for (key, value) in entries {
                let package = value.get("package").and_then(toml::Value::as_str).unwrap_or(key);
                if let Some(other) = package.strip_prefix("kontiki-") {
                    found.push((table.to_owned(), other.to_owned()));
                }
            }
        }
    };
    search(manifest);
    for target in manifest.get("target").and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::values) {
        search(target.as_table().expect("a target is a table"));
    }
    found
}

/// Every crate's manifest by its short name, which is its folder's.
fn manifests() -> BTreeMap<String, toml::Table> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        let folder = entry.unwrap().path();
        let manifest: toml::Table = read(&folder.join("Cargo.toml")).parse().unwrap();
        let name = manifest["package"]["name"].as_str().expect("a package has a name");
        let short = name.strip_prefix("kontiki-").unwrap_or(name).to_owned();
        assert_eq!(folder.file_name().unwrap().to_str(), Some(short.as_str()), "a folder is named as its crate");
        found.insert(short, manifest);
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The project's own files with an extension: nothing built, generated or hidden.
fn files(extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" && name != "generated" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found
}
