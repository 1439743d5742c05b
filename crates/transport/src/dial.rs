//! The connections that we dial: one task per peer and class keeps one up, writes what waits for it, and measures it.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use kontiki_tls::TlsSocket;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::codec::{self, Packet};
use crate::error::FrameError;
use crate::frame::Class;
use crate::handshake::{self, HandshakeError, Hello};
use crate::link::{Flushed, Link};
use crate::listener::Address;
use crate::peer::Peer;
use crate::report::Received;
use crate::stream::Stream;
use crate::transport::Shared;

/// A connection that lived this long was a good one: the pause before a redial starts small again.
const STABLE: Duration = Duration::from_secs(1);

/// Why a dial failed.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("cannot resolve the name: {0}")]
    Resolve(io::Error),
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error(
        "its URL is https, but this member has no TLS for peers: give it --peer-cert-file and --peer-trusted-ca-file"
    )]
    NoTls,
    #[error(transparent)]
    Tls(#[from] kontiki_tls::HandshakeError),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

/// Why an established connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the peer closed it")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the peer is silent")]
    Silent,
    #[error("the peer was restarted or removed")]
    GivenUp,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("a frame came on a connection that carries none in this direction")]
    Unexpected,
}

/// Dials a peer for as long as it is one.
pub(crate) async fn keep_connected(shared: Arc<Shared>, peer: Arc<Peer>, class: Class) {
    let options = shared.options;
    let mut pause = options.redial_min;
    loop {
        if let Some((stream, boot)) = dial(&shared, &peer, class).await {
            let since = Instant::now();
            let stream = Arc::new(stream);
            let Some(given_up) = peer.dialed(class, stream.clone(), boot) else { return };
            let ended = run(&shared, &peer, class, &stream, given_up).await;
            drop(stream);
            peer.dialed_ended(class, boot, matches!(ended, Ended::Closed | Ended::Io(_)));
            tracing::info!(peer = %peer.id, ?class, reason = %ended, "connection to peer ended");
            if since.elapsed() >= STABLE {
                pause = options.redial_min;
            }
        }
        tokio::select! {
            () = sleep(pause) => pause = (pause * 2).min(options.redial_max),
            () = peer.link(class).redial_wanted() => pause = options.redial_min,
        }
    }
}

/// Tries the peer's addresses in turn. Returns the connection and which boot of the peer is at its other end.
async fn dial(shared: &Shared, peer: &Peer, class: Class) -> Option<(Stream, u64)> {
    let limit = shared.options.handshake_timeout;
    let mut all_refused = true;
    for address in peer.addresses() {
        let attempt = timeout(limit, dial_address(shared, peer, class, &address)).await;
        let error = match attempt.unwrap_or(Err(DialError::Timeout(limit))) {
            Ok(connection) => {
                tracing::info!(peer = %peer.id, ?class, %address, "connected to peer");
                return Some(connection);
            }
            Err(error) => error,
        };
        all_refused &= matches!(&error, DialError::Connect(cause) if cause.kind() == ErrorKind::ConnectionRefused);
        if peer.warnings.is_due() {
            tracing::warn!(peer = %peer.id, %address, %error, "cannot reach peer, trying again");
        }
        // A refusal may end this member: whoever reaches the port can name an address, and would answer there.
        if let DialError::Handshake(HandshakeError::Refused { reason, removed }) = error
            && peer.is_known_at(&address)
        {
            shared.reporter.deliver(vec![Received::Refused { address, reason, removed }]);
        }
    }
    if all_refused && class == Class::Consensus {
        peer.dial_refused();
    }
    None
}

async fn dial_address(shared: &Shared, peer: &Peer, class: Class, address: &str) -> Result<(Stream, u64), DialError> {
    let address = Address::of(address);
    let resolved = tokio::net::lookup_host(address.authority).await.map_err(DialError::Resolve)?;
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for target in resolved {
        match TcpStream::connect(target).await {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(DialError::Connect)?;
                let sequence = shared.next_dial();
                let hello = Hello { identity: shared.identity, expected: peer.id, sequence, class };
                return open(shared, address, stream, hello).await;
            }
            Err(error) => last = error,
        }
    }
    Err(DialError::Connect(last))
}

/// Takes a fresh connection through the handshakes: that of TLS, if the address wants it, and ours.
async fn open(
    shared: &Shared,
    address: Address<'_>,
    mut stream: TcpStream,
    hello: Hello,
) -> Result<(Stream, u64), DialError> {
    let own_addresses = shared.own_addresses();
    if !address.secure {
        let boot = handshake::open(&mut stream, hello, &own_addresses).await?;
        return Ok((Stream::Plain(stream), boot));
    }
    let connector = shared.connector.as_ref().ok_or(DialError::NoTls)?;
    let mut stream = connector.connect(address.host(), stream, shared.options.handshake_timeout).await?;
    let boot = handshake::open(&mut stream, hello, &own_addresses).await?;
    Ok((Stream::Tls(Box::new(TlsSocket::from(stream))), boot))
}

/// Serves an established connection until it ends.
async fn run(shared: &Shared, peer: &Peer, class: Class, stream: &Stream, given_up: oneshot::Receiver<()>) -> Ended {
    let link = peer.link(class);
    tokio::select! {
        biased; // answers first: one that is there already must not be missed because a timer ran out as well
        ended = read_answers(shared, peer, link, stream) => ended.unwrap_or_else(|ended| ended),
        _ = given_up => Ended::GivenUp,
        ended = write_pending(peer, link, stream) => ended.unwrap_or_else(|error| error.into()),
        () = ping(shared, link) => Ended::Silent,
    }
}

/// Reads pongs; nothing else comes on a connection that we dialed. Also notices its end.
async fn read_answers(shared: &Shared, peer: &Peer, link: &Link, stream: &Stream) -> Result<Ended, Ended> {
    let mut buffer = BytesMut::new();
    loop {
        stream.readable().await?;
        buffer.reserve(64);
        match stream.try_read_buf(&mut buffer) {
            Ok(0) => return Ok(Ended::Closed),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        }
        while let Some(frame) = codec::split_frame(&mut buffer)? {
            let Packet::Pong(stamp) = codec::decode_packet(frame)? else { return Err(Ended::Unexpected) };
            link.ping_answered();
            peer.counters.round_trip(shared.uptime_us().saturating_sub(stamp).max(1));
        }
        if codec::frame_length(&buffer)?.is_some_and(|length| length > 64) {
            return Err(Ended::Unexpected);
        }
    }
}

/// Writes whatever the senders could not write themselves.
async fn write_pending(peer: &Peer, link: &Link, stream: &Stream) -> io::Result<Ended> {
    loop {
        match link.flush(&peer.counters)? {
            Flushed::All => link.write_wanted().await,
            Flushed::Part => tokio::task::yield_now().await,
            Flushed::Blocked => stream.writable().await?,
        }
    }
}

/// Pings now and then; ends when the peer is silent.
async fn ping(shared: &Shared, link: &Link) {
    while link.ping(shared.uptime_us()) {
        sleep(shared.options.ping_interval).await;
    }
}
