//! Flags that every command has, with their environment variables: `ETCDCTL_` and the name.

use std::time::Duration;

use clap::Args;

use super::failure::Failure;
use super::goflags;
use super::show::Format;

// As given on the command line. (No doc comment: clap would print it as the description of `ctl`.)
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Options of every command")]
pub struct Settings {
    /// Addresses of members, separated by commas; tried in turn
    #[arg(long, global = true, env = "ETCDCTL_ENDPOINTS", default_value = "127.0.0.1:2379", value_delimiter = ',')]
    pub endpoints: Vec<String>,
    /// Form of the output: simple, fields, json or table
    #[arg(short, long, global = true, env = "ETCDCTL_WRITE_OUT", default_value = "simple", value_name = "FORM")]
    write_out: String,
    /// Print keys and values as hexadecimal bytes
    #[arg(long, global = true, env = "ETCDCTL_HEX")]
    pub hex: bool,
    /// How long to try to reach an endpoint
    #[arg(long, global = true, env = "ETCDCTL_DIAL_TIMEOUT", default_value = "2s", value_parser = goflags::duration)]
    pub dial_timeout: Duration,
    /// How long to wait for the answer of a command
    #[arg(long, global = true, env = "ETCDCTL_COMMAND_TIMEOUT", default_value = "5s", value_parser = goflags::duration)]
    pub command_timeout: Duration,
    /// Silence on the connection after which the server is asked whether it lives (at least 10s)
    #[arg(long, global = true, env = "ETCDCTL_KEEPALIVE_TIME", default_value = "2s", value_parser = goflags::duration)]
    pub keepalive_time: Duration,
    /// How long it may take to answer that
    #[arg(long, global = true, env = "ETCDCTL_KEEPALIVE_TIMEOUT", default_value = "6s", value_parser = goflags::duration)]
    pub keepalive_timeout: Duration,
    /// Log in as this user: name or name:password
    #[arg(long, global = true, env = "ETCDCTL_USER", hide_env_values = true)]
    pub user: Option<String>,
    /// Password of the user
    #[arg(long, global = true, env = "ETCDCTL_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
    /// Token to send instead of logging in
    #[arg(long, global = true, env = "ETCDCTL_AUTH_JWT_TOKEN", hide_env_values = true)]
    pub auth_jwt_token: Option<String>,
    #[command(flatten)]
    ignored: Ignored,
}

// Flags that scripts pass along. Those without a meaning here are accepted; those that promise safety are refused by
// `check`.
#[derive(Args, Clone, Debug)]
struct Ignored {
    #[arg(long, global = true, hide = true, env = "ETCDCTL_CACERT")]
    cacert: Option<String>,
    #[arg(long, global = true, hide = true, env = "ETCDCTL_CERT")]
    cert: Option<String>,
    #[arg(long, global = true, hide = true, env = "ETCDCTL_KEY")]
    key: Option<String>,
    #[arg(long, global = true, hide = true)]
    insecure_transport: bool,
    #[arg(long, global = true, hide = true)]
    insecure_skip_tls_verify: bool,
    #[arg(long, global = true, hide = true)]
    insecure_discovery: bool,
    #[arg(short = 'd', long, global = true, hide = true, env = "ETCDCTL_DISCOVERY_SRV")]
    discovery_srv: Option<String>,
    #[arg(long, global = true, hide = true)]
    discovery_srv_name: Option<String>,
    #[arg(long, global = true, hide = true)]
    debug: bool,
    #[arg(long, global = true, hide = true)]
    max_request_bytes: Option<u64>,
    #[arg(long, global = true, hide = true)]
    max_recv_bytes: Option<u64>,
}

impl Settings {
    /// Refuses what would be served differently from what was asked.
    pub fn check(&self) -> Result<(), Failure> {
        let secure = self.endpoints.iter().any(|endpoint| endpoint.starts_with("https:"));
        let certificates = [&self.ignored.cacert, &self.ignored.cert, &self.ignored.key];
        if secure || certificates.iter().any(|file| file.as_ref().is_some_and(|file| !file.is_empty())) {
            return Err(Failure::feature(
                "TLS is not supported by this version; use http:// endpoints and leave --cacert, --cert and --key away",
            ));
        }
        if self.ignored.discovery_srv.as_ref().is_some_and(|name| !name.is_empty()) {
            return Err(Failure::feature("discovery by DNS is not supported by this version; name the endpoints"));
        }
        Ok(())
    }

    /// The form of the output.
    pub fn format(&self) -> Result<Format, Failure> {
        Format::named(&self.write_out)
    }
}
