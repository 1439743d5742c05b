//! The contract, spelled out a second time: `contract.txt` lists every message, enum and call with its numbers, and this
//! test compares the list with the `.proto` files. Whoever changes one by accident hears of it here; that the generated code
//! follows the `.proto` files is the business of `cargo xtask codegen --check`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[test]
fn every_name_and_number() {
    let mut found = BTreeMap::new();
    collect(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/proto")), &mut found);
    let found: Vec<String> =
        found.into_iter().map(|(name, members)| format!("{name}: {}", members.join(", "))).collect();
    let expected: Vec<&str> = include_str!("contract.txt").lines().filter(|line| !line.starts_with('#')).collect();
    for (ours, theirs) in found.iter().zip(&expected) {
        assert_eq!(ours.trim_end(), *theirs);
    }
    assert_eq!(found.len(), expected.len());
}

/// Reads the plain .proto dialect of this crate: one declaration per line, comments on lines of their own.
fn collect(folder: &Path, found: &mut BTreeMap<String, Vec<String>>) {
    for entry in fs::read_dir(folder).expect("the folder can be listed") {
        let path = entry.expect("the folder can be listed").path();
        if path.is_dir() {
            collect(&path, found);
            continue;
        }
        let text = fs::read_to_string(&path).expect("the file can be read");
        let mut package = "";
        let mut nesting: Vec<&str> = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["package", name] => package = name.trim_end_matches(';'),
                [kind @ ("message" | "enum" | "service" | "oneof"), name, ..] => {
                    // The members of a oneof are fields of the message around it.
                    nesting.push(if *kind == "oneof" { "" } else { name });
                    found.entry(path_of(package, &nesting)).or_default();
                    if line.ends_with("{}") {
                        nesting.pop();
                    }
                }
                ["}"] => drop(nesting.pop()),
                ["rpc", ..] => {
                    found.entry(path_of(package, &nesting)).or_default().push(line[4..line.len() - 1].to_string())
                }
                [declaration @ .., "=", number] if !nesting.is_empty() => {
                    let member = format!("{} {}", number.trim_end_matches(';'), declaration.join(" "));
                    found.entry(path_of(package, &nesting)).or_default().push(member);
                }
                _ => {}
            }
        }
    }
}

fn path_of(package: &str, nesting: &[&str]) -> String {
    let mut path = package.to_string();
    for name in nesting.iter().filter(|name| !name.is_empty()) {
        path = format!("{path}.{name}");
    }
    path
}
