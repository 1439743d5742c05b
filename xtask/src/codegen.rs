//! Writes `crates/api/src/generated` from `crates/api/proto`: messages (prost), services and client stubs (tonic) and the
//! JSON mapping (pbjson). The result is checked in, so that a build of the product needs neither generators nor `protoc`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use prost::Message;
use prost_types::FileDescriptorSet;

/// A package's name in the .proto files and the file that it becomes.
const PACKAGES: [(&str, &str); 6] = [
    ("mvccpb", "mvccpb"),
    ("authpb", "authpb"),
    ("etcdserverpb", "etcdserverpb"),
    ("v3lockpb", "v3lockpb"),
    ("v3electionpb", "v3electionpb"),
    ("grpc.health.v1", "grpc_health_v1"),
];

/// The generators see a plural acronym (`peerURLs`) as three words. Repaired in the Rust names only: on the wire and in
/// JSON the names stay as they are.
const NAME_REPAIRS: [(&str, &str); 2] = [("peer_ur_ls", "peer_urls"), ("client_ur_ls", "client_urls")];

/// Writes the generated files.
pub fn write(api: &Path) -> Result<(), String> {
    let folder = api.join("src/generated");
    fs::create_dir_all(&folder).map_err(|error| cannot("create", &folder, &error))?;
    for (name, text) in generate(api)? {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| cannot("write", &path, &error))?;
    }
    Ok(())
}

/// Fails when the files on disk are not those that `write` would leave.
pub fn check(api: &Path) -> Result<(), String> {
    let folder = api.join("src/generated");
    let expected = generate(api)?;
    let mut stale: Vec<String> = Vec::new();
    for (name, text) in &expected {
        if fs::read_to_string(folder.join(name)).ok().as_ref() != Some(text) {
            stale.push(format!("{name} differs"));
        }
    }
    for entry in fs::read_dir(&folder).map_err(|error| cannot("list", &folder, &error))? {
        let name = entry.map_err(|error| cannot("list", &folder, &error))?.file_name().to_string_lossy().into_owned();
        if !expected.contains_key(&name) {
            stale.push(format!("{name} is not generated any more"));
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} is not what the .proto files say ({}); run\n  cargo xtask codegen",
        folder.display(),
        stale.join(", ")
    ))
}

/// File name → formatted text, without touching the source tree.
fn generate(api: &Path) -> Result<BTreeMap<String, String>, String> {
    let descriptors = compile(&api.join("proto"))?;
    let scratch = std::env::temp_dir().join(format!("kontiki-codegen-{}", std::process::id()));
    fs::create_dir_all(&scratch).map_err(|error| cannot("create", &scratch, &error))?;
    let outcome = services(&descriptors, &scratch).and_then(|()| mapping(&descriptors, &scratch)).and_then(|()| {
        let mut files = BTreeMap::new();
        for (package, file) in PACKAGES {
            for (suffix, kind) in [("", "Messages and services"), (".serde", "JSON mapping")] {
                let raw = scratch.join(format!("{package}{suffix}.rs"));
                let text = fs::read_to_string(&raw).map_err(|error| cannot("read", &raw, &error))?;
                let head = format!("// {kind} of `{package}`, written by `cargo xtask codegen`. Do not edit.\n");
                files.insert(format!("{file}{suffix}.rs"), format(&(head + &repair(&text)), api)?);
            }
        }
        Ok(files)
    });
    // A folder left behind in the temporary directory harms nobody; the outcome above is what counts.
    drop(fs::remove_dir_all(&scratch));
    outcome
}

/// Parses every .proto file below `root`.
fn compile(root: &Path) -> Result<FileDescriptorSet, String> {
    let mut files = Vec::new();
    collect(root, &mut files)?;
    files.sort();
    protox::compile(&files, [root]).map_err(|error| format!("cannot compile the .proto files: {error:?}"))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    for entry in fs::read_dir(folder).map_err(|error| cannot("list", folder, &error))? {
        let path = entry.map_err(|error| cannot("list", folder, &error))?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension() == Some(OsStr::new("proto")) {
            files.push(path);
        }
    }
    Ok(())
}

/// Messages with passwords or tokens in them: they show themselves by hand (`redacted.rs`).
const SECRETIVE: [&str; 5] = [
    ".authpb.User",
    ".etcdserverpb.AuthenticateRequest",
    ".etcdserverpb.AuthenticateResponse",
    ".etcdserverpb.AuthUserAddRequest",
    ".etcdserverpb.AuthUserChangePasswordRequest",
];

/// Messages, servers and clients. The clients are generic over the channel: who dials is the caller's affair.
fn services(descriptors: &FileDescriptorSet, folder: &Path) -> Result<(), String> {
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .build_transport(false)
        .emit_rerun_if_changed(false)
        .bytes(".")
        .skip_debug(SECRETIVE)
        .out_dir(folder)
        .compile_fds(descriptors.clone())
        .map_err(|error| format!("cannot write the services: {error}"))
}

/// The JSON of etcd's gateway: names as in the .proto files, unknown fields ignored.
fn mapping(descriptors: &FileDescriptorSet, folder: &Path) -> Result<(), String> {
    let prefixes: Vec<String> = PACKAGES.iter().map(|(package, _)| format!(".{package}")).collect();
    pbjson_build::Builder::new()
        .register_descriptors(&descriptors.encode_to_vec())
        .and_then(|builder| {
            builder.out_dir(folder).preserve_proto_field_names().ignore_unknown_fields().build(&prefixes)
        })
        .map_err(|error| format!("cannot write the JSON mapping: {error}"))
}

fn repair(text: &str) -> String {
    NAME_REPAIRS.iter().fold(lenient_enums(text), |text, (from, to)| text.replace(from, to))
}

/// Enums in requests may have values that nobody knows (`json.rs` of the API): a field is read as the number it is.
fn lenient_enums(text: &str) -> String {
    let mut lenient = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(end) = rest.find(">()? as i32") {
        let start = rest[..end].rfind("next_value::<").expect("an enum's field is read by `next_value`")
            + "next_value::<".len();
        lenient.push_str(&format!("{}crate::json::Number<{}>>()?.0", &rest[..start], &rest[start..end]));
        rest = &rest[end + ">()? as i32".len()..];
    }
    lenient + rest
}

/// Runs rustfmt with the workspace's settings, so that `cargo fmt` finds nothing to change.
fn format(text: &str, api: &Path) -> Result<String, String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot run rustfmt: {error}");
    let mut rustfmt = Command::new("rustfmt")
        .args(["--edition", "2024"])
        .current_dir(api) // rustfmt looks for its settings from here upwards
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&error))?;
    let input = text.to_string();
    let mut pipe = rustfmt.stdin.take().expect("stdin was asked for as a pipe");
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut pipe, input.as_bytes()));
    let output = rustfmt.wait_with_output().map_err(|error| failed(&error))?;
    let written = writer.join().expect("writing to a pipe does not panic");
    written.map_err(|error| failed(&error))?;
    if !output.status.success() {
        return Err(failed(&output.status));
    }
    String::from_utf8(output.stdout).map_err(|error| failed(&error))
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> String {
    format!("cannot {what} {}: {error}", path.display())
}
