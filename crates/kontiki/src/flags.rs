//! etcd's command line: a table of flags, and one parser for flags, `ETCD_` variables and the settings file.
//!
//! Three sources say what a flag is worth: the command line wins over the environment, the environment over the
//! default; a file named by `--config-file` replaces both. Every flag of etcd is known. Those that this version does
//! not honour are accepted with a warning, unless running without them would be something else than was asked for
//! (discovery, for one): those are refused.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

mod file;
mod nearest;
mod table;
pub mod value;

pub use table::FEATURE_GATES;
use value::Value;

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A switch; may stand without a value.
    Bool,
    /// A duration as Go writes it.
    Duration,
    /// A whole number, not negative.
    Unsigned,
    /// A whole number.
    Signed,
    /// Strings separated by commas.
    List,
    /// Whatever is attached to it, or nothing: etcd looks at these no longer.
    Anything,
}

/// What a flag does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The same as in etcd.
    Used,
    /// The same, but for this.
    Differs(&'static str),
    /// Nothing, for this reason; setting it warns.
    Idle(&'static str),
    /// Setting it is an error, for this reason.
    Refused(&'static str),
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Without dashes.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Its value when nothing sets it.
    pub default: &'static str,
    /// What it does here.
    pub effect: Effect,
    /// One line for `--help`.
    pub help: &'static str,
}

/// What is wrong with the command line, the environment or the settings file.
#[derive(Debug, thiserror::Error)]
pub enum FlagError {
    /// No such flag.
    #[error("unknown flag --{name}{}; `kontiki server --help` lists all flags", suggestion(.nearest))]
    Unknown {
        /// As typed.
        name: String,
        /// The known flag that looks most like it.
        nearest: Option<String>,
    },
    /// A word that belongs to no flag.
    #[error("unexpected word {0:?}: every argument of the server is a flag; quote values that contain spaces")]
    Stray(String),
    /// A flag at the end of the line that needs a value.
    #[error("flag --{0} needs a value: write --{0}=VALUE")]
    NoValue(&'static str),
    /// A value that cannot be read.
    #[error("{origin}: {text:?} is not valid: {expected}")]
    Value {
        /// The flag, variable or file entry.
        origin: String,
        /// What was found.
        text: String,
        /// What was expected.
        expected: String,
    },
    /// A setting that may not be ignored.
    #[error("{origin} cannot be used: {why}")]
    Refused {
        /// The flag, variable or file entry.
        origin: String,
        /// The reason.
        why: String,
    },
    /// The settings file cannot be used.
    #[error("--config-file {path}: {problem}")]
    File {
        /// Its path.
        path: String,
        /// What is wrong.
        problem: String,
    },
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |name| format!(" (did you mean --{name}?)"))
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nothing set it.
    Default,
    /// An `ETCD_` variable.
    Environment,
    /// The command line.
    Flag,
    /// The settings file.
    File,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Request {
    /// Run a member.
    Serve(Settings),
    /// Print the flags.
    Help,
    /// Print the version.
    Version,
}

/// Every flag's value. Reading a flag that is not in the table, or as another kind, is a mistake in this program.
#[derive(Debug)]
pub struct Settings {
    values: BTreeMap<&'static str, (Value, Source)>,
    /// What the operator should hear once a logger exists.
    pub warnings: Vec<String>,
}

/// Reads the server's words (without the program's name) and the environment.
pub fn read(words: &[String], environment: &[(String, String)]) -> Result<Request, FlagError> {
    let mut settings = Settings::defaults();
    let mut words = words.iter();
    let mut seen: Vec<(&'static Flag, String)> = Vec::new();
    while let Some(word) = words.next() {
        let Some(bare) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).filter(|bare| !bare.is_empty())
        else {
            return Err(FlagError::Stray(word.clone()));
        };
        let (name, attached) = match bare.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (bare, None),
        };
        match name {
            "h" | "help" => return Ok(Request::Help),
            "version" | "V" => return Ok(Request::Version),
            _ => {}
        }
        let flag = find(name).ok_or_else(|| unknown(name))?;
        let text = match (attached, flag.kind) {
            (Some(text), _) => text,
            (None, Kind::Bool | Kind::Anything) => "true".to_owned(),
            (None, _) => words.next().cloned().ok_or(FlagError::NoValue(flag.name))?,
        };
        seen.push((flag, text));
    }
    let path = seen.iter().rev().find(|(flag, _)| flag.name == "config-file").map(|(_, text)| text.clone());
    let path = path.or_else(|| lookup(environment, "ETCD_CONFIG_FILE"));
    if let Some(path) = path.filter(|path| !path.is_empty()) {
        for (flag, value) in file::read(&path)? {
            settings.set(flag, value, Source::File, &format!("{path}: {}", flag.name))?;
        }
        let other_flags = seen.iter().any(|(flag, _)| flag.name != "config-file");
        if other_flags || environment.iter().any(|(key, text)| is_setting(key, text)) {
            let warning =
                format!("all other flags and all ETCD_ variables are ignored because of --config-file {path}");
            settings.warnings.push(warning);
        }
        return Ok(Request::Serve(settings));
    }
    settings.read_environment(environment, &seen)?;
    for (flag, text) in &seen {
        settings.set_text(flag, text, Source::Flag, &format!("--{}", flag.name))?;
    }
    Ok(Request::Serve(settings))
}

/// The table for people: every group, flag, default and meaning.
pub fn help() -> String {
    let mut text = String::from(
        "Usage: kontiki server [flags]      (`server` may be left out)\n\n\
         Runs one member. Flags and ETCD_ variables are etcd's; a flag wins over its variable.\n",
    );
    for (group, flags) in table::GROUPS {
        let _ = write!(text, "\n{group}:\n");
        for flag in *flags {
            let _ = writeln!(text, "  --{} {:?}\n        {}", flag.name, flag.default, explanation(flag));
        }
    }
    text
}

fn explanation(flag: &Flag) -> String {
    match flag.effect {
        Effect::Used => flag.help.to_owned(),
        Effect::Differs(how) => format!("{}; {how}", flag.help),
        Effect::Idle(why) => format!("accepted, has no effect: {why}"),
        Effect::Refused(why) => format!("refused: {why}"),
    }
}

/// Every row of the table.
pub fn all() -> impl Iterator<Item = &'static Flag> {
    table::GROUPS.iter().flat_map(|(_, flags)| flags.iter())
}

/// The row of a name, in its present or its experimental spelling.
pub fn find(name: &str) -> Option<&'static Flag> {
    let twin = name.strip_prefix("experimental-").filter(|twin| table::EXPERIMENTAL_TWINS.contains(twin));
    let name = twin.unwrap_or(name);
    all().find(|flag| flag.name == name)
}

