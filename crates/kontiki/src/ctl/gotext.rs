//! Text of values as Go's standard library prints it, because etcdctl's output is full of it.

use std::fmt::Write;
use std::time::Duration;

/// A quoted string: `strconv.Quote`. Bytes that are no UTF-8 become `\xNN`.
pub fn quote(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| quote_char(c, &mut text));
        chunk.invalid().iter().for_each(|byte| push(&mut text, format_args!("\\x{byte:02x}")));
    }
    text.push('"');
    text
}

fn quote_char(c: char, text: &mut String) {
    match c {
        '"' => text.push_str("\\\""),
        '\\' => text.push_str("\\\\"),
        '\x07' => text.push_str("\\a"),
        '\x08' => text.push_str("\\b"),
        '\x0c' => text.push_str("\\f"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        '\x0b' => text.push_str("\\v"),
        ' '..='~' => text.push(c),
        '\0'..='\x7f' => push(text, format_args!("\\x{:02x}", u32::from(c))),
        _ if printable(c) => text.push(c),
        _ if u32::from(c) < 0x1_0000 => push(text, format_args!("\\u{:04x}", u32::from(c))),
        _ => push(text, format_args!("\\U{:08x}", u32::from(c))),
    }
}

/// Close to Go's `unicode.IsPrint`: everything visible, and no space but the ASCII one.
fn printable(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && c.escape_debug().count() == 1
}

/// All bytes as `\xNN`: etcdctl's `--hex`.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        push(&mut text, format_args!("\\x{byte:02x}"));
        text
    })
}

/// A duration: `time.Duration.String`, such as `2.660591ms` or `1m3s`.
pub fn duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let scaled = |unit: u128, name: &str| format!("{}{name}", decimal(nanoseconds, unit));
    match nanoseconds {
        0 => "0s".into(),
        1..1_000 => format!("{nanoseconds}ns"),
        1_000..1_000_000 => scaled(1_000, "µs"),
        1_000_000..1_000_000_000 => scaled(1_000_000, "ms"),
        _ => {
            let (minutes, rest) = (nanoseconds / 60_000_000_000, nanoseconds % 60_000_000_000);
            let seconds = decimal(rest, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// `value / unit` exactly, without trailing zeros.
fn decimal(value: u128, unit: u128) -> String {
    let width = unit.ilog10() as usize;
    let text = format!("{}.{:0width$}", value / unit, value % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// A size in powers of 1000 with at most two digits of precision below ten: `25 kB`, `2.1 MB`.
pub fn size(bytes: u64) -> String {
    const NAMES: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let exponent = (bytes.ilog10() / 3) as usize;
    // A tenth of the unit is precision enough for the eye, and f64 holds it.
    let value = (bytes as f64 / 1000f64.powi(exponent as i32) * 10.0 + 0.5).floor() / 10.0;
    let digits = if value < 10.0 { 1 } else { 0 };
    format!("{value:.digits$} {}", NAMES[exponent])
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting() {
        assert_eq!(quote(b"a\"b\\\n\t\x00\x7f"), r#""a\"b\\\n\t\x00\x7f""#);
        assert_eq!(quote(b"\xff\xfea"), r#""\xff\xfea""#);
        assert_eq!(quote("é\u{a0}\u{200b}".as_bytes()), r#""é\u00a0\u200b""#);
        assert_eq!(hex(b"fo\x00"), r"\x66\x6f\x00");
    }

    #[test]
    fn durations() {
        let text = |nanoseconds| duration(Duration::from_nanos(nanoseconds));
        assert_eq!(text(0), "0s");
        assert_eq!(text(17), "17ns");
        assert_eq!(text(1_500), "1.5µs");
        assert_eq!(text(2_660_591), "2.660591ms");
        assert_eq!(text(5_000_509_959), "5.000509959s");
        assert_eq!(text(63_000_000_000), "1m3s");
        assert_eq!(text(3_600_000_000_000), "1h0m0s");
    }

    #[test]
    fn sizes() {
        let cases = [
            (0, "0 B"),
            (9, "9 B"),
            (82, "82 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (20_480, "20 kB"),
            (24_576, "25 kB"),
            (2_147_483_648, "2.1 GB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
    }
}
