//! The conditions of a transaction, one per line: `mod("key") > "5"`.

use bytes::Bytes;
use kontiki_api::rpc::Compare;
use kontiki_api::rpc::compare::{CompareResult, CompareTarget, TargetUnion};

use super::failure::Failure;
use super::words::quoted;

/// Reads one condition: a field, the quoted key in parentheses, a relation (`=` `!=` `<` `>`) and a quoted value.
pub fn parse(line: &str) -> Result<Compare, Failure> {
    let malformed = |why: &str| Failure::input(format!("malformed comparison: {line} ({why})"));
    let (field, rest) = line.split_once('(').ok_or_else(|| malformed("write it like mod(\"key\") > \"0\""))?;
    let (key, rest) = quoted(rest.trim_start()).map_err(|why| malformed(&format!("around the key: {why}")))?;
    let rest = rest.trim_start().strip_prefix(')').ok_or_else(|| malformed("`)` is missing behind the key"))?;
    let rest = rest.trim_start();
    let end = rest.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(rest.len());
    let (relation, rest) = rest.split_at(end);
    let (value, rest) = quoted(rest.trim_start()).map_err(|why| malformed(&format!("around the value: {why}")))?;
    if !rest.trim().is_empty() {
        return Err(malformed("something follows the value"));
    }
    let result = match relation {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        ">" => CompareResult::Greater,
        "<" => CompareResult::Less,
        _ => return Err(malformed(&format!("`{relation}` is no relation; use = != < or >"))),
    };
    let number = |radix| {
        let text = std::str::from_utf8(&value).ok();
        text.and_then(|text| i64::from_str_radix(text, radix).ok())
            .ok_or_else(|| Failure::input(format!("invalid txn compare request: {line} (the value is no number)")))
    };
    let (target, union) = match field {
        "ver" | "version" => (CompareTarget::Version, TargetUnion::Version(number(10)?)),
        "c" | "create" => (CompareTarget::Create, TargetUnion::CreateRevision(number(10)?)),
        "m" | "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number(10)?)),
        // Hexadecimal, as leases are printed everywhere.
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number(16)?)),
        "val" | "value" => (CompareTarget::Value, TargetUnion::Value(value.into())),
        _ => return Err(malformed(&format!("unknown target {field}; use version, create, mod, value or lease"))),
    };
    Ok(Compare {
        result: result as i32,
        target: target as i32,
        key: key.into(),
        range_end: Bytes::new(),
        target_union: Some(union),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn conditions() {
        let compare = parse(r#"mod("a\x20b") > "12""#).unwrap();
        assert_eq!(compare.key, "a b");
        assert_eq!(compare.result(), CompareResult::Greater);
        assert_eq!(compare.target(), CompareTarget::Mod);
        assert_eq!(compare.target_union, Some(TargetUnion::ModRevision(12)));
        let union = |line: &str| parse(line).unwrap().target_union.unwrap();
        assert_eq!(union(r#"val("k")!="x y""#), TargetUnion::Value("x y".into()));
        assert_eq!(union(r#"value("k") < """#), TargetUnion::Value("".into()));
        assert_eq!(union(r#"lease("k") = "1f""#), TargetUnion::Lease(31));
        assert_eq!(union(r#"c("k") = "0""#), TargetUnion::CreateRevision(0));
        assert_eq!(union(r#"ver("k") = "-1""#), TargetUnion::Version(-1));
    }

    #[test]
    fn complaints() {
        let complaint = |line: &str| parse(line).unwrap_err().to_string();
        assert!(complaint("bogus").starts_with("malformed comparison: bogus"));
        assert!(complaint(r#"mod(k) = "1""#).contains("around the key"));
        assert!(complaint(r#"mod("k") = 1"#).contains("around the value"));
        assert!(complaint(r#"mod("k") >= "1""#).contains("`>=` is no relation"));
        assert!(complaint(r#"size("k") = "1""#).contains("unknown target size"));
        assert!(complaint(r#"mod("k") = "x""#).starts_with("invalid txn compare request"));
        assert!(complaint(r#"mod("k") = "1" or"#).contains("something follows"));
    }
}
