//! What the payload of an entry means to the engine: its first byte.
//!
//! An empty payload is the blank entry of a new leader. `1` begins a command of the state machine, `2` a configuration:
//! three lists (voters, outgoing, learners), each a count and identities, all as 64-bit little-endian numbers.

use bytes::{BufMut, Bytes, BytesMut};
use kontiki_raft::{Configuration, NodeId};

/// First byte of a payload that is a command.
pub const COMMAND: u8 = 1;
/// First byte of a payload that is a configuration.
const CONFIGURATION: u8 = 2;

/// Why a payload cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PayloadError {
    /// The first byte is none that this version knows.
    #[error("entry of kind {0}, which this version does not know: was it written by a newer one?")]
    UnknownKind(u8),
    /// A configuration that ends too early or too late.
    #[error("configuration entry of {0} bytes is malformed")]
    MalformedConfiguration(usize),
}

/// A payload, understood.
#[derive(Debug, PartialEq, Eq)]
pub enum Payload {
    /// Made by a new leader; carries nothing.
    Blank,
    /// A command of the state machine.
    Command(Bytes),
    /// The membership from here on.
    Configuration(Configuration),
}

/// Reads a payload.
///
/// # Errors
/// Where the payload is of no known kind or malformed.
pub fn decode(payload: &Bytes) -> Result<Payload, PayloadError> {
    match payload.first() {
        None => Ok(Payload::Blank),
        Some(&COMMAND) => Ok(Payload::Command(payload.slice(1..))),
        Some(&CONFIGURATION) => decode_configuration(&payload[1..])
            .map(Payload::Configuration)
            .ok_or(PayloadError::MalformedConfiguration(payload.len())),
        Some(&kind) => Err(PayloadError::UnknownKind(kind)),
    }
}

/// The payload of a configuration entry.
#[must_use]
pub fn configuration_payload(configuration: &Configuration) -> Bytes {
    let mut out = BytesMut::with_capacity(25 + 8 * configuration.members().len());
    out.put_u8(CONFIGURATION);
    encode_configuration(configuration, &mut out);
    out.freeze()
}

/// Appends a configuration's bytes, as in entries and checkpoints.
pub fn encode_configuration(configuration: &Configuration, out: &mut BytesMut) {
    for list in [&configuration.voters, &configuration.outgoing, &configuration.learners] {
        out.put_u64_le(list.len() as u64);
        for node in list {
            out.put_u64_le(node.0);
        }
    }
}

/// Reads a configuration's bytes; none where they are malformed.
#[must_use]
pub fn decode_configuration(bytes: &[u8]) -> Option<Configuration> {
    let mut numbers = bytes.chunks_exact(8).map(|chunk| {
        let mut number = [0; 8];
        number.copy_from_slice(chunk);
        u64::from_le_bytes(number)
    });
    let mut list = || -> Option<Vec<NodeId>> {
        let count = numbers.next()?;
        let nodes: Vec<NodeId> = numbers.by_ref().take(usize::try_from(count).ok()?).map(NodeId).collect();
        (nodes.len() as u64 == count).then_some(nodes)
    };
    let configuration = Configuration { voters: list()?, outgoing: list()?, learners: list()? };
    (bytes.len().is_multiple_of(8) && numbers.next().is_none()).then_some(configuration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_come_back_and_damage_is_told() {
        let configuration =
            Configuration { voters: vec![NodeId(1), NodeId(2)], outgoing: vec![NodeId(3)], learners: vec![NodeId(9)] };
        let payload = configuration_payload(&configuration);
        assert_eq!(decode(&payload), Ok(Payload::Configuration(configuration)));
        for cut in 1..payload.len() {
            assert_eq!(decode(&payload.slice(..cut)), Err(PayloadError::MalformedConfiguration(cut)));
        }
        assert_eq!(decode(&Bytes::new()), Ok(Payload::Blank));
        assert_eq!(decode(&Bytes::from_static(&[7, 1])), Err(PayloadError::UnknownKind(7)));
    }
}
