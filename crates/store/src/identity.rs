//! Who a data directory belongs to: cluster, member, this life of its disk, and the first members of the cluster.
//!
//! Identities are etcd's: a member's is the first eight bytes of the SHA-1 over its sorted peer URLs and the cluster's
//! token; a cluster's the same over its members' sorted identities. The file `member/identity` is plain text, a line for each
//! fact, closed by a checksum line; it is written once, by rename, before anything else that lasts. The incarnation is
//! chance, drawn when the file is first written: a member whose directory was lost comes back with another one, and the
//! cluster can tell.

use std::path::Path;

use kontiki_raft::{Configuration, Incarnation, NodeId};
use kontiki_world::{Disk, OpenMode};
use sha1::{Digest, Sha1};

use crate::error::StartError;
use crate::options::{InitialMember, Options};

const FORMAT: &str = "kontiki-identity 2";
/// The number in it.
const FORMAT_NUMBER: u32 = 2;

/// A member's identity and its cluster's first members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: u64,
    /// This member.
    pub member_id: u64,
    /// This life of its disk.
    pub incarnation: Incarnation,
    /// This member's name.
    pub name: String,
    /// `--initial-cluster-token` of the first start.
    pub token: String,
    /// It was added to a running cluster: what `members` lists are then not the first, but those of that moment.
    pub joined: bool,
    /// The first members: identity, name, peer URLs; sorted by identity.
    pub members: Vec<FirstMember>,
    /// What the log says of members' peer URLs, applied or not, oldest first. Not in the file.
    pub heard: Vec<(u64, Vec<String>)>,
}

/// A member of the first configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstMember {
    /// Its identity.
    pub id: u64,
    /// Its name in `--initial-cluster`.
    pub name: String,
    /// Its peer URLs.
    pub peer_urls: Vec<String>,
}

