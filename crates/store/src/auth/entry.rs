//! In whose name an entry was proposed, in front of its command. Nothing stands there for who said nothing of himself:
//! while authentication is off, entries cost nothing more than before there was any.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kontiki_kv::{Command, DecodeError, Proposer, Subject};

/// Begins a proposer, where a command would begin with its version.
const PROPOSER: u8 = 0x80;
const MEMBER: u8 = 1;
const USER: u8 = 2;

/// Appends a proposer.
pub(crate) fn write_proposer(out: &mut BytesMut, proposer: &Proposer) {
    match proposer {
        Proposer::Anonymous => {}
        Proposer::Member => out.put_slice(&[PROPOSER, MEMBER]),
        Proposer::User(subject) => {
            out.put_slice(&[PROPOSER, USER]);
            out.put_u64_le(subject.revision);
            let length = u32::try_from(subject.user.len()).expect("names come in requests of bounded size");
            out.put_u32_le(length);
            out.put_slice(subject.user.as_bytes());
        }
    }
}

/// Reads a proposer, if there is one, and the command.
///
/// # Errors
/// Where the bytes are neither.
pub(crate) fn read_body(body: &Bytes) -> Result<(Proposer, Command), DecodeError> {
    let mut rest = body.clone();
    let proposer = match body.first() {
        Some(&PROPOSER) => {
            rest.advance(1);
            read_proposer(&mut rest).ok_or(DecodeError::Length { offset: body.len() - rest.len() })?
        }
        _ => Proposer::Anonymous,
    };
    Ok((proposer, Command::decode(&rest)?))
}

fn read_proposer(rest: &mut Bytes) -> Option<Proposer> {
    match rest.try_get_u8().ok()? {
        MEMBER => Some(Proposer::Member),
        USER => {
            let revision = rest.try_get_u64_le().ok()?;
            let length = usize::try_from(rest.try_get_u32_le().ok()?).ok()?;
            if length > rest.len() {
                return None;
            }
            let user = std::str::from_utf8(&rest.split_to(length)).ok()?.into();
            Some(Proposer::User(Subject { user, revision }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn proposers_come_back_and_bad_bytes_are_refused() {
        let command = Command::LeaseRevoke { id: 7 };
        let user = Proposer::User(Subject { user: "alice".into(), revision: 9 });
        for proposer in [Proposer::Anonymous, Proposer::Member, user] {
            let mut out = BytesMut::new();
            write_proposer(&mut out, &proposer);
            out.put_slice(&command.encode());
            let whole = out.freeze();
            assert_eq!(read_body(&whole).unwrap(), (proposer, command.clone()));
            for length in 0..whole.len() {
                assert!(read_body(&whole.slice(..length)).is_err(), "{length}");
            }
        }
        let long = [&[PROPOSER, USER][..], &[0; 8], &[0xff; 4], b"alice"].concat();
        assert!(read_body(&long.into()).is_err());
        assert!(read_body(&Bytes::from_static(&[PROPOSER, 9, 1, 6, 2])).is_err());
    }

    #[test]
    fn an_entry_from_before_there_were_users_is_nobodys() {
        let (proposer, _) = read_body(&Command::LeaseRevoke { id: 7 }.encode()).unwrap();
        assert_eq!(proposer, Proposer::Anonymous);
    }
}
