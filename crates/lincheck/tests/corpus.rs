//! Known histories with known verdicts, drawn in `corpus.txt`, and what is said about those that are illegal.
#![allow(clippy::unwrap_used)]

use kontiki_lincheck::{Checker, Compare, Found, History, Kv, KvCall, KvInput, KvOutput, Operation, Return, Verdict};

type Input = KvInput<String, String>;
type Output = KvOutput<String>;

/// A value, or `-` for none.
fn value(word: &str) -> Option<String> {
    (word != "-").then(|| word.to_owned())
}

/// `put x 1 @4`, `get x = 1 @4`, `del x ok`, `cas x 1 2 no`; without the answer where the outcome is unknown.
fn call(text: &str) -> (Input, Output) {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    let revision_at = |word: &str| word.strip_prefix('@').map(|digits| digits.parse().unwrap());
    let revision = words.last().and_then(|word| revision_at(word));
    if revision.is_some() {
        words.pop();
    }
    let (call, output) = match words[..] {
        ["put", _, new] => (KvCall::Put(new.to_owned()), KvOutput::Put { revision }),
        ["get", _] => (KvCall::Get, KvOutput::Got(None)),
        ["get", _, "=", found] => {
            let found = value(found).map(|value| Found { value, mod_revision: revision });
            (KvCall::Get, KvOutput::Got(found))
        }
        ["del", _, "no"] => (KvCall::Delete, KvOutput::NothingToDelete),
        ["del", _] | ["del", _, "ok"] => (KvCall::Delete, KvOutput::Deleted { revision }),
        ["cas", _, expected, new, ref answer @ ..] => {
            let expected = match (revision_at(expected), value(expected)) {
                (Some(revision), _) => Compare::ModRevision(revision),
                (None, Some(value)) => Compare::Value(value),
                (None, None) => Compare::Absent,
            };
            let output = if answer == ["no"] { KvOutput::NotSwapped } else { KvOutput::Swapped { revision } };
            (KvCall::CompareAndPut { expected, new: new.to_owned() }, output)
        }
        _ => panic!("not a call: {text}"),
    };
    (KvInput { key: words[1].to_owned(), call }, output)
}

/// The operations of a line, `a: [put x 1 ] [get x = 1 ]`; columns are times.
fn operations(line: &str) -> Vec<Operation<Input, Output>> {
    let client = u64::from(line.as_bytes()[0] - b'a');
    let begins = line.match_indices('[').map(|(begin, _)| begin);
    let parsed = begins.map(|begin| {
        let end = begin + line[begin..].find([']', '?']).unwrap();
        let (input, output) = call(&line[begin + 1..end]);
        let lost = line.as_bytes()[end] == b'?';
        let result = if lost { Return::Unknown } else { Return::Done { time: end as u64, output } };
        Operation { client, invoke: begin as u64, input, result }
    });
    parsed.collect()
}

fn corpus() -> Vec<(&'static str, bool, History<Input, Output>)> {
    let drawings = include_str!("corpus.txt").split("\n\n").filter(|drawing| !drawing.starts_with('#'));
    let parsed = drawings.map(|drawing| {
        let (title, lines) = drawing.trim().split_once('\n').unwrap();
        let (verdict, name) = title.split_once(": ").unwrap();
        assert!(["legal", "illegal"].contains(&verdict), "{title}");
        (name, verdict == "legal", History::from_operations(lines.lines().flat_map(operations).collect()).unwrap())
    });
    parsed.collect()
}

fn named(name: &str) -> Verdict<Kv<String, String>> {
    let (_, _, history) = corpus().into_iter().find(|(other, ..)| *other == name).unwrap();
    Checker::new(Kv::default()).check(&history)
}

#[test]
fn each_history_gets_its_verdict() {
    let corpus = corpus();
    assert!(corpus.len() >= 50, "only {} histories were read", corpus.len());
    for (name, legal, history) in corpus {
        let verdict = Checker::new(Kv::default()).check(&history);
        assert_eq!(verdict.is_ok(), legal, "{name}: {verdict}");
        assert_eq!(verdict.is_illegal(), !legal, "{name}: {verdict}");
    }
}

#[test]
fn a_witness_names_the_operation_that_cannot_follow() {
    let verdict = named("two reads beside a write, new then old");
    let witness = verdict.witness().unwrap();
    assert_eq!(witness.key, "x");
    assert_eq!(witness.explained_before, 1, "the first write was over before all else began");
    assert_eq!(witness.prefix.len(), 2, "the second write, and the read that saw it");
    assert_eq!(witness.state.value.as_deref(), Some("2"));
    assert_eq!((witness.refused.client, witness.refused.invoke), (1, 33));
    assert!(witness.open.is_empty());
}

#[test]
fn a_witness_is_a_picture() {
    let printed = named("an unknown write that is seen, then unseen").to_string();
    let lines: Vec<&str> = printed.lines().collect();
    assert!(lines[0].contains(r#"key "x", after 1 operations in order"#), "{printed}");
    assert!(lines[1].contains("client 0") && lines[1].contains("├╌╌") && lines[1].ends_with("→ ?"), "{printed}");
    assert!(lines[2].contains("earlier  client 1") && lines[2].contains('┤'), "{printed}");
    assert!(lines[3].contains("here the state is") && lines[3].contains(r#"Some("1")"#), "{printed}");
    assert!(lines[4].contains("refused  client 1") && lines[4].ends_with("Got(None)"), "{printed}");
}
