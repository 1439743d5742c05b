//! How a connection opens: the dialer says who it is and whom it wants, the acceptor answers who it is and whether it
//! may. The layout is in `docs/formats/peer.md`.

use std::fmt;
use std::io;

use kontiki_raft::NodeId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::frame::Class;
use crate::options::Identity;

/// First bytes of both sides of a connection.
const MAGIC: [u8; 8] = *b"kontiki\n";

/// The version of everything in `docs/formats/peer.md`.
const VERSION: u16 = 4;

/// Magic and version: what every version begins with.
const PREFIX_BYTES: usize = 10;
const HELLO_BYTES: usize = PREFIX_BYTES + 2 + 5 * 8 + 4;
const ANSWER_BYTES: usize = PREFIX_BYTES + 2 + 3 * 8 + 4 + 4;

/// Stands in a class's place where somebody who is no member asks for them.
const QUESTION: u8 = 2;

/// The longest list of addresses that is told or read.
const ADDRESSES_BYTES_MAX: usize = 4096;

/// The longest refusal that is read.
const REFUSAL_BYTES_MAX: usize = 1024;

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("what answers there does not speak kontiki's peer protocol")]
    NotKontiki,
    #[error("the other side speaks TLS; are the URLs https where they should be http, or the other way round?")]
    Tls,
    #[error("peer protocol version {0} is not spoken by this release, which speaks version {VERSION}")]
    Version(u16),
    #[error("handshake is damaged: {0}")]
    Damaged(&'static str),
    #[error("refused by the peer: {reason}")]
    Refused { reason: String, removed: bool },
}

/// What the dialer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) identity: Identity,
    /// The member that the dialer means to reach.
    pub(crate) expected: NodeId,
    /// Grows with every dial of a process, so that of two connections the older one is known.
    pub(crate) sequence: u64,
    pub(crate) class: Class,
}

/// What a connection is opened for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// A member's frames, and the addresses that it says it is reached at, if it says any.
    Hello(Hello, Vec<String>),
    /// Somebody who is no member asks who the members are.
    Question,
}

/// What the acceptor says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) identity: Identity,
    /// Why not, if not.
    pub(crate) refusal: Option<String>,
    /// The dialer was a member, and never will be again.
    pub(crate) removed: bool,
}

impl Hello {
    /// The bytes, with the addresses that the dialer itself is reached at.
    pub(crate) fn encode(&self, addresses: &[String]) -> Vec<u8> {
        let class = match self.class {
            Class::Consensus => 0,
            Class::Snapshot => 1,
        };
        let identity = self.identity;
        let numbers = [identity.cluster_id, identity.member_id.0, identity.boot, self.expected.0, self.sequence];
        let text = addresses.join(",");
        let told = !text.is_empty() && text.len() <= ADDRESSES_BYTES_MAX;
        let mut out = opening([class, u8::from(told)], numbers);
        if told {
            out.extend((text.len() as u32).to_le_bytes());
            out.extend(crc32c::crc32c(text.as_bytes()).to_le_bytes());
            out.extend(text.as_bytes());
        }
        out
    }

    /// Why this hello, from `address`, is not welcome at the member `ours`; none if it is. `known`: the dialer is among
    /// the members.
    pub(crate) fn objection(&self, ours: Identity, known: bool, address: impl fmt::Display) -> Option<String> {
        let theirs = self.identity;
        if theirs.cluster_id != ours.cluster_id {
            return Some(format!(
                "cluster id mismatch: this member belongs to cluster {:x}, the peer at {address} says {:x}; check \
                 --initial-cluster-token and --initial-cluster",
                ours.cluster_id, theirs.cluster_id
            ));
        }
        if self.expected != ours.member_id {
            return Some(format!(
                "member id mismatch: the peer at {address} means to reach member {}, this is member {}; check the peer \
                 URLs in --initial-cluster",
                self.expected, ours.member_id
            ));
        }
        (!known).then(|| {
            format!(
                "unknown member: the peer at {address} says it is member {}, which is not in the member list of member \
                 {}; add it, or check --initial-cluster",
                theirs.member_id, ours.member_id
            )
        })
    }
}

