//! Settled settings: what the flags say, checked against each other, in the form in which a member starts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use kontiki_store::Given;
use kontiki_tls::TlsFiles;

use crate::flags::Settings;
use crate::logging::LogSettings;

pub mod auth;
pub mod compaction;
pub mod features;
pub mod report;
mod tls;
pub mod url;

use auth::AuthSettings;
use compaction::AutoCompaction;
use features::FeatureGates;

use url::Url;

/// etcd's upper bound for `--election-timeout`, in milliseconds.
const ELECTION_TIMEOUT_MS_MAX: u64 = 50_000;

/// One entry of `--initial-cluster`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialMember {
    /// Its `--name`.
    pub name: String,
    /// Its `--initial-advertise-peer-urls`.
    pub peer_urls: Vec<Url>,
}

/// Everything a member is started with.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Name of this member.
    pub name: String,
    /// Which flags of the first start were given.
    pub given: Given,
    /// Where it keeps its data.
    pub data_dir: PathBuf,
    /// Where it keeps its log, if elsewhere.
    pub wal_dir: Option<PathBuf>,
    /// Where clients are served.
    pub listen_client: Vec<Url>,
    /// Where members are heard.
    pub listen_peer: Vec<Url>,
    /// Where clients' HTTP is served, if apart from their gRPC.
    pub listen_client_http: Vec<Url>,
    /// Where only health and metrics are served.
    pub listen_metrics: Vec<Url>,
    /// Client URLs that the cluster is told.
    pub advertise_client: Vec<Url>,
    /// Peer URLs that the cluster is told.
    pub advertise_peer: Vec<Url>,
    /// The members that found the cluster.
    pub initial_cluster: Vec<InitialMember>,
    /// Tells clusters with the same addresses apart.
    pub initial_cluster_token: String,
    /// Found a cluster, rather than join one.
    pub new_cluster: bool,
    /// Make a cluster of one from this member's data.
    pub force_new_cluster: bool,
    /// Between a leader's heartbeats.
    pub heartbeat_interval: Duration,
    /// Without a leader, before an election.
    pub election_timeout: Duration,
    /// Ask before standing.
    pub pre_vote: bool,
    /// Most bytes of data; as `--quota-backend-bytes`.
    pub quota_bytes: i64,
    /// Entries kept behind a checkpoint.
    pub trailing_entries: u64,
    /// Most operations of a transaction.
    pub txn_operations_max: usize,
    /// Most bytes of a request.
    pub request_bytes_max: usize,
    /// Most calls at a time on one connection.
    pub concurrent_streams_max: u32,
    /// Between pings of a quiet client connection; zero sends none.
    pub keepalive_interval: Duration,
    /// Patience for the answer.
    pub keepalive_timeout: Duration,
    /// Clients that ping more often are sent away.
    pub keepalive_min: Duration,
    /// A unary call that takes longer is logged.
    pub slow_request: Duration,
    /// Most members at a time that only learn.
    pub learners_max: usize,
    /// Refuse changes of the membership that could cost the quorum.
    pub strict_reconfig_check: bool,
    /// Users' tokens and passwords.
    pub auth: AuthSettings,
    /// Removal of old revisions.
    pub auto_compaction: AutoCompaction,
    /// Features that are on or off.
    pub gates: FeatureGates,
    /// Between progress reports of quiet watches.
    pub progress_notify_interval: Duration,
    /// Whether the metrics contain the time of every call.
    pub metrics_extensive: bool,
    /// Host names that HTTP requests may ask for.
    pub host_whitelist: Vec<String>,
    /// Origins whose pages may read the answers.
    pub cors: Vec<String>,
    /// Serve JSON under `/v3/`.
    pub gateway: bool,
    /// Serve what `/debug/pprof/` has here.
    pub profiles: bool,
    /// TLS towards clients.
    pub client_tls: TlsFiles,
    /// TLS between members.
    pub peer_tls: TlsFiles,
    /// What is logged, how, and where to.
    pub log: LogSettings,
    /// What the operator should hear once a logger exists.
    pub warnings: Vec<String>,
}