fn first_eight(digest: impl AsRef<[u8]>) -> u64 {
    digest.as_ref().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A member's identity by its peer URLs and the cluster's token.
#[must_use]
pub fn member_id(peer_urls: &[String], token: &str) -> u64 {
    let mut urls = peer_urls.to_vec();
    urls.sort_unstable();
    let mut hash = Sha1::new();
    hash.update(urls.concat());
    hash.update(token);
    first_eight(hash.finalize())
}

/// The identity of a member that is added later: chance sees to it that nobody had it before.
#[must_use]
pub fn added_id(peer_urls: &[String], token: &str, chance: u64) -> u64 {
    member_id(peer_urls, &format!("{token}{chance}"))
}

fn cluster_id(members: &[FirstMember]) -> u64 {
    let mut hash = Sha1::new();
    for member in members {
        hash.update(member.id.to_be_bytes());
    }
    first_eight(hash.finalize())
}

impl Identity {
    /// What the flags say, for a new disk with this incarnation.
    ///
    /// # Errors
    /// Where `--initial-cluster` does not name this member, or names one twice.
    pub fn of(options: &Options, incarnation: Incarnation) -> Result<Identity, StartError> {
        let (initial, token) = (&options.initial_cluster, &options.initial_cluster_token);
        match options.tuning.numbered {
            None => Identity::founded(&options.name, initial, token, incarnation),
            Some(number) => {
                Identity::numbered(&options.name, initial, token, incarnation, |member| number(&member.name))
            }
        }
    }

    /// What a cluster's first members, their names and peer URLs, and its token make of the member called `own`.
    ///
    /// # Errors
    /// Where the list does not name this member, or names one twice.
    pub(crate) fn founded(
        own: &str,
        initial: &[InitialMember],
        token: &str,
        incarnation: Incarnation,
    ) -> Result<Identity, StartError> {
        Identity::numbered(own, initial, token, incarnation, |member| member_id(&member.peer_urls, token))
    }

    fn numbered(
        own: &str,
        initial: &[InitialMember],
        token: &str,
        incarnation: Incarnation,
        number: impl Fn(&InitialMember) -> u64,
    ) -> Result<Identity, StartError> {
        let mut members: Vec<FirstMember> = initial
            .iter()
            .map(|member| FirstMember {
                id: number(member),
                name: member.name.clone(),
                peer_urls: member.peer_urls.clone(),
            })
            .collect();
        members.sort_by_key(|member| member.id);
        if let Some(pair) = members.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(StartError::Configuration(format!(
                "--initial-cluster gives the members {} and {} the same peer URLs; each needs its own",
                pair[0].name, pair[1].name
            )));
        }
        let Some(member) = members.iter().find(|member| member.name == own) else {
            return Err(StartError::Configuration(format!(
                "--initial-cluster does not name this member: --name is {own:?}, the list has {:?}; add \
                 {own}=<its peer URL> to the list or correct --name",
                members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>(),
            )));
        };
        Ok(Identity {
            cluster_id: cluster_id(&members),
            member_id: member.id,
            incarnation,
            name: own.to_owned(),
            token: token.to_owned(),
            joined: false,
            heard: Vec::new(),
            members,
        })
    }

    /// The first configuration. Of a member that joins: none, until it hears the present one.
    #[must_use]
    pub fn configuration(&self) -> Configuration {
        if self.joined {
            return Configuration::default();
        }
        Configuration::of(self.members.iter().map(|member| NodeId(member.id)))
    }

    /// Where a member may be reached, by all that this one has ever heard: the newest first.
    #[must_use]
    pub fn urls_of(&self, id: u64) -> Vec<String> {
        let heard = self.heard.iter().rev().filter(|(member, _)| *member == id).flat_map(|(_, urls)| urls);
        let first = self.members.iter().filter(|member| member.id == id).flat_map(|member| &member.peer_urls);
        let mut urls: Vec<String> = Vec::new();
        for url in heard.chain(first) {
            if !urls.contains(url) {
                urls.push(url.clone());
            }
        }
        urls
    }

    /// Reads the identity of a data directory, if it has one.
    ///
    /// # Errors
    /// Where the file is damaged or of another format.
    pub fn read(disk: &dyn Disk, path: &Path) -> Result<Option<Identity>, StartError> {
        let io = |action, source| StartError::Io { action, path: path.to_owned(), source };
        if !disk.exists(path).map_err(|source| io("look for", source))? {
            return Ok(None);
        }
        let file = disk.open(path, OpenMode::Existing).map_err(|source| io("open", source))?;
        let length = file.len().map_err(|source| io("read", source))?.min(1 << 20);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        file.read_exact_at(&mut bytes, 0).map_err(|source| io("read", source))?;
        let damaged = |reason: String| StartError::Damaged { path: path.to_owned(), reason };
        let text = String::from_utf8(bytes).map_err(|_| damaged("the identity file is not text; restore it".into()))?;
        Identity::parse(&text).map(Some).map_err(damaged)
    }

    fn parse(text: &str) -> Result<Identity, String> {
        let first = text.lines().next().unwrap_or_default();
        if first != FORMAT {
            return Err(match first.strip_prefix("kontiki-identity ") {
                Some(version) => match version.parse::<u32>() {
                    Ok(older) if older < FORMAT_NUMBER => format!(
                        "the data directory has format {older}, of an older version; this one reads {FORMAT_NUMBER} and \
                         converts nothing: start it with the version that wrote it"
                    ),
                    Ok(newer) => format!(
                        "the data directory has format {newer}, of a newer version; this one reads {FORMAT_NUMBER}: start \
                         it with the version that wrote it, or a later one"
                    ),
                    Err(_) => {
                        "the identity file is damaged (its first line has no number); restore it from a backup".into()
                    }
                },
                None => "this is not a Kontiki data directory's identity file; use another --data-dir".to_owned(),
            });
        }
        let damaged =
            || "the identity file is damaged (its checksum does not match); restore it from a backup".to_owned();
        let (body, sum) = text.trim_end().rsplit_once('\n').ok_or_else(damaged)?;
        if sum != checksum(body) {
            return Err(damaged());
        }
        let mut identity = Identity {
            cluster_id: 0,
            member_id: 0,
            incarnation: Incarnation(0),
            name: String::new(),
            token: String::new(),
            joined: false,
            heard: Vec::new(),
            members: Vec::new(),
        };
        for line in body.lines().skip(1) {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let number = |text: &str| u64::from_str_radix(text, 16).map_err(|_| damaged());
            match word {
                "cluster" => identity.cluster_id = number(rest)?,
                "member" => identity.member_id = number(rest)?,
                "incarnation" => identity.incarnation = Incarnation(number(rest)?),
                "name" => identity.name = rest.to_owned(),
                "token" => identity.token = rest.to_owned(),
                "joined" => identity.joined = true,
                "first" => {
                    let mut parts = rest.splitn(3, ' ');
                    let (id, urls) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                    identity.members.push(FirstMember {
                        id: number(id)?,
                        peer_urls: urls.split(',').filter(|url| !url.is_empty()).map(str::to_owned).collect(),
                        name: parts.next().unwrap_or_default().to_owned(),
                    });
                }
                _ => {
                    return Err(format!(
                        "the identity file has a line that this version does not know ({word:?}); start the member with \
                         the version that wrote it"
                    ));
                }
            }
        }
        if identity.incarnation == Incarnation(0) {
            return Err(damaged());
        }
        Ok(identity)
    }

    /// Writes the identity, durably and whole.
    ///
    /// # Errors
    /// As the operating system's.
    pub fn write(&self, disk: &dyn Disk, dir: &Path, path: &Path) -> Result<(), StartError> {
        let mut body = format!(
            "{FORMAT}\ncluster {:x}\nmember {:x}\nincarnation {}\nname {}\ntoken {}",
            self.cluster_id, self.member_id, self.incarnation, self.name, self.token
        );
        if self.joined {
            body += "\njoined";
        }
        for member in &self.members {
            body += &format!("\nfirst {:x} {} {}", member.id, member.peer_urls.join(","), member.name);
        }
        let text = format!("{body}\n{}\n", checksum(&body));
        let new = path.with_extension("new");
        let write = || -> std::io::Result<()> {
            let file = disk.open(&new, OpenMode::ExistingOrNew)?;
            file.set_len(0)?;
            file.write_all_at(text.as_bytes(), 0)?;
            file.sync_data()?;
            disk.rename(&new, path)?;
            disk.sync_dir(dir)
        };
        write().map_err(|source| StartError::Io { action: "write", path: path.to_owned(), source })
    }

    /// Compares what the data directory says with what those flags say that were given.
    ///
    /// # Errors
    /// Where the directory is another member's or another cluster's.
    pub fn check(&self, options: &Options) -> Result<(), StartError> {
        let foreign = |found: String, expected: String, advice| {
            Err(StartError::Foreign { dir: options.data_dir.clone(), found, expected, advice })
        };
        if options.given.name && self.name != options.name {
            return foreign(
                format!("member {:?} ({:x})", self.name, self.member_id),
                format!("member {:?}", options.name),
                "correct --name, or give this member a data directory of its own with --data-dir",
            );
        }
        if !options.new_cluster || self.joined {
            return Ok(()); // as etcd: the flags of the first start do not count any more
        }
        if options.given.initial_cluster_token && self.token != options.initial_cluster_token {
            return foreign(
                format!("a cluster with the token {:?} (cluster id {:x})", self.token, self.cluster_id),
                format!("part of one with the token {:?}", options.initial_cluster_token),
                "correct --initial-cluster-token, or use another --data-dir for the other cluster",
            );
        }
        if !options.given.initial_cluster {
            return Ok(());
        }
        let flags = Identity::founded(&self.name, &options.initial_cluster, &self.token, self.incarnation)?;
        if flags.cluster_id != self.cluster_id {
            return foreign(
                format!("cluster {:x}", self.cluster_id),
                format!("part of cluster {:x}", flags.cluster_id),
                "give --initial-cluster as at the first start, or use another --data-dir for the other cluster",
            );
        }
        Ok(())
    }
}

fn checksum(body: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(body);
    format!("sha1 {:016x}", first_eight(hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_and_newer_formats_are_told_apart() {
        for (number, word) in [("1", "older version"), ("3", "newer version"), ("x", "is damaged")] {
            let error = Identity::parse(&format!("kontiki-identity {number}\nname m0\nsha1 0\n")).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_line_of_a_later_version_is_told_from_damage() {
        let body = format!("{FORMAT}\nname m0\nfuture 1");
        let unknown = Identity::parse(&format!("{body}\n{}\n", checksum(&body))).unwrap_err();
        assert!(unknown.contains("\"future\"") && unknown.contains("does not know"), "{unknown}");
        let damaged = Identity::parse(&format!("{body}\nsha1 0\n")).unwrap_err();
        assert!(damaged.contains("is damaged"), "{damaged}");
    }
}
