//! The project's tasks, run as `cargo xtask <task>`. Nothing here is part of the product.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[cfg(feature = "codegen")]
mod codegen;
mod evidence;
#[cfg(target_os = "linux")]
mod faults;

const USAGE: &str = "usage: cargo xtask <task>

tasks:
  codegen [--check]   write crates/api/src/generated from crates/api/proto; --check only compares
  compatibility [--check]
                      write docs/compatibility.md from the code's tables and crates/kontiki/src/compatibility/;
                      --check only compares
  evidence            check that docs/raft-bugs.md and docs/raft-rules.md point at what exists
  faults [flags]      break the disks under real members and report what was lost (docs/faults.md); needs root
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["faults", flags @ ..] = words.as_slice() {
        return faults(flags);
    }
    let outcome = match words.as_slice() {
        ["codegen"] => codegen(false),
        ["codegen", "--check"] => codegen(true),
        ["compatibility"] => compatibility(false),
        ["compatibility", "--check"] => compatibility(true),
        ["evidence"] => evidence::check(&workspace()).map(|summary| println!("{summary}")),
        _ => Err(USAGE.to_string()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(target_os = "linux")]
fn faults(flags: &[&str]) -> ExitCode {
    faults::run(flags)
}

#[cfg(not(target_os = "linux"))]
fn faults(_: &[&str]) -> ExitCode {
    eprintln!("the task `faults` needs Linux: it breaks the kernel's own file systems");
    ExitCode::from(2)
}

#[cfg(feature = "codegen")]
fn codegen(check: bool) -> Result<(), String> {
    let api = workspace().join("crates/api");
    if check { codegen::check(&api) } else { codegen::write(&api) }
}

#[cfg(not(feature = "codegen"))]
fn codegen(check: bool) -> Result<(), String> {
    let api = workspace().join("crates/api");
    let flag = if check { " --check" } else { "" };
    Err(format!(
        "the code generators are left out of plain builds because they are heavy; to write {} run\n  \
         cargo xtask codegen{flag}",
        api.join("src/generated").display(),
    ))
}

/// The page is made where all tables are known: in a test of the program, which compares it, or writes it when told to.
fn compatibility(check: bool) -> Result<(), String> {
    let mut cargo = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace()).args([
        "test",
        "--quiet",
        "--package",
        "kontiki",
        "--bin",
        "kontiki",
        "compatibility::",
    ]);
    if !check {
        cargo.env("KONTIKI_WRITE_COMPATIBILITY", "1");
    }
    let status = cargo.status().map_err(|error| format!("cargo cannot be run: {error}"))?;
    if status.success() { Ok(()) } else { Err("docs/compatibility.md is not what the code says".to_string()) }
}

/// The root of the repository: the folder above this package.
fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("xtask lies in a folder of the workspace").to_path_buf()
}
