//! Clients over a Unix socket name its path where a host belongs (`:authority`), as gRPC in Go does. The HTTP/2 library
//! takes a path for a malformed host and refuses the call, so the name is exchanged on the way in.
//!
//! Only headers that carry the name in full are changed; later ones refer to them by number. The new name is never longer,
//! so that the library's table of names forgets nothing that the client still refers to.

const HEAD_BYTES: usize = 9;
const HEADERS: u8 = 1;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;
/// The largest frame that the library takes without having said otherwise.
const CONTENT_BYTES_MAX: usize = 16 * 1024;
/// The number of `:authority` in HPACK's table.
const AUTHORITY: usize = 1;
/// One letter, not compressed.
const NAME: &[u8] = &[1, b'x'];

/// Exchanges names in what a client sends, from after the preface on.
#[derive(Default)]
pub(crate) struct PathNames {
    /// A head, or a frame of headers, that is not whole yet.
    held: Vec<u8>,
    /// Of another frame's content, still to pass.
    passing: usize,
}

impl PathNames {
    /// Appends to `out` what is to be read instead of `bytes`.
    pub(crate) fn pass(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            if self.passing > 0 {
                let (passed, rest) = bytes.split_at(self.passing.min(bytes.len()));
                out.extend_from_slice(passed);
                self.passing -= passed.len();
                bytes = rest;
                continue;
            }
            let (taken, rest) = bytes.split_at((self.wanted() - self.held.len()).min(bytes.len()));
            self.held.extend_from_slice(taken);
            bytes = rest;
            if self.held.len() < HEAD_BYTES || self.held.len() < self.wanted() {
                continue;
            }
            let content_bytes = content_bytes(&self.held);
            if self.held.len() > HEAD_BYTES && self.held[3] == HEADERS {
                exchange(&mut self.held);
            } else {
                self.passing = content_bytes;
            }
            out.append(&mut self.held);
        }
    }

    /// How much must be there to go on: of headers the whole frame, unless it is too long anyway; of others the head.
    fn wanted(&self) -> usize {
        match self.held.get(3) {
            Some(&HEADERS) if self.held.len() >= HEAD_BYTES && content_bytes(&self.held) <= CONTENT_BYTES_MAX => {
                HEAD_BYTES + content_bytes(&self.held)
            }
            _ => HEAD_BYTES,
        }
    }
}

fn content_bytes(head: &[u8]) -> usize {
    u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize
}

/// Exchanges the name in a frame of headers, if it is there.
fn exchange(frame: &mut Vec<u8>) {
    let flags = frame[4];
    let padding = if flags & PADDED == 0 { 0 } else { usize::from(frame.get(HEAD_BYTES).copied().unwrap_or(0)) };
    let start = HEAD_BYTES + usize::from(flags & PADDED != 0) + if flags & PRIORITY == 0 { 0 } else { 5 };
    let Some(end) = frame.len().checked_sub(padding).filter(|end| start <= *end) else { return };
    let Some((from, to)) = find(&frame[..end], start) else { return };
    frame.splice(from..to, NAME.iter().copied());
    let length = ((frame.len() - HEAD_BYTES) as u32).to_be_bytes();
    frame[..3].copy_from_slice(&length[1..]);
}

/// Where the name's value stands, its length included. Whatever is malformed is left to the library.
fn find(block: &[u8], mut at: usize) -> Option<(usize, usize)> {
    while at < block.len() {
        let first = block[at];
        let prefix = match first {
            0x80.. => 7,
            0x40..=0x7f => 6,
            0x20..=0x3f => 5,
            _ => 4,
        };
        let number = integer(block, &mut at, prefix)?;
        if first & 0x80 != 0 || first & 0xe0 == 0x20 {
            continue; // a field by number, or the table's size
        }
        if number == 0 {
            skip_text(block, &mut at)?;
        }
        let from = at;
        skip_text(block, &mut at)?;
        if number == AUTHORITY {
            return Some((from, at));
        }
    }
    None
}

fn skip_text(block: &[u8], at: &mut usize) -> Option<()> {
    let length = integer(block, at, 7)?;
    *at = at.checked_add(length).filter(|end| *end <= block.len())?;
    Some(())
}

/// A number whose first byte has so many bits for it.
fn integer(block: &[u8], at: &mut usize, prefix: u32) -> Option<usize> {
    let most = (1_usize << prefix) - 1;
    let mut value = usize::from(*block.get(*at)?) & most;
    *at += 1;
    if value < most {
        return Some(value);
    }
    for shift in [0, 7, 14] {
        let byte = *block.get(*at)?;
        *at += 1;
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, content: &[u8]) -> Vec<u8> {
        let length = (content.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], content].concat()
    }

    /// `:method POST`, a path, a name, and a field in full.
    fn fields(name: &[u8]) -> Vec<u8> {
        let mut block = vec![0x83, 0x3f, 0xe1, 0x1f, 0x44, 4, b'/', b'a', b'/', b'b', 0x41, name.len() as u8];
        block.extend_from_slice(name);
        block.extend_from_slice(&[0x40, 2, b't', b'e', 1, b'y', 0x86]);
        block
    }

    #[test]
    fn a_path_becomes_a_host_however_the_bytes_are_cut() {
        let (before, after) = (fields(b"./run/door.sock"), fields(b"x"));
        for (flags, front, back) in
            [(4, &[][..], &[][..]), (4 | PADDED, &[3][..], &[0; 3][..]), (4 | PRIORITY, &[0; 5][..], &[][..])]
        {
            let around = |block: &[u8]| frame(HEADERS, flags, &[front, block, back].concat());
            let data = frame(0, 1, &[0x41; 300]);
            let sent = [around(&before), data.clone(), around(&[0xbe, 0x83]), frame(6, 0, &[1; 8])].concat();
            let expected = [around(&after), data, around(&[0xbe, 0x83]), frame(6, 0, &[1; 8])].concat();
            for size in 1..sent.len() {
                let (mut names, mut out) = (PathNames::default(), Vec::new());
                for piece in sent.chunks(size) {
                    names.pass(piece, &mut out);
                }
                assert_eq!(out, expected, "pieces of {size}");
            }
        }
    }

    #[test]
    fn what_is_malformed_passes_unchanged() {
        let good = frame(HEADERS, 4 | PADDED, &[&[0][..], &fields(b"a")].concat());
        for at in HEAD_BYTES..good.len() {
            for value in [0, 0x41, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                PathNames::default().pass(&bad, &mut Vec::new());
            }
        }
        let empty = frame(HEADERS, 4, &[]);
        let mut out = Vec::new();
        PathNames::default().pass(&empty, &mut out);
        assert_eq!(out, empty);
    }
}
