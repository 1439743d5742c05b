//! Passwords typed by a person, who does not see them on the screen, or read from standard input.

use std::io::{BufRead, IsTerminal, Write, stderr, stdin};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::failure::Failure;

/// Asks for a new password and once more for certainty.
pub fn choose(name: &str) -> Result<String, Failure> {
    let password = ask(&format!("Password of {name}: "))?;
    if password.is_empty() {
        return Err(Failure::arguments("empty password"));
    }
    if password != ask(&format!("Type password of {name} again for confirmation: "))? {
        return Err(Failure::arguments("given passwords are different"));
    }
    Ok(password)
}

/// Asks for a password. Where standard input is no terminal, a line of it is the answer.
pub fn ask(prompt: &str) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::arguments(format!("failed to ask password: {error}"));
    let say = || stderr().write_all(prompt.as_bytes()).and_then(|()| stderr().flush()).map_err(failed);
    if !stdin().is_terminal() {
        say()?;
        let mut line = String::new();
        stdin().lock().read_line(&mut line).map_err(failed)?;
        eprintln!();
        return Ok(line.trim_end_matches(['\r', '\n']).to_string());
    }
    // Quiet before anybody is asked to type, and with what was typed ahead kept.
    let quiet = Quiet::begin().map_err(failed)?;
    say()?;
    let typed = read_typed(stdin().lock());
    drop(quiet);
    eprintln!();
    typed.map_err(failed)?.ok_or_else(|| Failure::interrupted("interrupted"))
}

/// The first word of standard input.
pub fn word_of_stdin() -> Result<String, Failure> {
    let mut line = String::new();
    let read = stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::input(format!("cannot read the password: {error}")))?;
    Ok(line.split_whitespace().next().unwrap_or_default().to_string())
}

/// A terminal that shows nothing of what is typed and gives each key as it comes. Ends with the value.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> std::io::Result<Quiet> {
        let before = tcgetattr(stdin())?;
        let mut quiet = before.clone();
        // Without ISIG, Ctrl-C is a key like others, so that nobody is left with a silent terminal.
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(stdin(), OptionalActions::Now, &quiet)?;
        Ok(Quiet(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.0); // a terminal that is gone needs no echo
    }
}

/// Reads keys up to Enter; nothing when Ctrl-C is among them.
fn read_typed(input: impl BufRead) -> std::io::Result<Option<String>> {
    const CTRL_C: u8 = 0x03;
    const CTRL_D: u8 = 0x04;
    const BACKSPACE: [u8; 2] = [0x08, 0x7f];
    let mut typed = Vec::new();
    for byte in input.bytes() {
        match byte? {
            CTRL_C => return Ok(None),
            b'\n' | b'\r' | CTRL_D => break,
            byte if BACKSPACE.contains(&byte) => {
                // A character's later bytes go with its first.
                while typed.pop().is_some_and(|byte: u8| byte & 0xc0 == 0x80) {}
            }
            byte => typed.push(byte),
        }
    }
    let text = String::from_utf8(typed);
    text.map(Some).map_err(|_| std::io::Error::other("the password is no UTF-8 text"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_become_a_password() {
        let typed = |keys: &str| read_typed(keys.as_bytes()).unwrap();
        assert_eq!(typed("secret\nmore").unwrap(), "secret");
        assert_eq!(typed("seé\u{7f}cret\r").unwrap(), "secret");
        assert_eq!(typed("x\u{8}\u{8}ok\n").unwrap(), "ok");
        assert_eq!(typed("se\u{3}cret\n"), None);
    }
}
