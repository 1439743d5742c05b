//! Damage on the simulated disks: bits that flip where something is stored.

use std::path::{Path, PathBuf};

use super::*;

impl Cluster {
    /// The files of a member that hold something, other than what a crash left half made.
    fn files(&self, id: NodeId) -> Vec<PathBuf> {
        let disk = &self.members[&id].disk;
        let mut dirs = vec![PathBuf::from("/wal")];
        dirs.extend(self.groups.iter().map(|group| Path::new("/state").join(group.0.to_string())));
        let named = |dir: PathBuf| {
            let names = disk.list(&dir).unwrap();
            names.into_iter().map(move |name| dir.join(name))
        };
        dirs.into_iter().flat_map(named).filter(|path| path.extension().is_none_or(|end| end != "new")).collect()
    }

    fn contents(&self, id: NodeId, path: &Path) -> Vec<u8> {
        let file = self.members[&id].disk.open(path, OpenMode::Existing).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        // What was only preallocated holds nothing.
        let used = bytes.chunks(4_096).rposition(|chunk| chunk != &[0; 4_096][..chunk.len()]);
        bytes.truncate(used.map_or(0, |chunk| (chunk + 1) * 4_096));
        bytes
    }

    /// Flips one bit of a file, durably.
    pub fn flip(&self, id: NodeId, path: &Path, at: u64, bit: u8) {
        let file = self.members[&id].disk.open(path, OpenMode::Existing).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1 << bit], at).unwrap();
        file.sync_data().unwrap();
    }

    /// Damages every copy of a command in the log of a member. How many there were.
    pub fn damage_entry(&self, id: NodeId, group: GroupId, index: u64) -> usize {
        let Some(command) = self.history.get(&(group, index)) else { return 0 }; // an entry of Raft's own
        let needle = [&[COMMAND], &command[..]].concat();
        let mut found = 0;
        for path in self.files(id).into_iter().filter(|path| path.starts_with("/wal")) {
            let bytes = self.contents(id, &path);
            let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&needle)).collect();
            for at in places {
                self.flip(id, &path, at as u64 + 12, 3);
                found += 1;
            }
        }
        found
    }

    /// Damages the first command behind an index that the log of a member holds. How far behind it that is.
    pub fn damage_first(&self, id: NodeId, group: GroupId, index: u64) -> u64 {
        (0..100).find(|behind| self.damage_entry(id, group, index + behind) > 0).unwrap()
    }

    /// Damages the state of a member. False where there is none yet.
    pub fn damage_state(&self, id: NodeId, group: GroupId) -> bool {
        let path = Path::new("/state").join(group.0.to_string()).join("ledger");
        let there = self.members[&id].disk.exists(&path).unwrap();
        if there {
            let length = self.members[&id].disk.open(&path, OpenMode::Existing).unwrap().len().unwrap();
            self.flip(id, &path, length / 2, 1);
        }
        there
    }

    /// The log of a member finds at its next start that it has lost these entries.
    pub fn lose(&mut self, id: NodeId, group: GroupId, first: u64, last: u64) {
        self.losses.entry(id).or_default().push((group, first, last));
    }

    /// First and last index of the log on a disk whose member is down.
    pub fn disk_log(&self, id: NodeId, group: GroupId) -> (u64, u64) {
        let disk: Arc<dyn Disk> = Arc::new(self.members[&id].disk.clone());
        let options = LogOptions { salt: Some(7), ..LogOptions::default() };
        let identity = Identity { cluster_id: 1, member_id: id.0 };
        let (log, _) = Log::open(disk, Path::new("/wal"), identity, options).unwrap();
        (log.first(group).0, log.last(group).0)
    }

    /// Somebody reads damage in the state of a member.
    pub fn meet_damage(&mut self, id: NodeId, group: GroupId) {
        self.members.get_mut(&id).unwrap().inbox.push(Event::Damaged(group));
    }

    /// A member's ledger.
    pub fn ledger(&self, id: NodeId, group: GroupId) -> &Ledger {
        self.engine(id).unwrap().machine(group).unwrap()
    }

    /// Runs until a member is whole; fails after a virtual minute.
    pub fn run_until_whole(&mut self, id: NodeId, group: GroupId) {
        for _ in 0..6_000 {
            self.run(Duration::from_millis(10));
            if !self.engine(id).unwrap().is_mending(group) {
                return;
            }
        }
        panic!("{id} is still not whole after a minute");
    }
}