/// Why settings do not fit together, or not this machine.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A URL that cannot be read.
    #[error("--{flag}: {text:?} is not a usable URL: {problem}")]
    Url {
        /// The flag.
        flag: &'static str,
        /// What it says.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A port that cannot be opened.
    #[error("--{flag} {url}: {problem}")]
    Listen {
        /// The flag.
        flag: &'static str,
        /// The URL.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A value out of its bounds, or missing.
    #[error("--{flag}: {problem}")]
    Value {
        /// The flag.
        flag: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// `--initial-cluster` does not contain this member.
    #[error(
        "--initial-cluster does not name this member: it has no entry for --name {name:?}, only for {found}; add \
         {name}=PEER-URL to it, or start with the name under which this member is listed"
    )]
    NotNamed {
        /// This member's name.
        name: String,
        /// The names that are there.
        found: String,
    },
    /// `--initial-cluster` and `--initial-advertise-peer-urls` disagree.
    #[error(
        "--initial-cluster says that {name:?} is at {listed}, but --initial-advertise-peer-urls says {advertised}; \
         make both the same, on every member"
    )]
    Disagree {
        /// This member's name.
        name: String,
        /// URLs of its entry.
        listed: String,
        /// URLs that it advertises.
        advertised: String,
    },
}

fn value_error(flag: &'static str, problem: impl Into<String>) -> ConfigError {
    ConfigError::Value { flag, problem: problem.into() }
}

impl ServerConfig {
    /// Settles the flags: reads what they contain, fills in what follows from others, and checks all of it.
    pub fn settle(settings: &Settings) -> Result<ServerConfig, ConfigError> {
        let name = settings.text("name").to_owned();
        if name.is_empty() {
            return Err(value_error("name", "must not be empty"));
        }
        printable("name", &name)?;
        printable("initial-cluster-token", settings.text("initial-cluster-token"))?;
        let (heartbeat_interval, election_timeout) = timing(settings)?;
        let data_dir = match settings.text("data-dir") {
            "" => PathBuf::from(format!("{name}.etcd")),
            path => PathBuf::from(path),
        };
        let listen_client = urls(settings, "listen-client-urls")?;
        if settings.is_set("listen-client-urls") && !settings.is_set("advertise-client-urls") {
            let problem = format!(
                "must be given when --listen-client-urls is, because clients learn it: for instance {}",
                listen_client[0]
            );
            return Err(value_error("advertise-client-urls", problem));
        }
        let advertise_peer = urls(settings, "initial-advertise-peer-urls")?;
        let mut warnings = settings.warnings.clone();
        let gates = FeatureGates::settle(settings, &mut warnings)?;
        check_unused(settings)?;
        let mut config = ServerConfig {
            given: Given {
                name: settings.is_set("name"),
                initial_cluster: settings.is_set("initial-cluster"),
                initial_cluster_token: settings.is_set("initial-cluster-token"),
            },
            wal_dir: Some(settings.text("wal-dir")).filter(|path| !path.is_empty()).map(PathBuf::from),
            listen_peer: urls(settings, "listen-peer-urls")?,
            listen_client_http: urls(settings, "listen-client-http-urls")?,
            listen_metrics: urls(settings, "listen-metrics-urls")?,
            advertise_client: urls(settings, "advertise-client-urls")?,
            initial_cluster: initial_cluster(settings, &name, &advertise_peer)?,
            initial_cluster_token: settings.text("initial-cluster-token").to_owned(),
            new_cluster: choice(settings, "initial-cluster-state", &["new", "existing"])? == "new",
            force_new_cluster: settings.switch("force-new-cluster"),
            pre_vote: settings.switch("pre-vote"),
            quota_bytes: settings.signed("quota-backend-bytes"),
            trailing_entries: settings.unsigned("snapshot-catchup-entries"),
            txn_operations_max: bounded(settings, "max-txn-ops", 1, 1 << 20)? as usize,
            request_bytes_max: bounded(settings, "max-request-bytes", 1, 1 << 30)? as usize,
            concurrent_streams_max: bounded(settings, "max-concurrent-streams", 1, u64::from(u32::MAX))? as u32,
            keepalive_interval: settings.duration("grpc-keepalive-interval"),
            keepalive_timeout: settings.duration("grpc-keepalive-timeout"),
            keepalive_min: settings.duration("grpc-keepalive-min-time"),
            slow_request: settings.duration("warning-unary-request-duration"),
            learners_max: bounded(settings, "max-learners", 0, 1 << 16)? as usize,
            strict_reconfig_check: settings.switch("strict-reconfig-check"),
            auth: AuthSettings::settle(settings, &mut warnings)?,
            auto_compaction: AutoCompaction::settle(settings)?,
            gates,
            progress_notify_interval: progress_notify_interval(settings)?,
            metrics_extensive: choice(settings, "metrics", &["basic", "extensive"])? == "extensive",
            host_whitelist: settings.list("host-whitelist").to_vec(),
            cors: settings.list("cors").to_vec(),
            gateway: settings.switch("enable-grpc-gateway"),
            profiles: settings.switch("enable-pprof"),
            client_tls: tls::client(settings)?,
            peer_tls: tls::peer(settings)?,
            log: LogSettings::settle(settings, &mut warnings)?,
            warnings,
            name,
            data_dir,
            listen_client,
            advertise_peer,
            heartbeat_interval,
            election_timeout,
        };
        if config.name == "default" {
            let warning = "--name is the default: members of a cluster that share a name can be mistaken for one";
            config.warnings.push(warning.to_owned());
        }
        config.check_ports()?;
        config.check_tls()?;
        config.check_membership()?;
        Ok(config)
    }