fn unknown(name: &str) -> FlagError {
    let useful = all().filter(|flag| !matches!(flag.effect, Effect::Idle(_))).map(|flag| flag.name);
    let known = useful.chain(all().map(|flag| flag.name)); // of two that are as near, the one that does something
    let nearest = nearest::nearest(name, known).map(str::to_owned);
    FlagError::Unknown { name: name.to_owned(), nearest }
}

/// Whether a variable would set a flag other than the path of the file.
fn is_setting(key: &str, text: &str) -> bool {
    let name = key.strip_prefix("ETCD_").map(|rest| rest.to_ascii_lowercase().replace('_', "-"));
    !text.is_empty() && name.is_some_and(|name| name != "config-file" && find(&name).is_some())
}

fn lookup(environment: &[(String, String)], key: &str) -> Option<String> {
    environment.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
}

impl Settings {
    fn defaults() -> Settings {
        let value = |flag: &Flag| Value::read(flag.kind, flag.default).expect("defaults of the table can be read");
        let values = all().map(|flag| (flag.name, (value(flag), Source::Default))).collect();
        Settings { values, warnings: Vec::new() }
    }

    /// Takes `ETCD_` variables; those that a flag overrides, and those that mean nothing, are only mentioned.
    fn read_environment(
        &mut self,
        environment: &[(String, String)],
        seen: &[(&'static Flag, String)],
    ) -> Result<(), FlagError> {
        for (key, text) in environment {
            let Some(rest) = key.strip_prefix("ETCD_") else { continue };
            if text.is_empty() {
                continue; // as etcd: an empty variable is an unset one
            }
            let name = rest.to_ascii_lowercase().replace('_', "-");
            match find(&name) {
                None => self.warnings.push(format!("variable {key} names no flag and is ignored")),
                Some(flag) if seen.iter().any(|(other, _)| other.name == flag.name) => {
                    self.warnings.push(format!("variable {key} is overridden by flag --{}", flag.name));
                }
                Some(flag) => self.set_text(flag, text, Source::Environment, &format!("variable {key}"))?,
            }
        }
        Ok(())
    }

    fn set_text(&mut self, flag: &Flag, text: &str, source: Source, origin: &str) -> Result<(), FlagError> {
        let value = Value::read(flag.kind, text).map_err(|expected| FlagError::Value {
            origin: origin.to_owned(),
            text: text.to_owned(),
            expected,
        })?;
        self.set(flag, value, source, origin)
    }

    /// Takes a value, after the checks that a row's effect asks for.
    fn set(&mut self, flag: &Flag, value: Value, source: Source, origin: &str) -> Result<(), FlagError> {
        let changed = self.values.get(flag.name).is_some_and(|(current, _)| *current != value);
        if flag.name == "feature-gates" {
            check_gates(&value, origin)?;
        }
        match flag.effect {
            Effect::Refused(why) if changed => {
                return Err(FlagError::Refused { origin: origin.to_owned(), why: why.to_owned() });
            }
            Effect::Idle(why) if changed => self.warn(format!("{origin} has no effect: {why}")),
            Effect::Used | Effect::Differs(_) | Effect::Refused(_) | Effect::Idle(_) => {}
        }
        self.values.insert(flag.name, (value, source));
        Ok(())
    }

    /// Keeps a warning for when a logger exists; the same one only once.
    fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Whether anything but the default gave this flag its value.
    pub fn is_set(&self, name: &str) -> bool {
        self.row(name).1 != Source::Default
    }

    /// A string.
    pub fn text(&self, name: &str) -> &str {
        match &self.row(name).0 {
            Value::Text(text) => text,
            other => panic!("--{name} is no text: {other:?}"),
        }
    }

    /// A switch.
    pub fn switch(&self, name: &str) -> bool {
        match self.row(name).0 {
            Value::Bool(on) => on,
            ref other => panic!("--{name} is no switch: {other:?}"),
        }
    }

    /// A duration.
    pub fn duration(&self, name: &str) -> Duration {
        match self.row(name).0 {
            Value::Duration(duration) => duration,
            ref other => panic!("--{name} is no duration: {other:?}"),
        }
    }

    /// A number that may be negative.
    pub fn signed(&self, name: &str) -> i64 {
        match self.row(name).0 {
            Value::Number(number) => number,
            ref other => panic!("--{name} is no number: {other:?}"),
        }
    }

    /// A number that is not negative.
    pub fn unsigned(&self, name: &str) -> u64 {
        u64::try_from(self.signed(name)).expect("the table says that this flag is unsigned")
    }

    /// A list.
    pub fn list(&self, name: &str) -> &[String] {
        match &self.row(name).0 {
            Value::List(list) => list,
            other => panic!("--{name} is no list: {other:?}"),
        }
    }

    fn row(&self, name: &str) -> &(Value, Source) {
        self.values.get(name).expect("the table has a row for every flag that is read")
    }
}

/// `--feature-gates` must name gates that etcd has: a misspelt one would be a silent surprise.
fn check_gates(value: &Value, origin: &str) -> Result<(), FlagError> {
    let Value::List(gates) = value else { return Ok(()) };
    for gate in gates {
        let (name, on) = gate.split_once('=').unwrap_or((gate, ""));
        if !table::FEATURE_GATES.iter().any(|gate| gate.name == name) || Value::read(Kind::Bool, on).is_err() {
            let names: Vec<&str> = table::FEATURE_GATES.iter().map(|gate| gate.name).collect();
            return Err(FlagError::Value {
                origin: origin.to_owned(),
                text: gate.clone(),
                expected: format!("expected Name=true or Name=false, with one of {}", names.join(", ")),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