impl Opening {
    /// Reads what the dialer of a connection says.
    pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Opening, HandshakeError> {
        let bytes = read_versioned::<HELLO_BYTES>(stream).await?;
        check_checksum(&bytes)?;
        let class = match bytes[PREFIX_BYTES..PREFIX_BYTES + 2] {
            [0, 0 | 1] => Class::Consensus,
            [1, 0 | 1] => Class::Snapshot,
            [QUESTION, 0] => return Ok(Opening::Question),
            _ => return Err(HandshakeError::Damaged("unknown class")),
        };
        let [cluster_id, member_id, boot, expected, sequence] = numbers(&bytes);
        let identity = Identity { cluster_id, member_id: NodeId(member_id), boot };
        let hello = Hello { identity, expected: NodeId(expected), sequence, class };
        let told = bytes[PREFIX_BYTES + 1] == 1;
        let addresses = if told { read_addresses(stream).await? } else { Vec::new() };
        Ok(Opening::Hello(hello, addresses))
    }
}

async fn read_addresses(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<String>, HandshakeError> {
    let (length, checksum) = (stream.read_u32_le().await? as usize, stream.read_u32_le().await?);
    if length > ADDRESSES_BYTES_MAX {
        return Err(HandshakeError::Damaged("addresses too long"));
    }
    let mut text = vec![0; length];
    stream.read_exact(&mut text).await?;
    if crc32c::crc32c(&text) != checksum {
        return Err(HandshakeError::Damaged("checksum"));
    }
    let text = String::from_utf8(text).map_err(|_| HandshakeError::Damaged("addresses are not text"))?;
    Ok(text.split(',').filter(|address| !address.is_empty()).map(str::to_owned).collect())
}

/// The bytes that open a connection.
fn opening(kind: [u8; 2], numbers: [u64; 5]) -> Vec<u8> {
    let mut out = prefix(HELLO_BYTES);
    out.extend(kind);
    for number in numbers {
        out.extend(number.to_le_bytes());
    }
    put_checksum(&mut out);
    out
}

impl Answer {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let text = self.refusal.as_deref().unwrap_or_default().as_bytes();
        let text = &text[..text.len().min(REFUSAL_BYTES_MAX)];
        let mut out = prefix(ANSWER_BYTES + text.len());
        out.extend([u8::from(self.refusal.is_some()) + u8::from(self.refusal.is_some() && self.removed), 0]);
        for number in [self.identity.cluster_id, self.identity.member_id.0, self.identity.boot] {
            out.extend(number.to_le_bytes());
        }
        out.extend((text.len() as u32).to_le_bytes());
        put_checksum(&mut out);
        out.extend(text);
        out
    }

    async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Answer, HandshakeError> {
        let bytes = read_versioned::<ANSWER_BYTES>(stream).await?;
        check_checksum(&bytes)?;
        let (refused, removed) = match bytes[PREFIX_BYTES..PREFIX_BYTES + 2] {
            [0, 0] => (false, false),
            [1, 0] => (true, false),
            [2, 0] => (true, true),
            _ => return Err(HandshakeError::Damaged("unknown verdict")),
        };
        let [cluster_id, member_id, boot, text_bytes] = numbers(&bytes);
        let text_bytes = (text_bytes as u32) as usize; // the checksum behind it shares the fourth word
        if text_bytes > REFUSAL_BYTES_MAX {
            return Err(HandshakeError::Damaged("refusal too long"));
        }
        let mut text = vec![0; text_bytes];
        stream.read_exact(&mut text).await?;
        Ok(Answer {
            identity: Identity { cluster_id, member_id: NodeId(member_id), boot },
            refusal: refused.then(|| String::from_utf8_lossy(&text).into_owned()),
            removed,
        })
    }
}

/// Opens a dialed connection. Returns which boot of the process is at its other end.
pub(crate) async fn open(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    hello: Hello,
    addresses: &[String],
) -> Result<u64, HandshakeError> {
    stream.write_all(&hello.encode(addresses)).await?;
    let Answer { identity, refusal, removed } = Answer::read(stream).await?;
    if let Some(reason) = refusal {
        // That this member is out for good counts only from the member that was called.
        let called = identity.cluster_id == hello.identity.cluster_id && identity.member_id == hello.expected;
        return Err(HandshakeError::Refused { reason, removed: removed && called });
    }
    if identity.cluster_id != hello.identity.cluster_id || identity.member_id != hello.expected {
        return Err(HandshakeError::Damaged("accepted by another member than was called"));
    }
    Ok(identity.boot)
}

/// Opens a connection to ask who the members are. What follows is the answer to that.
pub(crate) async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), HandshakeError> {
    stream.write_all(&opening([QUESTION, 0], [0; 5])).await?;
    match Answer::read(stream).await? {
        Answer { refusal: Some(reason), removed, .. } => Err(HandshakeError::Refused { reason, removed }),
        Answer { refusal: None, .. } => Ok(()),
    }
}

fn prefix(capacity: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(capacity);
    out.extend(MAGIC);
    out.extend(VERSION.to_le_bytes());
    out
}

