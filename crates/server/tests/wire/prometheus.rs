//! Prometheus' text format, read by its rules: what a scraper would make of `/metrics`.

use std::collections::{BTreeMap, BTreeSet};

/// One sample.
#[derive(Debug)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// A family: its type and its samples.
#[derive(Debug, Default)]
pub struct Family {
    pub kind: String,
    pub samples: Vec<Sample>,
}

/// Reads a text, strictly: each family once, its samples behind its type, no sample twice, histograms that add up.
pub fn parse(text: &str) -> Result<BTreeMap<String, Family>, String> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, _) = rest.split_once(' ').ok_or(format!("no help: {line}"))?;
            current = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or(format!("no type: {line}"))?;
            let known = ["counter", "gauge", "histogram"].contains(&kind) && name == current && is_name(name);
            let family = Family { kind: kind.to_owned(), samples: Vec::new() };
            if !known || families.insert(name.to_owned(), family).is_some() {
                return Err(format!("not a new family: {line}"));
            }
        } else {
            let sample = sample(line)?;
            let family = families.get_mut(&current).ok_or(format!("of no family: {line}"))?;
            let ends: &[&str] = if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            if !ends.iter().any(|end| sample.name == format!("{current}{end}")) {
                return Err(format!("of another family than {current}: {line}"));
            }
            if !seen.insert((sample.name.clone(), sample.labels.clone())) {
                return Err(format!("twice: {line}"));
            }
            family.samples.push(sample);
        }
    }
    families
        .iter()
        .filter(|(_, family)| family.kind == "histogram")
        .try_for_each(|(name, family)| adds_up(name, family))?;
    if text.ends_with('\n') { Ok(families) } else { Err("the last line has no end".to_owned()) }
}

fn adds_up(name: &str, family: &Family) -> Result<(), String> {
    let mut last: BTreeMap<BTreeMap<String, String>, (f64, f64)> = BTreeMap::new();
    for sample in family.samples.iter().filter(|sample| sample.name.ends_with("_bucket")) {
        let mut labels = sample.labels.clone();
        let bound = labels.remove("le").ok_or(format!("{name} has a bucket without a bound"))?;
        let bound =
            if bound == "+Inf" { f64::INFINITY } else { bound.parse().map_err(|_| format!("{name}: {bound}"))? };
        let (before, total) = last.insert(labels, (bound, sample.value)).unwrap_or((f64::NEG_INFINITY, 0.0));
        if bound <= before || sample.value < total {
            return Err(format!("{name}: buckets out of order at {bound}"));
        }
    }
    for sample in family.samples.iter().filter(|sample| sample.name.ends_with("_count")) {
        if last.get(&sample.labels) != Some(&(f64::INFINITY, sample.value)) {
            return Err(format!("{name}: the last bucket is not the count"));
        }
    }
    Ok(())
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

fn sample(line: &str) -> Result<Sample, String> {
    let fail = || format!("not a sample: {line}");
    let end = line.find(['{', ' ']).ok_or_else(fail)?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, behind) = rest.split_once("=\"").ok_or_else(fail)?;
            let (value, behind) = quoted(behind).ok_or_else(fail)?;
            if !is_name(label) || labels.insert(label.to_owned(), value).is_some() {
                return Err(fail());
            }
            rest = behind.strip_prefix(',').unwrap_or(behind);
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').ok_or_else(fail)?.parse().map_err(|_| fail())?;
    if is_name(name) { Ok(Sample { name: name.to_owned(), labels, value }) } else { Err(fail()) }
}

/// A label's value up to its closing quote, and what is behind that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                other @ ('\\' | '"') => other,
                _ => return None,
            }),
            '\n' => return None,
            other => value.push(other),
        }
    }
    None
}
