//! Connections to members: endpoints tried in turn, time limits, the token of a user, and one place where calls are made.
//!
//! A read that finds its member unavailable is asked again at the next endpoint until the command's time is over. A write is
//! asked once: a member that stopped answering may have done it already.

use std::time::Duration;

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

use super::failure::{Failure, describe};
use super::settings::Settings;
use super::show::{Printer, Show};

/// Pause before a failed attempt is repeated.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Servers of this protocol cut connections whose clients ask for signs of life more often than this.
const KEEPALIVE_TIME_MIN: Duration = Duration::from_secs(10);

/// What a command needs to talk to the cluster and to print.
pub struct Context {
    pub settings: Settings,
}

impl Context {
    /// Settings that can be served.
    pub fn new(settings: Settings) -> Result<Context, Failure> {
        settings.check()?;
        Ok(Context { settings })
    }

    /// A printer for one kind of answer. Asked for before the call, so that a form which does not exist for this answer is
    /// refused before anything has been changed.
    pub fn printer<T: Show>(&self) -> Result<Printer, Failure> {
        Printer::for_answer::<T>(self.settings.format()?, self.settings.hex)
    }

    /// Makes one call at the first endpoint that can be reached.
    pub async fn write<T>(&self, ask: impl AsyncFn(&Connection) -> Result<T, Status>) -> Result<T, Failure> {
        let connection = self.connect(0).await?;
        self.attempt(&connection, &ask, self.deadline()).await?.map_err(|status| connection.failure(&status))
    }

    /// Makes one call without side effects; repeats it elsewhere when a member is unavailable.
    pub async fn read<T>(&self, ask: impl AsyncFn(&Connection) -> Result<T, Status>) -> Result<T, Failure> {
        let deadline = self.deadline();
        let mut first = 0;
        loop {
            let connection = self.connect(first).await?;
            match self.attempt(&connection, &ask, deadline).await? {
                Ok(answer) => return Ok(answer),
                Err(status) if status.code() == Code::Unavailable && Instant::now() + RETRY_PAUSE < deadline => {
                    first = connection.position + 1;
                    sleep(RETRY_PAUSE).await;
                }
                Err(status) => return Err(connection.failure(&status)),
            }
        }
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
        timeout_at(deadline, ask(connection)).await.map_err(|_| {
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
        let connection = self.dial(endpoint).await?;
        let connection = self.log_in(connection).await.map_err(|failure| failure.to_string())?;
        let answer = timeout_at(self.deadline(), ask(&connection)).await;
        let answer = answer.map_err(|_| format!("no answer within {:?}", self.settings.command_timeout))?;
        answer.map_err(|status| describe(&status, endpoint))
    }

    async fn dial(&self, endpoint: &str) -> Result<Connection, String> {
        let uri = if endpoint.contains("://") { endpoint.to_string() } else { format!("http://{endpoint}") };
        let reason = |error: &(dyn std::error::Error + 'static)| root(error).to_string();
        let channel = Endpoint::from_shared(uri)
            .map_err(|error| reason(&error))?
            .tcp_nodelay(true)
            .http2_keep_alive_interval(self.settings.keepalive_time.max(KEEPALIVE_TIME_MIN))
            .keep_alive_timeout(self.settings.keepalive_timeout);
        let channel = timeout(self.settings.dial_timeout, channel.connect())
            .await
            .map_err(|_| format!("no connection within {:?} (--dial-timeout)", self.settings.dial_timeout))?
            .map_err(|error| reason(&error))?;
        Ok(Connection { channel, token: Token::default(), endpoint: endpoint.to_string(), position: 0 })
    }

    /// Gives the connection the token of the user, if there is one.
    async fn log_in(&self, connection: Connection) -> Result<Connection, Failure> {
        if let Some(token) = &self.settings.auth_jwt_token {
            return Ok(Connection { token: Token::new(token)?, ..connection });
        }
        let Some(user) = &self.settings.user else {
            return Ok(connection);
        };
        let (name, password) = match (&self.settings.password, user.split_once(':')) {
            (Some(password), _) => (user.as_str(), password.as_str()),
            (None, Some(both)) => both,
            (None, None) => {
                return Err(Failure::arguments(
                    "--user needs a password: write --user name:password or add --password",
                ));
            }
        };
        let request = AuthenticateRequest { name: name.into(), password: password.into() };
        let mut client = AuthClient::new(connection.link());
        let answer = timeout(self.settings.command_timeout, client.authenticate(request)).await;
        let answer =
            answer.map_err(|_| Failure::error(format!("{} does not answer the login", connection.endpoint)))?;
        let token = Token::new(&answer.map_err(|status| connection.failure(&status))?.into_inner().token)?;
        Ok(Connection { token, ..connection })
    }
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

/// A connection to one member.
pub struct Connection {
    channel: Channel,
    token: Token,
    /// The endpoint as the user wrote it.
    pub endpoint: String,
    /// Its place in `--endpoints`.
    pub position: usize,
}

impl Connection {
    /// Keys and values.
    pub fn kv(&self) -> KvClient<Link> {
        // The limit of a message is the server's affair: this program prints what it is sent.
        KvClient::new(self.link()).max_decoding_message_size(usize::MAX)
    }

    /// Watches.
    pub fn watch(&self) -> WatchClient<Link> {
        WatchClient::new(self.link()).max_decoding_message_size(usize::MAX)
    }

    /// Leases.
    pub fn lease(&self) -> LeaseClient<Link> {
        LeaseClient::new(self.link()).max_decoding_message_size(usize::MAX)
    }

    /// Members.
    pub fn cluster(&self) -> ClusterClient<Link> {
        ClusterClient::new(self.link())
    }

    /// Maintenance of this one member.
    pub fn maintenance(&self) -> MaintenanceClient<Link> {
        MaintenanceClient::new(self.link())
    }

    /// A failed call as the end of the command.
    pub fn failure(&self, status: &Status) -> Failure {
        Failure::error(describe(status, &self.endpoint))
    }

    fn link(&self) -> Link {
        InterceptedService::new(self.channel.clone(), self.token.clone())
    }
}

/// What the server gave out for a login; nothing when nobody logged in.
#[derive(Clone, Debug, Default)]
pub struct Token(Option<MetadataValue<Ascii>>);

impl Token {
    fn new(token: &str) -> Result<Token, Failure> {
        let value =
            token.parse().map_err(|_| Failure::arguments("the token contains bytes that no header may have"))?;
        Ok(Token(Some(value)))
    }
}

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("token", token.clone());
        }
        Ok(request)
    }
}
