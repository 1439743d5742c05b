//! `docs/compatibility.md`: every call, flag, path, command and metric of etcd, and what of it is here. The rows are etcd's, from
//! the lists under `etcd/`; what they say comes from our own tables, and from `notes.txt` where those cannot know. So no row
//! can be missing, and none can outlive the code. `cargo xtask compatibility` writes the page.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;

use crate::flags::{self, Effect};

const CALLS: &str = include_str!("compatibility/etcd/rpcs.txt");
const FLAGS: &str = include_str!("compatibility/etcd/flags.txt");
const GATES: &str = include_str!("compatibility/etcd/gates.txt");
const ENDPOINTS: &str = include_str!("compatibility/etcd/endpoints.txt");
const COMMANDS: &str = include_str!("compatibility/etcd/commands.txt");
const METRICS: &str = include_str!("compatibility/etcd/metrics.txt");
const NOTES: &str = include_str!("compatibility/notes.txt");

/// Says that the page is to be written, rather than compared.
const WRITE: &str = "KONTIKI_WRITE_COMPATIBILITY";

/// What a row says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    /// `yes`, `differs` or `no`.
    word: &'static str,
    /// How and why; empty for a bare yes.
    remark: String,
}

impl Verdict {
    fn yes() -> Verdict {
        Verdict { word: "yes", remark: String::new() }
    }

    fn differs(remark: impl Into<String>) -> Verdict {
        Verdict { word: "differs", remark: remark.into() }
    }

    fn no(remark: impl Into<String>) -> Verdict {
        Verdict { word: "no", remark: remark.into() }
    }
}

/// The notes, each by its kind of row and its name: `kind | name | word | remark`.
#[derive(Default)]
struct Notes {
    rows: BTreeMap<(&'static str, &'static str), Verdict>,
    used: BTreeSet<(&'static str, &'static str)>,
}

impl Notes {
    fn read() -> Notes {
        let mut notes = Notes::default();
        for line in lines(NOTES) {
            let parts: Vec<&str> = line.split('|').map(str::trim).collect();
            let [kind, name, word, remark] = parts[..] else { panic!("not kind | name | word | remark: {line}") };
            let verdict = match word {
                "differs" => Verdict::differs(remark),
                "no" => Verdict::no(remark),
                other => panic!("{other:?} is neither differs nor no: {line}"),
            };
            assert!(!remark.is_empty(), "a note says why: {line}");
            assert!(notes.rows.insert((kind, name), verdict).is_none(), "noted twice: {line}");
        }
        notes
    }

    /// The note of a row, or what the tables say.
    fn or(&mut self, kind: &'static str, name: &str, tables: impl FnOnce() -> Verdict) -> Verdict {
        let Some((key, verdict)) = self.rows.iter().find(|((of, row), _)| *of == kind && *row == name) else {
            return tables();
        };
        self.used.insert(*key);
        verdict.clone()
    }
}

/// The lines of a list, without its comments.
fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// A table of the page.
struct Table {
    title: &'static str,
    introduction: &'static str,
    rows: Vec<(String, Verdict)>,
}

fn tables(notes: &mut Notes) -> Vec<Table> {
    vec![calls(notes), endpoints(notes), flags_table(notes), gates(), commands(notes), metrics(notes), own_metrics()]
}

fn calls(notes: &mut Notes) -> Table {
    let served: BTreeMap<&str, &[&str]> = kontiki_server::calls().collect();
    let mut rows = Vec::new();
    for line in lines(CALLS) {
        let mut words = line.split(' ');
        let path = words.next().unwrap_or_default();
        let gateway: Vec<&str> = words.collect();
        let verdict = notes.or("call", path, || match served.get(path) {
            Some(paths) if *paths == gateway.as_slice() => Verdict::yes(),
            Some(paths) => Verdict::differs(format!("its gateway paths are {paths:?}, those of etcd {gateway:?}")),
            None => Verdict::no("not in this version"),
        });
        let also = gateway.iter().map(|path| format!(", POST {path}")).collect::<String>();
        rows.push((format!("{path}{also}"), verdict));
    }
    let introduction = "gRPC calls, and where the JSON gateway serves them.";
    Table { title: "Calls", introduction, rows }
}

fn endpoints(notes: &mut Notes) -> Table {
    let rows = lines(ENDPOINTS).map(|path| (path.to_owned(), notes.or("endpoint", path, Verdict::yes))).collect();
    Table { title: "Paths", introduction: "HTTP on the client port and, from `/raft` on, on the peer port.", rows }
}

fn flags_table(notes: &mut Notes) -> Table {
    let mut rows = Vec::new();
    for line in lines(FLAGS) {
        let name = line.split(' ').next().unwrap_or_default();
        let verdict = notes.or("flag", name, || match flags::find(name).map(|flag| flag.effect) {
            Some(Effect::Used) => Verdict::yes(),
            Some(Effect::Differs(how)) => Verdict::differs(how),
            Some(Effect::Idle(why)) => Verdict::differs(format!("accepted, has no effect: {why}")),
            Some(Effect::Refused(why)) => Verdict::no(format!("refused: {why}")),
            None => Verdict::no("unknown"),
        });
        rows.push((format!("--{name}"), verdict));
    }
    let introduction =
        "Flags of etcd 3.5 to 3.7, also as `ETCD_…` variables and as keys of `--config-file` (YAML or JSON).";
    Table { title: "Flags", introduction, rows }
}

fn gates() -> Table {
    let verdict = |name: &str| match flags::FEATURE_GATES.iter().find(|gate| gate.name == name) {
        Some(gate) if gate.differs.is_empty() => Verdict::yes(),
        Some(gate) => Verdict::differs(format!("accepted, has no effect: {}", gate.differs)),
        None => Verdict::no("unknown"),
    };
    let rows = lines(GATES).map(|name| (name.to_owned(), verdict(name))).collect();
    Table { title: "Feature gates", introduction: "What `--feature-gates` switches.", rows }
}

