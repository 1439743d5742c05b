//! Keeps `docs/raft-bugs.md` and `docs/raft-rules.md` true: no id is missing or told twice, and what a row points at
//! exists. The points that can be checked stand in backticks:
//!
//! | pointer | what must exist |
//! |---|---|
//! | `script NAME` | the file `crates/raft/tests/scripts/NAME.txt` |
//! | `test FILE::NAME` | in that file, a function `NAME` that is a test |
//! | `rule FILE::NAME` | in that file, a function, structure, enumeration, trait or constant `NAME` |
//!
//! A file that does not begin with `crates/` is one of `crates/raft/src`. Whatever else stands in backticks is not looked at.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// The groups of mistakes in `docs/raft-bugs.md`, and how many each has.
const GROUPS: [(char, u32); 9] =
    [('M', 37), ('V', 30), ('C', 21), ('L', 25), ('R', 19), ('S', 19), ('D', 18), ('T', 6), ('G', 11)];

const BUGS: &str = "docs/raft-bugs.md";
const RULES: &str = "docs/raft-rules.md";

/// What was checked, if nothing was wrong.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Summary {
    bugs: usize,
    /// Ids of rows that say that something is open.
    open: Vec<String>,
    rules: usize,
    pointers: usize,
    citations: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} mistakes", self.bugs)?;
        if !self.open.is_empty() {
            write!(f, " ({} open: {})", self.open.len(), self.open.join(", "))?;
        }
        write!(f, ", {} rules, {} pointers and {} citations hold", self.rules, self.pointers, self.citations)
    }
}

/// Checks both documents of the repository at `root`. The error has one line for each thing that is wrong.
pub fn check(root: &Path) -> Result<Summary, String> {
    let bugs = read(&root.join(BUGS))?;
    let rules = read(&root.join(RULES))?;
    let mut problems = Vec::new();
    let mut summary = Summary::default();
    check_bugs(root, &rows(&bugs), &mut summary, &mut problems);
    check_rules(root, &rows(&rules), &mut summary, &mut problems);
    check_prose(root, BUGS, &bugs, &mut summary, &mut problems);
    check_prose(root, RULES, &rules, &mut summary, &mut problems);
    check_citations(root, &rows(&bugs), &mut summary, &mut problems)?;
    if problems.is_empty() { Ok(summary) } else { Err(problems.join("\n")) }
}

/// One row of a table whose first cell is an id.
#[derive(Debug, PartialEq, Eq)]
struct Row<'a> {
    line: usize,
    id: &'a str,
    /// The cells behind the id.
    cells: Vec<&'a str>,
}

/// The rows of all tables in a document; headings and lines of dashes are none.
fn rows(text: &str) -> Vec<Row<'_>> {
    text.lines().enumerate().filter_map(|(number, line)| row(number + 1, line)).collect()
}

fn row(line: usize, text: &str) -> Option<Row<'_>> {
    let mut cells = text.trim().strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim);
    let id = cells.next().filter(|id| is_id(id))?;
    Some(Row { line, id, cells: cells.collect() })
}

/// Capital letters and then digits: `C17`, `AE3`.
fn is_id(text: &str) -> bool {
    let digits = text.trim_start_matches(|c: char| c.is_ascii_uppercase());
    let letters = text.len() - digits.len();
    (1..=3).contains(&letters) && !digits.is_empty() && digits.len() <= 2 && digits.bytes().all(|b| b.is_ascii_digit())
}

