//! What the payload of an entry means to the engine: its first byte.
//!
//! An empty payload is the blank entry of a new leader. `1` begins a command of the state machine, `2` a configuration,
//! whose layout is in `docs/formats/log.md`.

use bytes::{BufMut, Bytes, BytesMut};
use kontiki_raft::{Attributes, Configuration, Incarnation, Lease, NodeId};

/// First byte of a payload that is a command.
pub const COMMAND: u8 = 1;
/// First byte of a payload that is a configuration.
const CONFIGURATION: u8 = 2;

/// Bits above the priority in a member's word of attributes.
const PROMOTE: u64 = 1 << 8;
const INCARNATION: u64 = 1 << 9;

/// Why a payload cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PayloadError {
    /// The first byte is none that this version knows.
    #[error("entry of kind {0}, which this version does not know: was it written by a newer one?")]
    UnknownKind(u8),
    /// A configuration that ends too early or too late, or whose parts do not fit together.
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
    let mut out = BytesMut::with_capacity(49 + 40 * configuration.members().len());
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
    out.put_u64_le(configuration.attributes.len() as u64);
    for (node, attributes) in &configuration.attributes {
        let Attributes { incarnation, priority, promote } = *attributes;
        let promote = if promote { PROMOTE } else { 0 };
        let known = if incarnation.is_some() { INCARNATION } else { 0 };
        out.put_u64_le(node.0);
        out.put_u64_le(u64::from(priority) | promote | known);
        out.put_u64_le(incarnation.map_or(0, |incarnation| incarnation.0));
    }
    out.put_u64_le(configuration.lease.map_or(0, |lease| u64::from(lease.ticks)));
    out.put_u64_le(configuration.lease.map_or(0, |lease| u64::from(lease.drift_permille)));
}

/// Reads a configuration's bytes; none where they are malformed. The empty configuration of a replica that has seen none
/// yet comes back as well.
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
    let (voters, outgoing, learners) = (list()?, list()?, list()?);
    let mut attributes = Vec::new();
    for _ in 0..numbers.next()? {
        let node = NodeId(numbers.next()?);
        attributes.push((node, decode_attributes(numbers.next()?, numbers.next()?)?));
    }
    let lease = decode_lease(numbers.next()?, numbers.next()?)?;
    let configuration = Configuration { voters, outgoing, learners, attributes, lease };
    let sound = configuration.is_well_formed() || configuration == Configuration::default();
    (sound && bytes.len().is_multiple_of(8) && numbers.next().is_none()).then_some(configuration)
}

fn decode_attributes(word: u64, incarnation: u64) -> Option<Attributes> {
    let known = word & INCARNATION != 0;
    let attributes = Attributes {
        incarnation: known.then_some(Incarnation(incarnation)),
        priority: (word & 0xff) as u8,
        promote: word & PROMOTE != 0,
    };
    let sound = word < INCARNATION << 1 && (known || incarnation == 0);
    sound.then_some(attributes)
}

/// No lease is a lease of no ticks.
#[allow(clippy::option_option, reason = "malformed, absent, or there")]
fn decode_lease(ticks: u64, drift_permille: u64) -> Option<Option<Lease>> {
    let (ticks, drift_permille) = (u32::try_from(ticks).ok()?, u32::try_from(drift_permille).ok()?);
    if ticks == 0 {
        return (drift_permille == 0).then_some(None);
    }
    Some(Some(Lease { ticks, drift_permille }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Configuration {
        let mut configuration = Configuration {
            outgoing: vec![NodeId(3)],
            learners: vec![NodeId(9)],
            lease: Some(Lease { ticks: 90, drift_permille: 10 }),
            ..Configuration::of([NodeId(1), NodeId(2)])
        };
        let bound = Attributes { incarnation: Some(Incarnation(u64::MAX)), ..Attributes::default() };
        configuration.set_attributes(NodeId(1), bound);
        configuration.set_attributes(NodeId(9), Attributes { promote: true, priority: 7, incarnation: None });
        configuration
    }

    #[test]
    fn configurations_come_back_and_damage_is_told() {
        for configuration in [full(), Configuration::of([NodeId(5)]), Configuration::default()] {
            let payload = configuration_payload(&configuration);
            assert_eq!(decode(&payload), Ok(Payload::Configuration(configuration)));
            for cut in 1..payload.len() {
                assert_eq!(decode(&payload.slice(..cut)), Err(PayloadError::MalformedConfiguration(cut)));
            }
        }
        assert_eq!(decode(&Bytes::new()), Ok(Payload::Blank));
        assert_eq!(decode(&Bytes::from_static(&[7, 1])), Err(PayloadError::UnknownKind(7)));
    }

    #[test]
    fn a_configuration_is_these_bytes() {
        let words = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let golden = [
            &[2, 1, 2, 1, 3, 1, 9][..],            // voters, outgoing, learners
            &[2, 1, 0x264, u64::MAX, 9, 0x107, 0], // attributes of 1 and 9
            &[90, 10],                             // lease
        ];
        let mut bytes = BytesMut::new();
        encode_configuration(&full(), &mut bytes);
        assert_eq!(bytes, words(&golden.concat()));
        for (at, value) in [(1, 7), (9, 0x664), (9, 0x64), (12, 0x107 | INCARNATION << 1), (14, 2), (15, 1000)] {
            let mut wrong = golden.concat();
            wrong[at] = value;
            assert_eq!(decode_configuration(&words(&wrong)), None, "word {at} as {value:#x}");
        }
    }
}