    /// URLs and certificates must fit together.
    fn check_tls(&mut self) -> Result<(), ConfigError> {
        let (client, peer) = ("cert-file", "peer-cert-file");
        tls::check_urls(&self.client_tls, "listen-client-urls", client, &self.listen_client, &mut self.warnings)?;
        let http = &self.listen_client_http;
        tls::check_urls(&self.client_tls, "listen-client-http-urls", client, http, &mut self.warnings)?;
        tls::check_urls(&self.peer_tls, "listen-peer-urls", peer, &self.listen_peer, &mut self.warnings)
    }

    /// No address may be opened twice.
    fn check_ports(&self) -> Result<(), ConfigError> {
        let listening = [
            ("listen-client-urls", &self.listen_client),
            ("listen-client-http-urls", &self.listen_client_http),
            ("listen-peer-urls", &self.listen_peer),
            ("listen-metrics-urls", &self.listen_metrics),
        ];
        let mut taken: Vec<(&Url, &'static str)> = Vec::new();
        for (flag, urls) in listening {
            for url in urls {
                if let Some((_, other)) = taken.iter().find(|(before, _)| *before == url && url.port != 0) {
                    return Err(value_error(
                        flag,
                        format!("{url} is already used by --{other}: give each its own port"),
                    ));
                }
                taken.push((url, flag));
            }
        }
        Ok(())
    }

    /// The initial cluster must contain this member at the URLs that it advertises. A member that has data already
    /// remembers its cluster, so that what the flags say no longer counts.
    fn check_membership(&self) -> Result<(), ConfigError> {
        if self.data_dir.join("member/identity").exists() {
            return Ok(());
        }
        agree(named(&self.initial_cluster, &self.name)?, &self.advertise_peer)
    }
}

/// The members of a cluster that is to be founded by flags alone, as `snapshot restore` has them; the member called `name`
/// must be among them, at the URLs that it advertises.
pub fn founders(
    name: &str,
    token: &str,
    initial_cluster: Option<&str>,
    advertise_peer: &str,
) -> Result<Vec<InitialMember>, ConfigError> {
    if name.is_empty() {
        return Err(value_error("name", "must not be empty"));
    }
    printable("name", name)?;
    printable("initial-cluster-token", token)?;
    let texts = advertise_peer.split(',').map(str::to_owned).collect::<Vec<_>>();
    let advertise_peer = read_urls("initial-advertise-peer-urls", &texts)?;
    let members = match initial_cluster {
        Some(text) => read_initial_cluster(text)?,
        None => vec![InitialMember { name: name.to_owned(), peer_urls: advertise_peer.clone() }],
    };
    agree(named(&members, name)?, &advertise_peer)?;
    Ok(members)
}

fn named<'a>(members: &'a [InitialMember], name: &str) -> Result<&'a InitialMember, ConfigError> {
    members.iter().find(|member| member.name == name).ok_or_else(|| {
        let found: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
        ConfigError::NotNamed { name: name.to_owned(), found: found.join(", ") }
    })
}

/// A member's entry in the initial cluster and the URLs that it advertises must be the same.
fn agree(own: &InitialMember, advertise_peer: &[Url]) -> Result<(), ConfigError> {
    let contains = |urls: &[Url], url: &Url| urls.iter().any(|other| other.is_same_place(url));
    let agree = own.peer_urls.iter().all(|url| contains(advertise_peer, url))
        && advertise_peer.iter().all(|url| contains(&own.peer_urls, url));
    if agree {
        return Ok(());
    }
    Err(ConfigError::Disagree {
        name: own.name.clone(),
        listed: joined(&own.peer_urls),
        advertised: joined(advertise_peer),
    })
}

/// URLs, separated by commas.
pub fn joined(urls: &[Url]) -> String {
    urls.iter().map(Url::to_string).collect::<Vec<_>>().join(",")
}

/// Names and tokens are kept as lines of text; a control character in one can only be a slip.
fn printable(flag: &'static str, text: &str) -> Result<(), ConfigError> {
    match text.chars().find(|character| character.is_control()) {
        None => Ok(()),
        Some(found) => Err(value_error(flag, format!("{text:?} contains the control character {found:?}: remove it"))),
    }
}