fn check_bugs(root: &Path, rows: &[Row<'_>], summary: &mut Summary, problems: &mut Vec<String>) {
    check_ids(rows, problems);
    summary.bugs = rows.len();
    for row in rows {
        let place = format!("{BUGS}:{}: {}", row.line, row.id);
        let [what, seen, evidence] = row.cells[..] else {
            problems.push(format!("{place}: a row has four cells: id, what goes wrong, seen in, evidence"));
            continue;
        };
        if what.is_empty() || seen.is_empty() {
            problems.push(format!("{place}: says not what goes wrong, or where it was seen"));
        }
        let found = check_pointers(root, &place, evidence, summary, problems);
        if evidence.starts_with("open: ") {
            summary.open.push(row.id.to_string());
        } else if found == 0 && evidence.split_whitespace().count() < 5 {
            problems.push(format!("{place}: has neither a pointer nor a sentence as evidence"));
        }
    }
}

/// Every id of every group stands in exactly one row, and no other does.
fn check_ids(rows: &[Row<'_>], problems: &mut Vec<String>) {
    let mut known: BTreeMap<String, Option<usize>> = BTreeMap::new();
    for (letter, count) in GROUPS {
        known.extend((1..=count).map(|number| (format!("{letter}{number:02}"), None)));
    }
    for row in rows {
        match known.get_mut(row.id) {
            None => problems.push(format!("{BUGS}:{}: {} is no id of the catalogue", row.line, row.id)),
            Some(Some(first)) => {
                problems.push(format!("{BUGS}:{}: {} stands in line {first} already", row.line, row.id));
            }
            Some(line) => *line = Some(row.line),
        }
    }
    let missing = known.iter().filter(|(_, line)| line.is_none());
    problems.extend(missing.map(|(id, _)| format!("{BUGS}: {id} is missing")));
}

fn check_rules(root: &Path, rows: &[Row<'_>], summary: &mut Summary, problems: &mut Vec<String>) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    summary.rules = rows.len();
    if rows.is_empty() {
        problems.push(format!("{RULES}: has no rule"));
    }
    for row in rows {
        let place = format!("{RULES}:{}: {}", row.line, row.id);
        if let Some(first) = seen.insert(row.id, row.line) {
            problems.push(format!("{place}: stands in line {first} already"));
        }
        let [_, code, proof] = row.cells[..] else {
            problems.push(format!("{place}: a row has four cells: id, rule, code, proof"));
            continue;
        };
        if check_pointers(root, &place, code, summary, problems) == 0 {
            problems.push(format!("{place}: names no code"));
        }
        if check_pointers(root, &place, proof, summary, problems) == 0 {
            problems.push(format!("{place}: names no test or script"));
        }
        if pointers(code).iter().any(|pointer| !matches!(pointer, Pointer::Rule(..))) {
            problems.push(format!("{place}: the code cell has a pointer that is no rule"));
        }
        if pointers(proof).iter().any(|pointer| matches!(pointer, Pointer::Rule(..))) {
            problems.push(format!("{place}: the cell of tests has a pointer to code"));
        }
    }
}

/// Outside of tables, too, pointers lead somewhere; those with capitals explain their form.
fn check_prose(root: &Path, file: &str, text: &str, summary: &mut Summary, problems: &mut Vec<String>) {
    for (number, line) in text.lines().enumerate() {
        if !line.starts_with('|') && !line.contains("NAME`") {
            check_pointers(root, &format!("{file}:{}", number + 1), line, summary, problems);
        }
    }
}

/// Resolves all pointers of a cell and says how many there are.
fn check_pointers(root: &Path, place: &str, cell: &str, summary: &mut Summary, problems: &mut Vec<String>) -> usize {
    let found = pointers(cell);
    summary.pointers += found.len();
    let broken = found.iter().filter_map(|pointer| resolve(root, pointer).err());
    problems.extend(broken.map(|problem| format!("{place}: {problem}")));
    found.len()
}

/// Something in backticks that can be checked.
#[derive(Debug, PartialEq, Eq)]
enum Pointer<'a> {
    Script(&'a str),
    /// File and name.
    Test(&'a str, &'a str),
    Rule(&'a str, &'a str),
    /// Begins like one, and is none.
    Malformed(&'a str),
}

fn pointers(cell: &str) -> Vec<Pointer<'_>> {
    let code = cell.split('`').skip(1).step_by(2); // every other piece stands between backticks
    code.filter_map(|text| {
        let (kind, target) = text.split_once(' ')?;
        let named = target.split_once("::").filter(|(file, name)| file.ends_with(".rs") && is_word(name));
        match (kind, named) {
            ("script", None) if is_word(target) => Some(Pointer::Script(target)),
            ("test", Some((file, name))) => Some(Pointer::Test(file, name)),
            ("rule", Some((file, name))) => Some(Pointer::Rule(file, name)),
            ("script" | "test" | "rule", _) => Some(Pointer::Malformed(text)),
            _ => None,
        }
    })
    .collect()
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_word_part)
}

fn is_word_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn resolve(root: &Path, pointer: &Pointer<'_>) -> Result<(), String> {
    match pointer {
        Pointer::Script(name) => {
            let file = format!("crates/raft/tests/scripts/{name}.txt");
            if root.join(&file).is_file() { Ok(()) } else { Err(format!("there is no script {file}")) }
        }
        Pointer::Test(file, name) => {
            let text = read(&source(root, file))?;
            let Some(line) = defines(&text, name, &["fn"]) else {
                return Err(format!("{file} has no function {name}"));
            };
            if is_test(&text, line) { Ok(()) } else { Err(format!("{name} in {file} is not a test")) }
        }
        Pointer::Rule(file, name) => {
            let text = read(&source(root, file))?;
            match defines(&text, name, &["fn", "struct", "enum", "trait", "const"]) {
                Some(_) => Ok(()),
                None => Err(format!("{file} defines no {name}")),
            }
        }
        Pointer::Malformed(text) => {
            Err(format!("`{text}` is not a pointer: script NAME, test FILE::NAME, rule FILE::NAME"))
        }
    }
}

fn source(root: &Path, file: &str) -> PathBuf {
    if file.starts_with("crates/") { root.join(file) } else { root.join("crates/raft/src").join(file) }
}

/// The line, counted from zero, in which `name` is defined by one of the keywords.
fn defines(text: &str, name: &str, keywords: &[&str]) -> Option<usize> {
    text.lines().position(|line| {
        let mut words = line.split(|c: char| !is_word_part(c)).filter(|word| !word.is_empty());
        let code = !line.trim_start().starts_with("//");
        code && words.by_ref().any(|word| keywords.contains(&word)) && words.next() == Some(name)
    })
}

/// Whether one of the lines right above a function's makes it a test.
fn is_test(text: &str, line: usize) -> bool {
    let lines: Vec<&str> = text.lines().take(line).map(str::trim).collect();
    let mut above = lines.iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
    above.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
}

/// Every id that a comment under `crates` cites is in the table.
fn check_citations(
    root: &Path,
    rows: &[Row<'_>],
    summary: &mut Summary,
    problems: &mut Vec<String>,
) -> Result<(), String> {
    let mut files = Vec::new();
    list(&root.join("crates"), &mut files)?;
    for file in files {
        let text = read(&file)?;
        for (line, id) in cited(&text) {
            summary.citations += 1;
            if !rows.iter().any(|row| row.id == id) {
                let file = file.strip_prefix(root).unwrap_or(&file).display();
                problems.push(format!("{file}:{line}: cites bug {id}, which is not in {BUGS}"));
            }
        }
    }
    Ok(())
}

/// The ids behind each `bug` or `bugs`, with their lines. A list may go on in the next line of a comment.
fn cited(text: &str) -> Vec<(usize, &str)> {
    let words = text.lines().enumerate();
    let words = words.flat_map(|(number, line)| line.split_whitespace().map(move |word| (number + 1, word)));
    let mut found = Vec::new();
    let mut listing = false;
    for (line, word) in words {
        match word.trim_matches(|c: char| !is_word_part(c)) {
            "bug" | "bugs" => listing = true,
            "" | "and" | "or" | "to" => {} // between two ids, as is the mark of a comment
            id if listing && is_id(id) => {
                found.push((line, id));
                listing = !word.contains([')', ';', ':', '.']);
            }
            _ => listing = false,
        }
    }
    found
}

/// Sources and scripts below a folder, in order.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let cannot = |error| format!("cannot list {}: {error}", folder.display());
    let entries = fs::read_dir(folder).map_err(cannot)?;
    let mut paths =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(cannot)?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            list(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "txt") {
            files.push(path);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// What is wrong with these two documents in this repository.
    fn check_text(bugs: &str, rules: &str) -> String {
        let (mut summary, mut problems) = (Summary::default(), Vec::new());
        let root = crate::workspace();
        check_bugs(&root, &rows(bugs), &mut summary, &mut problems);
        check_rules(&root, &rows(rules), &mut summary, &mut problems);
        problems.join("\n")
    }

    #[test]
    fn the_documents_are_true() {
        if let Err(problems) = check(&crate::workspace()) {
            panic!("cargo xtask evidence:\n{problems}");
        }
    }

    #[test]
    fn rows_are_lines_that_begin_with_an_id() {
        let text = "| id | rule |\n|---|---|\n| C17 | a | b |\nC18 is not\n| AE1 | x |\n";
        let rows = rows(text);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0], Row { line: 3, id: "C17", cells: vec!["a", "b"] });
        assert_eq!(rows[1].id, "AE1");
    }

    #[test]
    fn pointers_stand_in_backticks_and_have_a_form() {
        let cell =
            "as `script sole_voter`, `test quorum.rs::all`; `Persist` and `rule a/b.rs::c`, `script a b`, `test x`";
        let expected = [
            Pointer::Script("sole_voter"),
            Pointer::Test("quorum.rs", "all"),
            Pointer::Rule("a/b.rs", "c"),
            Pointer::Malformed("script a b"),
            Pointer::Malformed("test x"),
        ];
        assert_eq!(pointers(cell), expected);
    }

    #[test]
    fn definitions_and_tests_are_told_from_mentions() {
        let text = "// fn told\n/// Says.\n#[test]\n#[ignore]\nfn shown() {}\npub(crate) struct Held<'a>;\nfn plain() { shown() }\n";
        assert_eq!(defines(text, "told", &["fn"]), None);
        assert_eq!(defines(text, "Held", &["fn"]), None);
        assert_eq!(defines(text, "Held", &["fn", "struct"]), Some(5));
        assert!(is_test(text, defines(text, "shown", &["fn"]).unwrap()));
        assert!(!is_test(text, defines(text, "plain", &["fn"]).unwrap()));
    }

    #[test]
    fn citations_are_lists_that_may_go_on_in_the_next_line() {
        let text = "/// so (bugs V01,\n/// V02 to V04), and C99 is not meant\n// bug T05: why M01\n# (bug R01)\n";
        assert_eq!(cited(text), [(1, "V01"), (2, "V02"), (2, "V04"), (3, "T05"), (4, "R01")]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let bugs = "| C01 | a | b | `script nobody_wrote_this` |\n| C01 | a | b | by name only |\n| X1 | a | b | because it is so here |\n";
        let rules = "| AE1 | a | `rule quorum.rs::nothing_like_it` | |\n";
        let problems = check_text(bugs, rules);
        for expected in [
            "docs/raft-bugs.md:1: C01: there is no script crates/raft/tests/scripts/nobody_wrote_this.txt",
            "docs/raft-bugs.md:2: C01 stands in line 1 already",
            "docs/raft-bugs.md:2: C01: has neither a pointer nor a sentence as evidence",
            "docs/raft-bugs.md:3: X1 is no id of the catalogue",
            "docs/raft-bugs.md: C02 is missing",
            "docs/raft-rules.md:1: AE1: quorum.rs defines no nothing_like_it",
            "docs/raft-rules.md:1: AE1: names no test or script",
        ] {
            assert!(problems.lines().any(|problem| problem == expected), "{expected}\nis not among\n{problems}");
        }
    }
}
