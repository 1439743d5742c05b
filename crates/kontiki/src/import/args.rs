//! Words and flags of `kontiki import`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::ctl::client::Context;
use crate::ctl::failure::Failure;
use crate::ctl::goflags;
use crate::ctl::settings::{Login, Settings, TlsSettings};
use crate::output::Form;

/// Everything behind `kontiki import`.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// The etcd to read: addresses of members, separated by commas
    #[arg(long, required = true, value_delimiter = ',', value_name = "ENDPOINTS")]
    pub from: Vec<String>,
    #[command(flatten)]
    source: Source,
    /// The cluster to fill: addresses of members, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "ENDPOINTS", required_unless_present = "data_dir")]
    pub to: Vec<String>,
    #[command(flatten)]
    target: Target,
    /// Make this data directory instead, of a first member that is started later
    #[arg(long, value_name = "DIR", conflicts_with = "to")]
    pub data_dir: Option<PathBuf>,
    /// Name of that member
    #[arg(long, default_value = "default", requires = "data_dir")]
    pub name: String,
    /// Where other members will reach that member
    #[arg(long, default_value = "http://localhost:2380", requires = "data_dir", value_name = "URL")]
    pub initial_advertise_peer_urls: String,
    /// Tells that member's cluster apart from others
    #[arg(long, default_value = "etcd-cluster", requires = "data_dir", value_name = "TOKEN")]
    pub initial_cluster_token: String,
    /// Then bring every change over, until interrupted (Ctrl-C), so that the switch of the clients is short
    #[arg(long)]
    pub follow: bool,
    /// Go on with an import that was cut short: what is there already stays, what differs is written
    #[arg(long)]
    pub resume: bool,
    /// As --resume, and delete keys that the etcd does not have
    #[arg(long)]
    pub force: bool,
    /// A file with lines user:password; passwords cannot be read from an etcd
    #[arg(long, value_name = "FILE")]
    pub passwords: Option<PathBuf>,
    /// Revisions of the etcd that may become one: more is faster, and their keys then share a revision
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub batch: usize,
    /// Most keys to write in one transaction
    #[arg(long, default_value_t = 128, value_name = "N")]
    pub max_txn_ops: usize,
    /// How long to wait for one answer
    #[arg(long, default_value = "30s", value_parser = goflags::duration)]
    command_timeout: Duration,
    /// Form of the report
    #[arg(short, long, value_enum, default_value = "simple")]
    pub write_out: Form,
}

#[derive(Args, Debug)]
struct Source {
    /// User to read as: name or name:password; root, where users are checked
    #[arg(long, env = "KONTIKI_FROM_USER", hide_env_values = true)]
    from_user: Option<String>,
    /// That user's password
    #[arg(long, env = "KONTIKI_FROM_PASSWORD", hide_env_values = true)]
    from_password: Option<String>,
    /// Certificates of the authorities of the etcd
    #[arg(long, value_name = "FILE")]
    from_cacert: Option<String>,
    /// Certificate to show to the etcd
    #[arg(long, value_name = "FILE")]
    from_cert: Option<String>,
    /// Its private key
    #[arg(long, value_name = "FILE")]
    from_key: Option<String>,
    /// Believe any certificate of the etcd
    #[arg(long)]
    from_insecure_skip_tls_verify: bool,
}

#[derive(Args, Debug)]
struct Target {
    /// User to write as: name or name:password
    #[arg(long, env = "KONTIKI_TO_USER", hide_env_values = true)]
    to_user: Option<String>,
    /// That user's password
    #[arg(long, env = "KONTIKI_TO_PASSWORD", hide_env_values = true)]
    to_password: Option<String>,
    /// Certificates of the authorities of the cluster to fill
    #[arg(long, value_name = "FILE")]
    to_cacert: Option<String>,
    /// Certificate to show there
    #[arg(long, value_name = "FILE")]
    to_cert: Option<String>,
    /// Its private key
    #[arg(long, value_name = "FILE")]
    to_key: Option<String>,
    /// Believe any certificate of the cluster to fill
    #[arg(long)]
    to_insecure_skip_tls_verify: bool,
}

impl ImportArgs {
    /// The way to the etcd.
    pub fn source(&self) -> Result<Context, Failure> {
        let from = &self.source;
        let tls = TlsSettings {
            cacert: from.from_cacert.clone(),
            cert: from.from_cert.clone(),
            key: from.from_key.clone(),
            insecure_skip_tls_verify: from.from_insecure_skip_tls_verify,
            ..TlsSettings::default()
        };
        let login = Login { user: from.from_user.clone(), password: from.from_password.clone(), auth_jwt_token: None };
        Context::new(Settings::of(self.from.clone(), login, tls, self.command_timeout))
    }

    /// The way to the cluster to fill, at its endpoints.
    pub fn target(&self, endpoints: &[String]) -> Result<Context, Failure> {
        let to = &self.target;
        let tls = TlsSettings {
            cacert: to.to_cacert.clone(),
            cert: to.to_cert.clone(),
            key: to.to_key.clone(),
            insecure_skip_tls_verify: to.to_insecure_skip_tls_verify,
            ..TlsSettings::default()
        };
        let login = Login { user: to.to_user.clone(), password: to.to_password.clone(), auth_jwt_token: None };
        Context::new(Settings::of(endpoints.to_vec(), login, tls, self.command_timeout))
    }

    /// The name and password that the etcd was read with, if both are known.
    pub fn known_login(&self) -> Option<(String, String)> {
        let user = self.source.from_user.as_ref()?;
        match (&self.source.from_password, user.split_once(':')) {
            (Some(password), _) => Some((user.clone(), password.clone())),
            (None, Some((name, password))) => Some((name.into(), password.into())),
            (None, None) => None,
        }
    }
}
