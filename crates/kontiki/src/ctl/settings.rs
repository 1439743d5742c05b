//! Flags that every command has, with their environment variables: `ETCDCTL_` and the name.

use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;

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
    /// Form of the output: simple, fields, json, protobuf or table
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
    /// Largest request to send, in bytes; 0: the servers decide
    #[arg(long, global = true, env = "ETCDCTL_MAX_REQUEST_BYTES", default_value_t = 0, hide_default_value = true)]
    pub max_request_bytes: usize,
    /// Largest answer to accept, in bytes; 0: any
    #[arg(long, global = true, env = "ETCDCTL_MAX_RECV_BYTES", default_value_t = 0, hide_default_value = true)]
    pub max_recv_bytes: usize,
    #[command(flatten)]
    pub login: Login,
    #[command(flatten)]
    pub tls: TlsSettings,
    #[command(flatten)]
    ignored: Ignored,
}

// Who asks.
#[derive(Args, Clone, Debug, Default)]
pub struct Login {
    /// Log in as this user: name or name:password; without a password it is asked for
    #[arg(long, global = true, env = "ETCDCTL_USER", hide_env_values = true)]
    pub user: Option<String>,
    /// Password of the user
    #[arg(long, global = true, env = "ETCDCTL_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
    /// Token to send instead of logging in
    #[arg(long, global = true, env = "ETCDCTL_AUTH_JWT_TOKEN", hide_env_values = true)]
    pub auth_jwt_token: Option<String>,
}

// How the connection is secured.
#[derive(Args, Clone, Debug)]
pub struct TlsSettings {
    /// Certificates of the authorities that a server's may come from; those of the system where not given
    #[arg(long, global = true, env = "ETCDCTL_CACERT", value_name = "FILE")]
    pub cacert: Option<String>,
    /// This client's certificate
    #[arg(long, global = true, env = "ETCDCTL_CERT", value_name = "FILE")]
    pub cert: Option<String>,
    /// Its private key
    #[arg(long, global = true, env = "ETCDCTL_KEY", value_name = "FILE")]
    pub key: Option<String>,
    /// Speak plainly where an endpoint says neither http nor https and no certificate is given
    #[arg(long, global = true, env = "ETCDCTL_INSECURE_TRANSPORT", default_value = "true", num_args = 0..=1,
        require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new(),
        action = clap::ArgAction::Set, value_name = "BOOL", hide_possible_values = true)]
    pub insecure_transport: bool,
    /// Believe any certificate of a server (for tests only)
    #[arg(long, global = true, env = "ETCDCTL_INSECURE_SKIP_TLS_VERIFY")]
    pub insecure_skip_tls_verify: bool,
}

impl Default for TlsSettings {
    fn default() -> TlsSettings {
        TlsSettings { cacert: None, cert: None, key: None, insecure_transport: true, insecure_skip_tls_verify: false }
    }
}

// Flags that scripts pass along and that have no meaning here, and those that are refused by `check`.
#[derive(Args, Clone, Debug, Default)]
struct Ignored {
    #[arg(long, global = true, hide = true, env = "ETCDCTL_INSECURE_DISCOVERY")]
    insecure_discovery: bool,
    #[arg(short = 'd', long, global = true, hide = true, env = "ETCDCTL_DISCOVERY_SRV")]
    discovery_srv: Option<String>,
    #[arg(long, global = true, hide = true, env = "ETCDCTL_DISCOVERY_SRV_NAME")]
    discovery_srv_name: Option<String>,
    #[arg(long, global = true, hide = true, env = "ETCDCTL_DEBUG")]
    debug: bool,
}

impl Settings {
    /// Refuses what would be served differently from what was asked.
    pub fn check(&self) -> Result<(), Failure> {
        if self.ignored.discovery_srv.as_ref().is_some_and(|name| !name.is_empty()) {
            return Err(Failure::feature("discovery by DNS is not supported by this version; name the endpoints"));
        }
        Ok(())
    }

    /// For a cluster that is not named by these flags.
    pub fn of(endpoints: Vec<String>, login: Login, tls: TlsSettings, command_timeout: Duration) -> Settings {
        Settings {
            endpoints,
            write_out: "simple".into(),
            hex: false,
            dial_timeout: Duration::from_secs(5),
            command_timeout,
            keepalive_time: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(6),
            max_request_bytes: 0,
            max_recv_bytes: 0,
            login,
            tls,
            ignored: Ignored::default(),
        }
    }

    /// The same for another cluster, with its own doors and its own user.
    pub fn toward(&self, endpoints: Vec<String>, login: Login, tls: TlsSettings) -> Settings {
        Settings { endpoints, login, tls, ..self.clone() }
    }

    /// The form of the output.
    pub fn format(&self) -> Result<Format, Failure> {
        Format::named(&self.write_out)
    }
}
