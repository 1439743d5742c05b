//! Connections to members: endpoints tried in turn, time limits, the token of a user, and one place where calls are made.
//!
//! A read that finds its member unavailable is asked again at the next endpoint until the command's time is over. A write is
//! asked once: a member that stopped answering may have done it already.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kontiki_api::election::election_client::ElectionClient;
use kontiki_api::lock::lock_client::LockClient;
use kontiki_api::rpc::{
    AuthenticateRequest, auth_client::AuthClient, cluster_client::ClusterClient, kv_client::KvClient,
    lease_client::LeaseClient, maintenance_client::MaintenanceClient, watch_client::WatchClient,
};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::dial::{Address, Connector};
use super::failure::{Failure, describe};
use super::password;
use super::secure::TlsChoice;
use super::settings::{Login, Settings};
use super::show::{Printer, Show};

/// Pause before a failed attempt is repeated.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Servers of this protocol cut connections whose clients ask for signs of life more often than this.
const KEEPALIVE_TIME_MIN: Duration = Duration::from_secs(10);

/// What a command needs to talk to the cluster and to print.
pub struct Context {
    pub settings: Settings,
    pub tls: TlsChoice,
    /// A password that was asked for.
    typed: OnceCell<String>,
    /// The connection of the last call.
    last: RefCell<Option<Rc<Connection>>>,
}

impl Context {
    /// Settings that can be served.
    pub fn new(settings: Settings) -> Result<Context, Failure> {
        settings.check()?;
        let tls = TlsChoice::of(&settings.tls)?;
        Ok(Context { settings, tls, typed: OnceCell::new(), last: RefCell::default() })
    }

    /// A printer for one kind of answer. Asked for before the call, so that a form which does not exist for this answer is
    /// refused before anything has been changed.
    pub fn printer<T: Show>(&self) -> Result<Printer, Failure> {
        Printer::for_answer::<T>(self.settings.format()?, self.settings.hex)
    }

    /// Makes one call at an endpoint that can be reached.
    pub async fn write<T>(&self, ask: impl AsyncFn(&Connection) -> Result<T, Status>) -> Result<T, Failure> {
        let connection = self.kept(0).await?;
        let answer = self.attempt(&connection, &ask, self.deadline()).await?;
        answer.map_err(|status| {
            self.forget(&status);
            connection.failure(&status)
        })
    }

    /// Makes one call that does no harm when it is made twice; repeats it elsewhere when a member is unavailable.
    pub async fn read<T>(&self, ask: impl AsyncFn(&Connection) -> Result<T, Status>) -> Result<T, Failure> {
        let deadline = self.deadline();
        let mut first = 0;
        loop {
            let connection = self.kept(first).await?;
            match self.attempt(&connection, &ask, deadline).await? {
                Ok(answer) => return Ok(answer),
                Err(status) if self.forget(&status) && Instant::now() + RETRY_PAUSE < deadline => {
                    first = connection.position + 1;
                    sleep(RETRY_PAUSE).await;
                }
                Err(status) => return Err(connection.failure(&status)),
            }
        }
    }

    /// The connection of the last call, while it serves; else a new one. A command that makes thousands of calls logs in once.
    async fn kept(&self, first: usize) -> Result<Rc<Connection>, Failure> {
        if let Some(connection) = &*self.last.borrow() {
            return Ok(Rc::clone(connection));
        }
        let connection = Rc::new(self.connect(first).await?);
        *self.last.borrow_mut() = Some(Rc::clone(&connection));
        Ok(connection)
    }

    /// Lets go of the connection if the member behind it is away or of no use now; says whether it is.
    fn forget(&self, status: &Status) -> bool {
        let away = status.code() == Code::Unavailable || std::error::Error::source(status).is_some();
        if away {
            self.last.borrow_mut().take();
        }
        away
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.settings.command_timeout
    }