fn commands(notes: &mut Notes) -> Table {
    let ours = our_commands();
    let mut rows = Vec::new();
    for name in lines(COMMANDS) {
        let verdict = notes.or("command", name, || {
            let bare = name.split_once(' ').map_or("", |(_, rest)| rest);
            if ours.contains(bare) { Verdict::yes() } else { Verdict::no("not in this version") }
        });
        rows.push((name.to_owned(), verdict));
    }
    let introduction =
        "Commands of etcd's programs, as `kontiki ctl …` has them. etcd's own programs work against a member, too.";
    Table { title: "Commands", introduction, rows }
}

/// Every command behind `kontiki ctl`, in words.
fn our_commands() -> BTreeSet<String> {
    let program = crate::Arguments::command();
    let ctl = program.find_subcommand("ctl").expect("the program has the command ctl");
    let mut found = BTreeSet::new();
    collect(ctl, "", &mut found);
    found
}

fn collect(command: &clap::Command, before: &str, found: &mut BTreeSet<String>) {
    for inner in command.get_subcommands() {
        for name in std::iter::once(inner.get_name()).chain(inner.get_all_aliases()) {
            let words = format!("{before}{name}");
            collect(inner, &format!("{words} "), found);
            found.insert(words);
        }
    }
}

fn metrics(notes: &mut Notes) -> Table {
    let mut rows = Vec::new();
    for name in lines(METRICS) {
        let verdict = match kontiki_server::metric_families().find(|family| family.name == name) {
            Some(family) if family.note.is_empty() => Verdict::yes(),
            Some(family) => Verdict::differs(family.note),
            None if name.starts_with("go_") => Verdict::no("there is no Go runtime here"),
            None => notes.or("metric", name, || Verdict::no("not in this version")),
        };
        rows.push((name.to_owned(), verdict));
    }
    let introduction =
        "What `/metrics` shows under etcd's names. `dashboards/` has a dashboard and alert rules over them.";
    Table { title: "Metrics", introduction, rows }
}

fn own_metrics() -> Table {
    let of_etcd: BTreeSet<&str> = lines(METRICS).collect();
    let own = kontiki_server::metric_families().filter(|family| !of_etcd.contains(family.name));
    let rows =
        own.map(|family| (family.name.to_owned(), Verdict { word: "own", remark: family.help.to_owned() })).collect();
    Table { title: "Metrics of its own", introduction: "What etcd has no name for.", rows }
}

/// The page.
fn page() -> String {
    let mut notes = Notes::read();
    let tables = tables(&mut notes);
    let unused: Vec<_> = notes.rows.keys().filter(|key| !notes.used.contains(*key)).collect();
    assert!(unused.is_empty(), "notes of rows that do not exist: {unused:?}");
    let mut out = String::from(
        "# What of etcd is here\n\n\
         Every call, path, flag, command and metric of etcd 3.7, and of 3.5 and 3.6 where they are still accepted: **yes** where it \
         is the same, **differs** where it is not, with how and why, **no** where it is not there. Written by \
         `cargo xtask compatibility` from the tables of the code; do not edit by hand.\n\n\
         | | yes | differs | no |\n|---|---|---|---|\n",
    );
    for table in &tables {
        let count = |word| table.rows.iter().filter(|(_, verdict)| verdict.word == word).count();
        if table.rows.iter().all(|(_, verdict)| verdict.word != "own") {
            let _ = writeln!(out, "| {} | {} | {} | {} |", table.title, count("yes"), count("differs"), count("no"));
        }
    }
    for table in &tables {
        let _ = write!(out, "\n## {}\n\n{}\n\n| | | |\n|---|---|---|\n", table.title, table.introduction);
        for (name, verdict) in &table.rows {
            let remark = verdict.remark.replace('|', "\\|");
            let _ = writeln!(out, "| `{name}` | {} | {remark} |", verdict.word);
        }
    }
    out
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/compatibility.md")
}

#[test]
fn the_page_says_what_the_code_does() {
    let page = page();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(path(), &page).expect("the page can be written");
        return;
    }
    let written = std::fs::read_to_string(path()).unwrap_or_default();
    for (number, (written, expected)) in written.lines().zip(page.lines()).enumerate() {
        assert_eq!(written, expected, "line {}: run `cargo xtask compatibility`", number + 1);
    }
    assert!(written == page, "the page is not as long as it should be: run `cargo xtask compatibility`");
}

#[test]
fn every_flag_of_etcd_is_accepted_with_its_default() {
    let mut count = 0;
    for line in lines(FLAGS) {
        let (name, default) = line.split_once(' ').unwrap_or((line, ""));
        let flag = flags::find(name).unwrap_or_else(|| panic!("--{name} is unknown"));
        let word = format!("--{name}={}", if default.is_empty() { flag.default } else { default });
        let read = flags::read(std::slice::from_ref(&word), &[]);
        let Ok(flags::Request::Serve(settings)) = read else { panic!("{word}: {read:?}") };
        let changed = !settings.warnings.is_empty() && !["v2-deprecation"].contains(&name);
        assert!(!changed, "{word} is etcd's default, and yet: {:?}", settings.warnings);
        count += 1;
    }
    assert!(count > 150, "{count}");
}

#[test]
fn no_flag_of_ours_is_unknown_to_etcd() {
    let of_etcd: BTreeSet<&str> = lines(FLAGS).map(|line| line.split(' ').next().unwrap_or_default()).collect();
    let unknown: Vec<&str> = flags::all().map(|flag| flag.name).filter(|name| !of_etcd.contains(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
