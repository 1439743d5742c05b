//! The connections that peers dial: who is let in, and what is read from them.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use kontiki_tls::{Acceptor, TlsSocket};
use tokio::io::AsyncRead;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::codec::{self, Packet};
use crate::error::FrameError;
use crate::frame::Class;
use crate::handshake::{Answer, HandshakeError, Opening};
use crate::listener::Address;
use crate::peer::{Peer, Task};
use crate::question;
use crate::report::Received;
use crate::stream::Stream;
use crate::transport::Shared;

/// Pause after a failed accept, which is mostly a lack of file descriptors that others must free first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Room for one read.
const READ_BYTES: usize = 64 << 10;

/// A buffer with less room than this is replaced before the next read.
const READ_BYTES_MIN: usize = 4 << 10;

/// Accepts connections until it is dropped.
pub(crate) async fn accept(shared: Arc<Shared>, listener: TcpListener, tls: Option<Arc<Acceptor>>) {
    let mut handshakes = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = handshakes.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if stream.set_nodelay(true).is_err() => {} // gone already
                Ok((stream, address)) if handshakes.len() < shared.options.handshakes_max => {
                    handshakes.spawn(welcome(shared.clone(), tls.clone(), stream, address));
                }
                Ok((_, address)) => shared.warn_inbound(address, "too many connections are in their handshake"),
                Err(error) => {
                    if shared.warnings.is_due() {
                        tracing::warn!(%error, "cannot accept a peer's connection, trying again");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Takes a new connection through its handshake.
async fn welcome(shared: Arc<Shared>, tls: Option<Arc<Acceptor>>, stream: TcpStream, address: SocketAddr) {
    let heard = match tls {
        None => plain(&shared, stream).await,
        Some(acceptor) => secure(&shared, &acceptor, stream, address).await,
    };
    let (stream, opening) = match heard {
        Ok(heard) => heard,
        Err(reason) => return shared.warn_inbound(address, &reason),
    };
    let (hello, addresses) = match opening {
        Ok(Opening::Hello(hello, mut addresses)) => {
            // Where TLS is spoken nobody talks this member into dialing without it.
            addresses.retain(|told| matches!(stream, Stream::Plain(_)) || Address::of(told).secure);
            (hello, addresses)
        }
        Ok(Opening::Question) => return question::answer(&shared, stream, address).await,
        Err(error @ HandshakeError::Version(_)) => {
            return refuse(&shared, stream, address, error.to_string(), false).await;
        }
        Err(error) => return shared.warn_inbound(address, &error.to_string()),
    };
    let peer = shared.met(&hello, &addresses);
    if let Some(reason) = hello.objection(shared.identity, peer.is_some(), address) {
        // Said by a member of its own cluster: it need not ask again.
        let removed = hello.identity.cluster_id == shared.identity.cluster_id
            && hello.expected == shared.identity.member_id
            && shared.is_removed(hello.identity.member_id);
        return refuse(&shared, stream, address, reason, removed).await;
    }
    let Some(peer) = peer else { return };
    // The stream goes to the task that reads it, or comes back for a refusal.
    let mut stream = Some(stream);
    let accepted = peer.accept(&hello, address, |number| {
        let receiver = Receiver { shared: shared.clone(), peer: peer.clone(), class: hello.class, number };
        let stream = stream.take().expect("the closure runs once");
        Task::new(&tokio::spawn(receiver.run(stream)))
    });
    if let (Err(reason), Some(stream)) = (accepted, stream) {
        refuse(&shared, stream, address, reason, false).await;
    }
}

/// A connection and what it began with, or why there is nothing to go on with.
type Heard = Result<(Stream, Result<Opening, HandshakeError>), String>;

async fn plain(shared: &Shared, mut stream: TcpStream) -> Heard {
    let opening = opening_in_time(shared, &mut stream).await?;
    Ok((Stream::Plain(stream), opening))
}

async fn secure(shared: &Shared, acceptor: &Acceptor, stream: TcpStream, address: SocketAddr) -> Heard {
    let accepted = acceptor.accept(stream, shared.options.handshake_timeout).await;
    let mut stream = accepted.map_err(|error| error.to_string())?.stream;
    let fits = acceptor.check_address(&stream, address.ip(), &shared.hosts()).await;
    fits.map_err(|error| format!("{error}; --peer-skip-client-san-verification would let it in"))?;
    let opening = opening_in_time(shared, &mut stream).await?;
    Ok((Stream::Tls(Box::new(TlsSocket::from(stream))), opening))
}

async fn opening_in_time(
    shared: &Shared,
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Result<Opening, HandshakeError>, String> {
    let opening = timeout(shared.options.handshake_timeout, Opening::read(stream)).await;
    opening.map_err(|_| "no handshake came in time".to_owned())
}

/// Tells the other side why it is not let in, and the operator. The layer above does not hear of it: anyone who reaches
/// the port could make it hear anything.
async fn refuse(shared: &Shared, stream: Stream, address: SocketAddr, reason: String, removed: bool) {
    shared.warn_inbound(address, &reason);
    let answer = Answer { identity: shared.identity, refusal: Some(reason), removed };
    // If the other side is gone already, nobody misses the answer.
    let _ = timeout(shared.options.handshake_timeout, stream.write_all(&answer.encode())).await;
}

/// Reads one accepted connection.
struct Receiver {
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    class: Class,
    /// The peer's name for the connection.
    number: u64,
}

/// Why reading ended.
enum Ended {
    /// The other side ended it.
    Lost,
    /// A newer connection took its place.
    Replaced,
    /// What came is not of this protocol, or our answer could not leave: we end it.
    Failed(String),
}

impl From<FrameError> for Ended {
    fn from(error: FrameError) -> Ended {
        Ended::Failed(error.to_string())
    }
}

impl Receiver {
    async fn run(self, mut stream: Stream) {
        let answer = Answer { identity: self.shared.identity, refusal: None, removed: false };
        let ended = match stream.write_all(&answer.encode()).await {
            Ok(()) => self.read(&mut stream).await.unwrap_or_else(|ended| ended),
            Err(_) => Ended::Lost,
        };
        drop(stream);
        if let Ended::Failed(reason) = &ended {
            tracing::warn!(peer = %self.peer.id, class = ?self.class, %reason, "connection from peer is closed");
        }
        self.peer.accepted_ended(self.class, self.number, matches!(ended, Ended::Lost));
    }

    /// Delivers what comes, all whole frames of one read at once.
    async fn read(&self, stream: &mut Stream) -> Result<Ended, Ended> {
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        loop {
            make_room(&mut buffer)?;
            match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return Ok(Ended::Lost),
                Ok(read) => self.peer.counters.bytes_received.add(read as u64),
            }
            let (batch, end) = self.split(&mut buffer, stream);
            if !self.peer.deliver(self.class, self.number, batch) {
                return Ok(Ended::Replaced);
            }
            self.shared.reporter.tend();
            end?;
        }
    }

    /// Takes the whole frames off the buffer and answers pings. What came before a broken frame still counts.
    fn split(&self, buffer: &mut BytesMut, stream: &Stream) -> (Vec<Received>, Result<(), Ended>) {
        let mut batch = Vec::new();
        loop {
            let packet = match codec::split_frame(buffer) {
                Ok(Some(frame)) => codec::decode_packet(frame),
                Ok(None) => return (batch, Ok(())),
                Err(error) => Err(error),
            };
            match packet {
                Ok(Packet::Frame(frame)) if frame.class() == self.class => {
                    batch.push(Received::Frame { from: self.peer.id, frame });
                }
                Ok(Packet::Frame(_)) => return (batch, Err(Ended::Failed("frame of another class".to_owned()))),
                Ok(Packet::Ping(stamp)) => {
                    if let Err(ended) = answer_ping(stream, stamp) {
                        return (batch, Err(ended));
                    }
                }
                Ok(Packet::Pong(_)) => return (batch, Err(Ended::Failed("answer to no ping".to_owned()))),
                Err(error) => return (batch, Err(error.into())),
            }
        }
    }
}

/// Room for the next read: what the frame in the buffer still lacks, but never more than what has come already or one
/// plain read, because the length is only the other side's claim.
fn make_room(buffer: &mut BytesMut) -> Result<(), FrameError> {
    let lacking = codec::frame_length(buffer)?.map_or(0, |length| length.saturating_sub(buffer.len()));
    let room = buffer.capacity() - buffer.len();
    if room < READ_BYTES_MIN || (room < lacking && room < READ_BYTES) {
        buffer.reserve(lacking.min(buffer.len()).max(READ_BYTES));
    }
    Ok(())
}

/// Sends a ping back. A peer that pings without reading the answers gets none; half an answer would break the stream.
fn answer_ping(stream: &Stream, stamp: u64) -> Result<(), Ended> {
    let mut pong = BytesMut::with_capacity(32);
    codec::encode_echo(&mut pong, codec::kind::PONG, stamp);
    match stream.try_write(&pong) {
        Ok(written) if written == pong.len() => Ok(()),
        Ok(_) => Err(Ended::Failed("answers to pings are not read".to_owned())),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        Err(_) => Err(Ended::Lost),
    }
}
