//! The keys that were read, in a file that has no name, because an etcd may hold more than fits into memory. They come in
//! the order of keys and are wanted in the order in which they were written.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use kontiki_api::kv::KeyValue;
use prost::Message;

use super::pages::Pages;
use super::sum::{Sum, Summing};
use crate::ctl::client::Context;
use crate::ctl::failure::Failure;
use crate::progress::Progress;

/// Where a key stands in the file, and when it was last written.
#[derive(Clone, Copy, Debug)]
struct Place {
    mod_revision: i64,
    offset: u64,
    length: u32,
    /// Nothing is to be written for it.
    settled: bool,
}

/// All keys of the source at one revision.
pub struct Spool {
    file: File,
    /// In the order of keys.
    places: Vec<Place>,
    /// The revision that was read at.
    pub revision: i64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

impl Spool {
    /// Reads everything at the present revision of the source.
    pub async fn fill(source: &Context) -> Result<Spool, Failure> {
        let file = tempfile::tempfile().map_err(failed)?;
        let mut out = BufWriter::new(&file);
        let mut pages = Pages::new(source, 0);
        let (mut places, mut offset, mut bytes) = (Vec::new(), 0, 0);
        let progress = Progress::of_steps("keys read");
        while let Some(page) = pages.next().await? {
            for pair in page {
                let record = pair.encode_to_vec();
                out.write_all(&record).map_err(failed)?;
                let length = u32::try_from(record.len()).map_err(|_| Failure::error("a key is larger than 4 GiB"))?;
                places.push(Place { mod_revision: pair.mod_revision, offset, length, settled: false });
                offset += u64::from(length);
                bytes += (pair.key.len() + pair.value.len()) as u64;
            }
            progress.reach(places.len() as u64);
        }
        out.flush().map_err(failed)?;
        drop(out);
        Ok(Spool { file, places, revision: pages.revision, bytes })
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Looks at every key in the order of keys. Those for which `settle` says so need not be written.
    pub fn settle(&mut self, mut settle: impl FnMut(&KeyValue) -> bool) -> Result<(), Failure> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut input = BufReader::with_capacity(1 << 20, file);
        for place in &mut self.places {
            let mut record = vec![0; place.length as usize];
            input.read_exact(&mut record).map_err(failed)?;
            place.settled |= settle(&decode(&record)?);
        }
        Ok(())
    }

    /// The sum over all keys but those left out.
    pub fn sum(&mut self, mut left_out: impl FnMut(&KeyValue) -> bool) -> Result<Sum, Failure> {
        let mut summing = Summing::default();
        self.settle(|pair| {
            if !left_out(pair) {
                summing.add(pair);
            }
            false
        })?;
        Ok(summing.finish())
    }

    /// The places of what is to be written, revision by revision.
    pub fn revisions(&self) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..self.places.len()).filter(|index| !self.places[*index].settled).collect();
        order.sort_by_key(|index| self.places[*index].mod_revision);
        let same = |a: &usize, b: &usize| self.places[*a].mod_revision == self.places[*b].mod_revision;
        order.chunk_by(same).map(<[usize]>::to_vec).collect()
    }

    /// The key at a place.
    pub fn read(&self, index: usize) -> Result<KeyValue, Failure> {
        let place = self.places[index];
        let mut record = vec![0; place.length as usize];
        self.file.read_exact_at(&mut record, place.offset).map_err(failed)?;
        decode(&record)
    }
}

fn decode(record: &[u8]) -> Result<KeyValue, Failure> {
    KeyValue::decode(record).map_err(|error| Failure::io(format!("the spool file was changed by somebody: {error}")))
}

fn failed(error: std::io::Error) -> Failure {
    let place = std::env::temp_dir();
    Failure::io(format!("cannot use a spool file in {}: {error} (set TMPDIR to a place with room)", place.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn spool(pairs: &[(&'static str, i64)]) -> Spool {
        let mut file = tempfile::tempfile().unwrap();
        let (mut places, mut offset) = (Vec::new(), 0);
        for (key, mod_revision) in pairs {
            let pair = KeyValue { key: (*key).into(), mod_revision: *mod_revision, ..Default::default() };
            let record = pair.encode_to_vec();
            file.write_all(&record).unwrap();
            let length = record.len() as u32;
            places.push(Place { mod_revision: *mod_revision, offset, length, settled: false });
            offset += u64::from(length);
        }
        Spool { file, places, revision: 9, bytes: 0 }
    }

    #[test]
    fn keys_come_out_in_the_order_of_their_revisions() {
        let mut spool = spool(&[("a", 7), ("b", 3), ("c", 7), ("d", 5)]);
        let keys = |spool: &Spool| -> Vec<Vec<String>> {
            let key = |index: &usize| String::from_utf8(spool.read(*index).unwrap().key.to_vec()).unwrap();
            spool.revisions().iter().map(|group| group.iter().map(key).collect()).collect()
        };
        assert_eq!(keys(&spool), [vec!["b"], vec!["d"], vec!["a", "c"]]);
        spool.settle(|pair| pair.key == "c").unwrap();
        assert_eq!(keys(&spool), [vec!["b"], vec!["d"], vec!["a"]]);
        assert_eq!(spool.sum(|pair| pair.key == "a").unwrap().keys, 3);
    }
}
