//! Lines read from standard input, cut into words: `put key "a value"`.
//!
//! A word in double quotes may hold blanks and escapes (`\n \t \" \\ \xNN \NNN \uNNNN`, as in Go); one in single quotes
//! holds everything up to the next single quote; any other word ends at a blank or at a quote and is taken as it stands.

/// Cuts a line into words. Words are bytes, since an escape can make any byte.
pub fn split(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, tail) = match first {
            '"' => quoted(rest)?,
            '\'' => {
                let (word, tail) = rest[1..].split_once('\'').ok_or("a single quote is not closed")?;
                (word.as_bytes().to_vec(), tail)
            }
            _ => {
                let end = rest.find(|c: char| c.is_whitespace() || c == '"' || c == '\'').unwrap_or(rest.len());
                (rest.as_bytes()[..end].to_vec(), &rest[end..])
            }
        };
        words.push(word);
        rest = tail.trim_start();
    }
    Ok(words)
}

/// Reads a word in double quotes from the start of `text`; returns what it stands for and the text behind it.
pub fn quoted(text: &str) -> Result<(Vec<u8>, &str), String> {
    let mut rest = text.strip_prefix('"').ok_or("a double quote is missing")?;
    let mut word = Vec::new();
    loop {
        let end = rest.find(['"', '\\']).ok_or("a double quote is not closed")?;
        word.extend_from_slice(&rest.as_bytes()[..end]);
        if rest.as_bytes()[end] == b'"' {
            return Ok((word, &rest[end + 1..]));
        }
        rest = escape(&rest[end + 1..], &mut word)?;
    }
}

/// Reads what follows a backslash.
fn escape<'a>(text: &'a str, word: &mut Vec<u8>) -> Result<&'a str, String> {
    let letter = text.chars().next().ok_or("a backslash ends the line")?;
    let tail = &text[letter.len_utf8()..];
    let simple = match letter {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' | '"' | '\'' => letter as u8,
        'x' => return number(tail, 2, 16, letter, |value| word.push(value as u8)),
        'u' => return character(tail, 4, letter, word),
        'U' => return character(tail, 8, letter, word),
        '0'..='3' => return number(text, 3, 8, letter, |value| word.push(value as u8)),
        _ => return Err(format!("`\\{letter}` is no escape")),
    };
    word.push(simple);
    Ok(tail)
}

fn character<'a>(text: &'a str, digits: usize, letter: char, word: &mut Vec<u8>) -> Result<&'a str, String> {
    let mut character = None;
    let rest = number(text, digits, 16, letter, |value| character = char::from_u32(value))?;
    let character = character.ok_or_else(|| format!("`\\{letter}` names no character"))?;
    word.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(rest)
}

fn number(text: &str, digits: usize, radix: u32, letter: char, take: impl FnOnce(u32)) -> Result<&str, String> {
    let wrong = || format!("`\\{letter}` needs {digits} digits");
    let (number, rest) = text.split_at_checked(digits).ok_or_else(wrong)?;
    if !number.chars().all(|c| c.is_digit(radix)) {
        return Err(wrong());
    }
    take(u32::from_str_radix(number, radix).map_err(|_| wrong())?);
    Ok(rest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn words(line: &str) -> Vec<String> {
        split(line).unwrap().into_iter().map(|word| String::from_utf8_lossy(&word).into_owned()).collect()
    }

    #[test]
    fn cutting() {
        assert_eq!(words("put  a\tb "), ["put", "a", "b"]);
        assert_eq!(words(r#"put "a b"c 'd "e'"#), ["put", "a b", "c", "d \"e"]);
        assert_eq!(words(r"get w\\ x"), ["get", r"w\\", "x"]);
        assert_eq!(words(r#"put "" ''"#), ["put", "", ""]);
        assert!(words("  ").is_empty());
    }

    #[test]
    fn escapes() {
        assert_eq!(split(r#""\x00\xff\101\u00e9\n\"\\""#).unwrap(), [b"\x00\xffA\xc3\xa9\n\"\\".to_vec()]);
        for wrong in [r#""open"#, r#""\q""#, r#""\x4""#, r#""\x+4""#, r#""\ud800""#, "'open", r#""\"#, r#""\400""#] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
    }
}