fn timing(settings: &Settings) -> Result<(Duration, Duration), ConfigError> {
    let heartbeat = bounded(settings, "heartbeat-interval", 1, ELECTION_TIMEOUT_MS_MAX)?;
    let election = bounded(settings, "election-timeout", 1, ELECTION_TIMEOUT_MS_MAX)?;
    if election < heartbeat * 5 {
        let problem = format!(
            "{election} ms is less than five times --heartbeat-interval ({heartbeat} ms), so that one late heartbeat \
             could cost the leader its office: set it to {} or more",
            heartbeat * 5
        );
        return Err(value_error("election-timeout", problem));
    }
    Ok((Duration::from_millis(heartbeat), Duration::from_millis(election)))
}

fn bounded(settings: &Settings, flag: &'static str, least: u64, most: u64) -> Result<u64, ConfigError> {
    let number = settings.unsigned(flag);
    if number < least || number > most {
        return Err(value_error(flag, format!("{number} is out of bounds: it must lie between {least} and {most}")));
    }
    Ok(number)
}

fn choice<'a>(settings: &'a Settings, flag: &'static str, known: &[&str]) -> Result<&'a str, ConfigError> {
    let text = settings.text(flag);
    if !known.contains(&text) {
        return Err(value_error(flag, format!("{text:?} is not known: it must be {}", known.join(" or "))));
    }
    Ok(text)
}

/// What etcd refuses in settings that have no effect here: a file that it would not start with is wrong here, too.
fn check_unused(settings: &Settings) -> Result<(), ConfigError> {
    if settings.switch("enable-distributed-tracing") {
        bounded(settings, "distributed-tracing-sampling-rate", 0, 1_000_000)?;
    }
    if settings.duration("compact-hash-check-time").is_zero() {
        return Err(value_error("compact-hash-check-time", "must be longer than zero"));
    }
    Ok(())
}

fn progress_notify_interval(settings: &Settings) -> Result<Duration, ConfigError> {
    let flag = "watch-progress-notify-interval";
    let interval = settings.duration(flag);
    if interval.is_zero() {
        return Err(value_error(flag, "must be longer than zero"));
    }
    Ok(interval)
}

/// The URLs of a flag: each readable, none twice, and at least one unless the flag's default is none.
fn urls(settings: &Settings, flag: &'static str) -> Result<Vec<Url>, ConfigError> {
    read_urls(flag, settings.list(flag))
}

fn read_urls(flag: &'static str, texts: &[String]) -> Result<Vec<Url>, ConfigError> {
    let mut urls: Vec<Url> = Vec::new();
    for text in texts {
        let url: Url = text.parse().map_err(|problem| ConfigError::Url { flag, text: text.clone(), problem })?;
        if urls.contains(&url) {
            return Err(value_error(flag, format!("{url} is listed twice")));
        }
        urls.push(url);
    }
    if urls.is_empty() && !["listen-metrics-urls", "listen-client-http-urls"].contains(&flag) {
        return Err(value_error(flag, "needs at least one URL"));
    }
    Ok(urls)
}

/// Without the flag it is this member alone.
fn initial_cluster(settings: &Settings, name: &str, own: &[Url]) -> Result<Vec<InitialMember>, ConfigError> {
    if !settings.is_set("initial-cluster") {
        return Ok(vec![InitialMember { name: name.to_owned(), peer_urls: own.to_vec() }]);
    }
    read_initial_cluster(settings.text("initial-cluster"))
}

/// Reads `name=url,name=url,…`; a name may come back with a further URL.
fn read_initial_cluster(text: &str) -> Result<Vec<InitialMember>, ConfigError> {
    let flag = "initial-cluster";
    let mut members: BTreeMap<String, Vec<Url>> = BTreeMap::new();
    let mut owners: Vec<(Url, String)> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, text) = part
            .split_once('=')
            .ok_or_else(|| value_error(flag, format!("{part:?} is not of the form name=peer-url")))?;
        let url: Url = text.parse().map_err(|problem| ConfigError::Url { flag, text: text.to_owned(), problem })?;
        printable(flag, name)?;
        if name.is_empty() {
            return Err(value_error(flag, format!("{part:?} has no name before its =")));
        }
        if let Some((_, other)) = owners.iter().find(|(taken, _)| *taken == url) {
            return Err(value_error(flag, format!("{url} is listed for {other:?} and again for {name:?}")));
        }
        owners.push((url.clone(), name.to_owned()));
        members.entry(name.to_owned()).or_default().push(url);
    }
    if members.is_empty() {
        return Err(value_error(flag, "is empty: it must list all members as name=peer-url,…"));
    }
    Ok(members.into_iter().map(|(name, peer_urls)| InitialMember { name, peer_urls }).collect())
}

#[cfg(test)]
mod tests;