/// Reads a message of `N` bytes, but no further than its prefix if that is not ours: what follows may be anything.
async fn read_versioned<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> Result<[u8; N], HandshakeError> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes[..2]).await?;
    // An alert, or a greeting, of TLS 1.0 or later.
    if matches!(bytes[..2], [0x15 | 0x16, 0x03]) {
        return Err(HandshakeError::Tls);
    }
    stream.read_exact(&mut bytes[2..PREFIX_BYTES]).await?;
    if bytes[..MAGIC.len()] != MAGIC {
        return Err(HandshakeError::NotKontiki);
    }
    let version = u16::from_le_bytes([bytes[MAGIC.len()], bytes[MAGIC.len() + 1]]);
    if version != VERSION {
        return Err(HandshakeError::Version(version));
    }
    stream.read_exact(&mut bytes[PREFIX_BYTES..]).await?;
    Ok(bytes)
}

/// The numbers behind the two bytes that follow the prefix.
fn numbers<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let (words, _) = bytes[PREFIX_BYTES + 2..].as_chunks::<8>();
    std::array::from_fn(|i| u64::from_le_bytes(words[i]))
}

fn put_checksum(out: &mut Vec<u8>) {
    out.extend(crc32c::crc32c(out).to_le_bytes());
}

/// The last four bytes are the checksum of all before them.
fn check_checksum(bytes: &[u8]) -> Result<(), HandshakeError> {
    let (body, sum) = bytes.split_at(bytes.len() - 4);
    if crc32c::crc32c(body).to_le_bytes() == sum { Ok(()) } else { Err(HandshakeError::Damaged("checksum")) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const OURS: Identity = Identity { cluster_id: 0xc1, member_id: NodeId(2), boot: 7 };

    fn hello() -> Hello {
        Hello {
            identity: Identity { cluster_id: 0xc1, member_id: NodeId(1), boot: 0x0102_0304 },
            expected: NodeId(2),
            sequence: 3,
            class: Class::Snapshot,
        }
    }

    #[tokio::test]
    async fn a_hello_is_these_bytes() {
        let bytes = hello().encode(&[]);
        let golden = "6b6f6e74696b690a 0400 01 00 c100000000000000 0100000000000000 0403020100000000 \
                      0200000000000000 0300000000000000 ";
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(&bytes[..HELLO_BYTES - 4]), golden.replace(' ', ""));
        assert_eq!(Opening::read(&mut &bytes[..]).await.unwrap(), Opening::Hello(hello(), vec![]));
        let addresses = ["a:1".to_owned(), "b:2".to_owned()];
        let told = Opening::read(&mut &hello().encode(&addresses)[..]).await.unwrap();
        assert_eq!(told, Opening::Hello(hello(), addresses.to_vec()));
        let question = Opening::read(&mut &opening([QUESTION, 0], [0; 5])[..]).await.unwrap();
        assert_eq!(question, Opening::Question);
    }

    #[tokio::test]
    async fn answers_survive_the_wire() {
        for refusal in [None, Some("not here".to_owned()), Some(String::new())] {
            let removed = refusal.as_deref() == Some("");
            let answer = Answer { identity: OURS, refusal, removed };
            assert_eq!(Answer::read(&mut &answer.encode()[..]).await.unwrap(), answer);
        }
    }

    #[tokio::test]
    async fn every_changed_byte_is_noticed() {
        let bytes = hello().encode(&["a:1".to_owned()]);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert!(Opening::read(&mut &changed[..]).await.is_err(), "byte {at}");
        }
        let other_version = {
            let mut changed = bytes.clone();
            changed[8] = 9;
            changed
        };
        assert!(matches!(Opening::read(&mut &other_version[..]).await, Err(HandshakeError::Version(9))));
        assert!(matches!(Opening::read(&mut &b"GET / HTTP/1.1\r\n\r\n"[..]).await, Err(HandshakeError::NotKontiki)));
    }

    #[test]
    fn objections_say_what_is_wrong() {
        assert_eq!(hello().objection(OURS, true, "a:1"), None);
        let mut other_cluster = hello();
        other_cluster.identity.cluster_id = 0xbeef;
        let text = other_cluster.objection(OURS, true, "a:1").unwrap();
        assert!(text.starts_with("cluster id mismatch: this member belongs to cluster c1, the peer at a:1 says beef;"));
        let text = Hello { expected: NodeId(3), ..hello() }.objection(OURS, true, "a:1").unwrap();
        assert!(text.starts_with("member id mismatch:"), "{text}");
        let text = hello().objection(OURS, false, "a:1").unwrap();
        assert!(text.starts_with("unknown member:"), "{text}");
    }
}
