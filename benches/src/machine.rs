//! The replicated state machine: a counter and a running checksum.

/// What every replica of every contestant applies its entries to. Cheap on purpose, and it depends on every byte of every
/// command and on their order, so that equal machines have applied equal histories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Commands applied.
    pub count: u64,
    /// Checksum over all of them, in order.
    pub checksum: u64,
}

const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl Machine {
    /// Applies an entry. An empty one is not a command: new leaders begin their term with such an entry.
    pub fn apply(&mut self, entry: &[u8]) {
        if entry.is_empty() {
            return;
        }
        self.count += 1;
        self.checksum = (self.checksum.rotate_left(5) ^ fold(entry)).wrapping_mul(FACTOR);
    }
}

/// Folds a command to a word, in four lanes so that long commands cost little more than reading them.
fn fold(entry: &[u8]) -> u64 {
    let (blocks, rest) = entry.as_chunks::<32>();
    let mut lanes = [entry.len() as u64; 4];
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane = (*lane ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR);
        }
    }
    let (words, rest) = rest.as_chunks::<8>();
    for (lane, word) in lanes.iter_mut().zip(words) {
        *lane = (*lane ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR);
    }
    for byte in rest {
        lanes[3] = (lanes[3] ^ u64::from(*byte)).wrapping_mul(FACTOR);
    }
    lanes[0] ^ lanes[1].rotate_left(16) ^ lanes[2].rotate_left(32) ^ lanes[3].rotate_left(48)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_and_the_order_count() {
        for size in [1, 7, 8, 16, 31, 32, 40, 256] {
            let entry = vec![7u8; size];
            for place in 0..size {
                let mut other = entry.clone();
                other[place] ^= 1;
                let mut machines = [Machine::default(); 2];
                for (machine, pair) in machines.iter_mut().zip([[&entry, &other], [&other, &entry]]) {
                    pair.iter().for_each(|entry| machine.apply(entry));
                }
                assert_ne!(fold(&entry), fold(&other));
                assert_ne!(machines[0], machines[1]);
            }
        }
    }
}
