//! Commands in a row: how clients hand them over, how a link carries them, how a log keeps them.

/// Entries one behind the other in one buffer. Cleared and filled again, so that steady state allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    sizes: Vec<u32>,
}

impl Batch {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// Sum of the entries' bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Forgets the entries, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.sizes.clear();
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: &[u8]) {
        self.bytes.extend_from_slice(entry);
        self.sizes.push(size_u32(entry.len()));
    }

    /// Adds entries that already lie one behind the other.
    pub fn extend(&mut self, bytes: &[u8], sizes: impl Iterator<Item = u32>) {
        self.bytes.extend_from_slice(bytes);
        self.sizes.extend(sizes);
    }

    /// All of it as a slice.
    pub fn as_slice(&self) -> Entries<'_> {
        Entries { bytes: &self.bytes, sizes: &self.sizes }
    }
}

/// A part of a [`Batch`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Entries<'a> {
    bytes: &'a [u8],
    sizes: &'a [u32],
}

impl<'a> Entries<'a> {
    /// How many entries there are.
    pub fn len(self) -> usize {
        self.sizes.len()
    }

    /// Their bytes, one behind the other.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Their sizes.
    pub fn sizes(self) -> &'a [u32] {
        self.sizes
    }

    /// Splits the first `count` entries off.
    pub fn split(&mut self, count: usize) -> Entries<'a> {
        let (sizes, sizes_left) = self.sizes.split_at(count);
        let length =
            if sizes_left.is_empty() { self.bytes.len() } else { sizes.iter().map(|size| *size as usize).sum() };
        let (bytes, bytes_left) = self.bytes.split_at(length);
        *self = Entries { bytes: bytes_left, sizes: sizes_left };
        Entries { bytes, sizes }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (size, sizes) = self.sizes.split_first()?;
        let (entry, bytes) = self.bytes.split_at(*size as usize);
        *self = Entries { bytes, sizes };
        Some(entry)
    }
}

fn size_u32(size: usize) -> u32 {
    u32::try_from(size).expect("commands of a benchmark are small")
}
