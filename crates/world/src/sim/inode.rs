//! A simulated file's two contents, what a reader sees and what a crash leaves, and the writes that stand between them.

use std::sync::Mutex;

use super::content::Content;
use crate::entropy::Random;

#[derive(Debug)]
pub(super) struct Inode {
    pub(super) number: u64,
    pub(super) body: Mutex<Body>,
}

#[derive(Debug, Default)]
pub(super) struct Body {
    pub(super) seen: Content,
    pub(super) durable: Content,
    pub(super) unsynced: Vec<Unsynced>,
}

#[derive(Debug)]
pub(super) enum Unsynced {
    Write { offset: u64, bytes: Vec<u8> },
    Length(u64),
}

impl Body {
    pub(super) fn sync(&mut self) {
        for unsynced in self.unsynced.drain(..) {
            if let Unsynced::Write { offset, bytes } = unsynced {
                self.durable.copy_pages(&self.seen, offset, bytes.len() as u64);
            }
        }
        self.durable.set_len(self.seen.len());
    }

    pub(super) fn crash(&mut self, random: &mut Random) {
        let mood = random.below(4); // of the whole file: all lost, all kept, or each write by itself
        for unsynced in self.unsynced.drain(..) {
            let fate = if mood < 2 { mood } else { random.below(3) };
            match (fate, unsynced) {
                (0, _) => {}
                (1, Unsynced::Write { offset, bytes }) => self.durable.write(&bytes, offset),
                (_, Unsynced::Write { offset, bytes }) => write_torn(&mut self.durable, &bytes, offset, random),
                (_, Unsynced::Length(len)) => self.durable.set_len(len),
            }
        }
        self.seen = self.durable.clone();
    }
}

/// Writes some of the sectors that `bytes` covers.
fn write_torn(content: &mut Content, bytes: &[u8], offset: u64, random: &mut Random) {
    let mut done = 0;
    while done < bytes.len() {
        let at = offset + done as u64;
        let end = bytes.len().min(done + (SECTOR - at % SECTOR) as usize);
        if random.one_in(2) {
            content.write(&bytes[done..end], at);
        }
        done = end;
    }
}

/// The unit in which a torn write survives.
const SECTOR: u64 = 512;
