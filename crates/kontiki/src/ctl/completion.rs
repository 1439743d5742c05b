//! `completion` and `options`: what the command line itself knows.

use clap::{Command, ValueEnum};
use clap_complete::{Shell, generate};

use super::failure::Failure;
use super::show::print;

/// The shells that have a script, under the names that etcdctl gives them.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Name {
    Bash,
    Zsh,
    Fish,
    Powershell,
}

/// Prints a script that completes words of the whole program.
pub fn run(name: Name, mut program: Command) -> Result<(), Failure> {
    let shell = match name {
        Name::Bash => Shell::Bash,
        Name::Zsh => Shell::Zsh,
        Name::Fish => Shell::Fish,
        Name::Powershell => Shell::PowerShell,
    };
    let mut script = Vec::new();
    generate(shell, &mut program, "kontiki", &mut script);
    print(&script)
}

/// Prints the flags that every command has.
pub fn options(settings: Command) -> Result<(), Failure> {
    let form = "The following options can be passed to any command:\n\n{options}\n";
    let command = settings.disable_help_flag(true).help_template(form);
    print(command.clone().render_help().to_string().as_bytes())
}