    async fn attempt<T>(
        &self,
        connection: &Connection,
        ask: &impl AsyncFn(&Connection) -> Result<T, Status>,
        deadline: Instant,
    ) -> Result<Result<T, Status>, Failure> {
        let asked = timeout_at(deadline, async {
            match ask(connection).await {
                Err(status) if stale(&status) && self.renew_login(connection).await => ask(connection).await,
                answer => answer,
            }
        });
        asked.await.map_err(|_| {
            Failure::error(format!(
                "context deadline exceeded: no answer from {} within {:?} (--command-timeout)",
                connection.endpoint, self.settings.command_timeout
            ))
        })
    }

    /// A connection to the first endpoint, from position `first` on and around, that can be reached. All are tried again
    /// until the time to dial is over.
    pub async fn connect(&self, first: usize) -> Result<Connection, Failure> {
        let endpoints = &self.settings.endpoints;
        let deadline = Instant::now() + self.settings.dial_timeout;
        loop {
            let mut troubles = Vec::new();
            for step in 0..endpoints.len() {
                let position = (first + step) % endpoints.len();
                match self.dial(&endpoints[position]).await {
                    Ok(connection) => return self.log_in(Connection { position, ..connection }).await,
                    Err(reason) => troubles.push(format!("{}: {reason}", endpoints[position])),
                }
            }
            if Instant::now() + RETRY_PAUSE >= deadline {
                return Err(Failure::connection(format!(
                    "no endpoint can be reached; start a member there or name others with --endpoints\n  {}",
                    troubles.join("\n  ")
                )));
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    /// Makes one call at this endpoint and no other; an error is the bare reason.
    pub async fn ask_endpoint<T>(
        &self,
        endpoint: &str,
        ask: impl AsyncFn(&Connection) -> Result<T, Status>,
    ) -> Result<T, String> {
        let connection = self.connect_only(endpoint).await?;
        let answer = timeout_at(self.deadline(), ask(&connection)).await;
        let answer = answer.map_err(|_| format!("no answer within {:?}", self.settings.command_timeout))?;
        answer.map_err(|status| describe(&status, endpoint))
    }

    /// A connection to this endpoint and no other; an error is the bare reason.
    pub async fn connect_only(&self, endpoint: &str) -> Result<Connection, String> {
        let connection = self.dial(endpoint).await?;
        self.log_in(connection).await.map_err(|failure| failure.to_string())
    }

    async fn dial(&self, endpoint: &str) -> Result<Connection, String> {
        let address = Address::parse(endpoint)?;
        let tls = self.tls.for_address(&address)?;
        let channel = Endpoint::from_shared(address.uri(tls.is_some()))
            .map_err(|error| root(&error).to_string())?
            .http2_keep_alive_interval(self.settings.keepalive_time.max(KEEPALIVE_TIME_MIN))
            .keep_alive_timeout(self.settings.keepalive_timeout);
        let channel = timeout(self.settings.dial_timeout, channel.connect_with_connector(Connector { address, tls }))
            .await
            .map_err(|_| format!("no connection within {:?} (--dial-timeout)", self.settings.dial_timeout))?
            .map_err(|error| root(&error).to_string())?;
        let limits =
            Limits { send: at_most(self.settings.max_request_bytes), receive: at_most(self.settings.max_recv_bytes) };
        Ok(Connection { channel, token: Token::default(), limits, endpoint: endpoint.to_string(), position: 0 })
    }

    /// Gives the connection the token of the user, if there is one.
    async fn log_in(&self, connection: Connection) -> Result<Connection, Failure> {
        if let Some(token) = &self.settings.login.auth_jwt_token {
            connection.token.set(token)?;
            return Ok(connection);
        }
        if let Some((name, password)) = self.user()? {
            let asked = timeout(self.settings.command_timeout, connection.authenticate(name, password)).await;
            let asked =
                asked.map_err(|_| Failure::error(format!("{} does not answer the login", connection.endpoint)))?;
            asked?;
        }
        Ok(connection)
    }

    /// Gets a new token where the old one was not taken any more; whether there is one.
    pub async fn renew_login(&self, connection: &Connection) -> bool {
        match self.user() {
            Ok(Some((name, password))) => connection.authenticate(name, password).await.is_ok(),
            _ => false,
        }
    }

    /// The user and the password to log in with. A password that was not given is asked for, once.
    fn user(&self) -> Result<Option<(&str, &str)>, Failure> {
        let Login { user, password, .. } = &self.settings.login;
        let Some(user) = user.as_deref().filter(|user| !user.is_empty()) else {
            return Ok(None);
        };
        match (password, user.split_once(':')) {
            (Some(password), _) => Ok(Some((user, password))),
            (None, Some(both)) => Ok(Some(both)),
            (None, None) => {
                if self.typed.get().is_none() {
                    let _ = self.typed.set(password::ask("Password: ")?); // only this task sets it
                }
                Ok(self.typed.get().map(|typed| (user, typed.as_str())))
            }
        }
    }
}

fn at_most(bytes: usize) -> usize {
    if bytes == 0 { usize::MAX } else { bytes }
}

/// Whether a call was refused for a token that ran out or is older than the last change of users and roles. Such a call did
/// nothing.
pub fn stale(status: &Status) -> bool {
    ["etcdserver: invalid auth token", "etcdserver: revision of auth store is old"].contains(&status.message())
}

/// The deepest reason of an error: the operating system's words.
fn root<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a dyn std::error::Error {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause
}

/// A channel that adds the user's token to each call.
pub type Link = InterceptedService<Channel, Token>;

/// Largest messages, in bytes.
#[derive(Clone, Copy)]
struct Limits {
    send: usize,
    receive: usize,
}

/// A connection to one member.
pub struct Connection {
    channel: Channel,
    token: Token,
    limits: Limits,
    /// The endpoint as the user wrote it.
    pub endpoint: String,
    /// Its place in `--endpoints`.
    pub position: usize,
}

// Every client is made alike; they have no common trait.
macro_rules! client {
    ($(#[$doc:meta])* $name:ident, $client:ident) => {
        $(#[$doc])*
        pub fn $name(&self) -> $client<Link> {
            let link = InterceptedService::new(self.channel.clone(), self.token.clone());
            let client = $client::new(link).max_encoding_message_size(self.limits.send);
            client.max_decoding_message_size(self.limits.receive)
        }
    };
}

impl Connection {
    client!(/// Keys and values.
        kv, KvClient);
    client!(/// Watches.
        watch, WatchClient);
    client!(/// Leases.
        lease, LeaseClient);
    client!(/// Members.
        cluster, ClusterClient);
    client!(/// Maintenance of this one member.
        maintenance, MaintenanceClient);
    client!(/// Users and roles.
        auth, AuthClient);
    client!(/// Locks.
        lock, LockClient);
    client!(/// Elections.
        election, ElectionClient);

    /// A failed call as the end of the command.
    pub fn failure(&self, status: &Status) -> Failure {
        Failure::error(describe(status, &self.endpoint))
    }

    /// Whether a token is sent with each call.
    pub fn logged_in(&self) -> bool {
        self.token.0.lock().expect("nobody panics with the token in hand").is_some()
    }

    /// Logs in. Where nobody is checked nobody needs to.
    async fn authenticate(&self, name: &str, password: &str) -> Result<(), Failure> {
        let request = AuthenticateRequest { name: name.into(), password: password.into() };
        self.token.clear();
        match self.auth().authenticate(request).await {
            Ok(answer) => self.token.set(&answer.into_inner().token),
            Err(status) if status.message() == "etcdserver: authentication is not enabled" => Ok(()),
            // As etcdctl: a login belongs to the making of the connection.
            Err(status) => Err(self.failure(&status).blaming_connection()),
        }
    }
}

/// What the server gave out for a login; nothing when nobody logged in. Copies share it.
#[derive(Clone, Debug, Default)]
pub struct Token(Arc<Mutex<Option<MetadataValue<Ascii>>>>);

impl Token {
    fn set(&self, token: &str) -> Result<(), Failure> {
        let value =
            token.parse().map_err(|_| Failure::arguments("the token contains bytes that no header may have"))?;
        *self.0.lock().expect("nobody panics with the token in hand") = Some(value);
        Ok(())
    }

    fn clear(&self) {
        *self.0.lock().expect("nobody panics with the token in hand") = None;
    }
}

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &*self.0.lock().expect("nobody panics with the token in hand") {
            request.metadata_mut().insert("token", token.clone());
        }
        Ok(request)
    }
}
