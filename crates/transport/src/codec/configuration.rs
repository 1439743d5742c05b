//! Memberships on the wire: three lists of members, what is known of single ones, the lease.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use kontiki_raft::{Attributes, Configuration, Incarnation, Lease, NodeId};

use crate::error::FrameError;
use crate::wire::{Reader, put_varint};

/// No list of a configuration is longer. Checking that its parts fit together takes the square of that.
const MEMBERS_MAX: usize = 1 << 10;

/// Bits of the flags of a member's attributes.
const INCARNATION: u8 = 1;
const PROMOTE: u8 = 2;

/// Appends a configuration.
pub(super) fn put_configuration(out: &mut BytesMut, configuration: &Configuration) {
    for members in [&configuration.voters, &configuration.outgoing, &configuration.learners] {
        put_varint(out, members.len() as u64);
        for member in members {
            out.put_u64_le(member.0);
        }
    }
    put_varint(out, configuration.attributes.len() as u64);
    for (member, attributes) in &configuration.attributes {
        out.put_u64_le(member.0);
        let known = if attributes.incarnation.is_some() { INCARNATION } else { 0 };
        out.put_u8(known | if attributes.promote { PROMOTE } else { 0 });
        if let Some(incarnation) = attributes.incarnation {
            out.put_u64_le(incarnation.0);
        }
        out.put_u8(attributes.priority);
    }
    out.put_u8(u8::from(configuration.lease.is_some()));
    if let Some(lease) = configuration.lease {
        put_varint(out, u64::from(lease.ticks));
        put_varint(out, u64::from(lease.drift_permille));
    }
}

/// Reads a configuration whose parts fit together, or the empty one of a replica that has seen none yet.
pub(super) fn configuration(reader: &mut Reader) -> Result<Arc<Configuration>, FrameError> {
    let offset = reader.offset();
    let configuration = Configuration {
        voters: members(reader, "voters")?,
        outgoing: members(reader, "outgoing voters")?,
        learners: members(reader, "learners")?,
        attributes: attributes(reader)?,
        lease: lease(reader)?,
    };
    if !configuration.is_well_formed() && configuration != Configuration::default() {
        return Err(FrameError::Invalid { what: "configuration", offset, value: configuration.voters.len() as u64 });
    }
    Ok(Arc::new(configuration))
}

fn members(reader: &mut Reader, what: &'static str) -> Result<Vec<NodeId>, FrameError> {
    (0..count(reader, what, 8)?).map(|_| reader.fixed(what).map(NodeId)).collect()
}

fn attributes(reader: &mut Reader) -> Result<Vec<(NodeId, Attributes)>, FrameError> {
    let count = count(reader, "attributes", 10)?;
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let member = NodeId(reader.fixed("member with attributes")?);
        let offset = reader.offset();
        let flags = reader.flags("attribute flags", INCARNATION | PROMOTE)?;
        let known = flags & INCARNATION != 0;
        let incarnation = if known { Some(Incarnation(reader.fixed("member's incarnation")?)) } else { None };
        let priority = reader.byte("priority")?;
        let attributes = Attributes { incarnation, priority, promote: flags & PROMOTE != 0 };
        if attributes == Attributes::default() {
            // Says nothing: a second form of the same configuration.
            return Err(FrameError::Invalid { what: "attribute flags", offset, value: u64::from(flags) });
        }
        all.push((member, attributes));
    }
    Ok(all)
}

fn lease(reader: &mut Reader) -> Result<Option<Lease>, FrameError> {
    if reader.flags("lease given", 1)? == 0 {
        return Ok(None);
    }
    Ok(Some(Lease { ticks: reader.small("lease ticks")?, drift_permille: reader.small("lease drift")? }))
}

fn count(reader: &mut Reader, what: &'static str, item_bytes: usize) -> Result<usize, FrameError> {
    let offset = reader.offset();
    let count = reader.count(what, item_bytes)?;
    if count > MEMBERS_MAX {
        return Err(FrameError::Invalid { what, offset, value: count as u64 });
    }
    Ok(count)
}
