//! The storage library's hold of the file, which others look into.

use std::io;
use std::sync::Arc;

use redb::StorageBackend;

use super::Sealed;

/// A sealed file as the storage library knows files.
#[derive(Clone, Debug)]
pub(crate) struct Handle(pub(crate) Arc<Sealed>);

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}
