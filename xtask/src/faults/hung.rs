//! Disks that hang or are slow: a leader whose disk hangs hands over, and revokes no lease when it wakes; a follower whose
//! disk is slow is not felt.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kontiki_api::rpc::lease_client::LeaseClient;
use kontiki_api::rpc::{LeaseGrantRequest, LeaseKeepAliveRequest, PutRequest, RangeRequest};
use kontiki_world::{Damage, Fault, FaultyDisk, Operation};
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint};

use super::cluster::{Cluster, ELECTION, PATIENCE};
use super::errors::mirrors;
use super::ledger::{Load, client};
use super::places::{Place, run, text};
use super::tally::Tally;
use super::{Bench, block_on};

const WRITERS: usize = 8;
const WIDTH: usize = 300;
const MEBIBYTES: u64 = 96;
/// A leader hands over within two election timeouts; a moment more goes into finding that out.
const HANDS_OVER: Duration = Duration::from_millis(2 * ELECTION.as_millis() as u64 + 200);
/// How long a disk hangs: longer than the lease lives that others keep alive meanwhile.
const HANGS: Duration = Duration::from_secs(6);
const TTL: Duration = Duration::from_secs(4);
/// One question.
const ANSWER: Duration = Duration::from_millis(700);

/// A disk that hangs until this is dropped.
trait Hung {}

/// A file system that takes no writes: who tries waits, and cannot even be killed.
struct Frozen {
    path: PathBuf,
}

impl Frozen {
    fn freeze(path: &Path) -> Result<Frozen, String> {
        run("fsfreeze", &["--freeze", text(path)?])?;
        Ok(Frozen { path: path.to_owned() })
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = text(&self.path).and_then(|path| run("fsfreeze", &["--unfreeze", path]));
    }
}

impl Hung for Frozen {}

/// Syncs that do not come back.
struct Stuck {
    disk: FaultyDisk,
    id: kontiki_world::FaultId,
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.disk.lift(self.id);
        self.disk.release();
    }
}

impl Hung for Stuck {}

/// The leader's whole file system is frozen.
pub fn freeze(bench: &Bench, _: u64, tally: &mut Tally) -> Result<(), String> {
    block_on(async {
        let place = |index: usize| {
            let image = bench.directory.join(format!("image{index}"));
            Place::ext4(&bench.directory.join(format!("place{index}")), &image, MEBIBYTES)
        };
        let places = (0..3).map(place).collect::<Result<Vec<_>, _>>()?;
        let data: Vec<_> = places.iter().map(|place| place.path.join("data")).collect();
        let hang = |leader: usize| Ok(Box::new(Frozen::freeze(&places[leader].path)?) as Box<dyn Hung>);
        hand_over(bench, &data, &hang, tally).await
    })
}

/// The leader's syncs hang; all else of its disk works.
pub fn sync(bench: &Bench, seed: u64, tally: &mut Tally) -> Result<(), String> {
    block_on(async {
        let mirrors = mirrors(bench, seed)?;
        let data: Vec<_> = mirrors.iter().map(|mirror| mirror.path.join("data")).collect();
        let hang = |leader: usize| {
            let disk = mirrors[leader].disk.clone();
            let name = "*".to_owned();
            let id = disk.inject(Fault {
                operation: Operation::Sync,
                name,
                after: 0,
                times: u64::MAX,
                damage: Damage::Hang,
            });
            Ok(Box::new(Stuck { disk, id }) as Box<dyn Hung>)
        };
        hand_over(bench, &data, &hang, tally).await
    })
}

/// The leader's disk hangs under load, and comes back.
async fn hand_over(
    bench: &Bench,
    data: &[PathBuf],
    hang: &(dyn Fn(usize) -> Result<Box<dyn Hung>, String> + Sync),
    tally: &mut Tally,
) -> Result<(), String> {
    let mut cluster = Cluster::start(bench, data, &[]).await?;
    let load = Load::start("load/", &cluster.urls(), WRITERS, WIDTH);
    load.more(300, PATIENCE).await.ok_or("no writes before the fault")?;
    let mut leases = Vec::new();
    for round in 0..2 {
        let leader = cluster.leader().await?;
        let others: Vec<usize> = (0..cluster.size()).filter(|index| *index != leader).collect();
        let lease = Lease::grant(&cluster, &others, format!("leased/{round}")).await?;
        load.forget_pace();
        let hung = hang(leader)?;
        let begin = Instant::now();
        tally.faults += 1;
        let handed_over = cluster.leader_of(&others, HANGS).await.map(|_| begin.elapsed());
        load.more(20, PATIENCE).await.ok_or_else(|| format!("nobody takes over{}", cluster.tail(others[0])))?;
        while begin.elapsed() < HANGS {
            lease.keep_alive(&cluster, &others).await?;
            sleep(Duration::from_millis(100)).await;
        }
        let gap = load.longest_gap();
        tally.longest_gap = tally.longest_gap.max(gap);
        tally.note(match &handed_over {
            Ok(took) => format!("leader {leader} hung: another led after {took:.2?}, the longest gap was {gap:.2?}"),
            Err(_) => format!("leader {leader} hung and led on, the longest gap was {gap:.2?}"),
        });
        drop(hung);
        // The old leader wakes with a clock by which the lease has run out.
        let woken = Instant::now();
        while woken.elapsed() < TTL {
            lease.keep_alive(&cluster, &others).await?;
            sleep(Duration::from_millis(100)).await;
        }
        let handed_over =
            handed_over.map_err(|_| format!("leader {leader} keeps its office with a disk that hangs"))?;
        let longest = gap.max(handed_over);
        if longest > HANDS_OVER {
            return Err(format!("the leader's office was handed over after {longest:.2?}, not within {HANDS_OVER:?}"));
        }
        cluster.ready(leader, PATIENCE).await?;
        leases.push(lease);
    }
    let ledger = load.stop().await;
    tally.acked += ledger.keys.len() as u64;
    cluster.whole(&ledger, tally).await
}

/// A lease with a key that lives as long as it does.
struct Lease {
    id: i64,
    key: String,
}

impl Lease {
    async fn grant(cluster: &Cluster, members: &[usize], key: String) -> Result<Lease, String> {
        let request = LeaseGrantRequest { ttl: TTL.as_secs().cast_signed(), id: 0 };
        let answer = leases(cluster, members[0])?.lease_grant(request).await.map_err(|status| status.to_string())?;
        let id = answer.into_inner().id;
        let request = PutRequest { key: key.clone().into(), value: "here".into(), lease: id, ..PutRequest::default() };
        client(&cluster.urls()[members[0]]).put(request).await.map_err(|status| status.to_string())?;
        Ok(Lease { id, key })
    }

    /// Keeps it alive through any of some members, and looks whether its key is there.
    async fn keep_alive(&self, cluster: &Cluster, members: &[usize]) -> Result<(), String> {
        for turn in 0..8 {
            let member = members[turn % members.len()];
            let mut leases = leases(cluster, member)?;
            let requests = once(LeaseKeepAliveRequest { id: self.id });
            let asked = async { leases.lease_keep_alive(requests).await?.into_inner().message().await };
            let Ok(Ok(Some(answer))) = timeout(ANSWER, asked).await else { continue };
            if answer.ttl <= 0 {
                return Err(format!("the lease of {} was kept alive and is gone", self.key));
            }
            let request = RangeRequest { key: self.key.clone().into(), ..RangeRequest::default() };
            match timeout(ANSWER, client(&cluster.urls()[member]).range(request)).await {
                Ok(Ok(answer)) if answer.get_ref().kvs.is_empty() => {
                    return Err(format!("{} is gone, though its lease was kept alive", self.key));
                }
                Ok(Ok(_)) => return Ok(()),
                _ => {}
            }
        }
        Ok(()) // no answer for a while: if that ended the lease, the next answer tells
    }
}

/// A stream of one request.
fn once<T: Send + 'static>(request: T) -> impl futures_util::Stream<Item = T> + Send + 'static {
    futures_util::stream::iter([request])
}

fn leases(cluster: &Cluster, member: usize) -> Result<LeaseClient<Channel>, String> {
    let endpoint = Endpoint::from_shared(cluster.urls()[member].clone()).map_err(|error| error.to_string())?;
    Ok(LeaseClient::new(endpoint.connect_timeout(ANSWER).connect_lazy()))
}

/// How often the healthy and the slow phase take turns.
const TURNS: usize = 5;
/// Length of a phase.
const PHASE: Duration = Duration::from_secs(4);
/// What each sync of the slow disk takes longer.
const SLOWER: Duration = Duration::from_millis(50);
/// How much the p99 of puts may rise.
const FELT: f64 = 1.10;

/// One follower's syncs take far longer than the others'.
pub fn slow_follower(bench: &Bench, seed: u64, tally: &mut Tally) -> Result<(), String> {
    block_on(async {
        let mirrors = mirrors(bench, seed)?;
        let data: Vec<_> = mirrors.iter().map(|mirror| mirror.path.join("data")).collect();
        let cluster = Cluster::start(bench, &data, &[]).await?;
        // Clients of the leader alone: what a follower answers for itself waits for its own disk.
        let leader = cluster.leader().await?;
        let victim = (leader + 1) % cluster.size();
        let load = Load::start("load/", &cluster.urls()[leader..=leader], WRITERS, WIDTH);
        load.more(300, PATIENCE).await.ok_or("no writes before the fault")?;
        let mut ratios = Vec::new();
        for _ in 0..TURNS {
            let healthy = phase(&load).await;
            let slow = Fault {
                operation: Operation::Sync,
                name: "*".to_owned(),
                after: 0,
                times: u64::MAX,
                damage: Damage::Delay(SLOWER),
            };
            let id = mirrors[victim].disk.inject(slow);
            let felt = phase(&load).await;
            mirrors[victim].disk.lift(id);
            tally.faults += mirrors[victim].disk.struck(id);
            tally.note(format!("p99 of puts: {healthy:.1?} healthy, {felt:.1?} with a slow follower"));
            ratios.push(felt.as_secs_f64() / healthy.as_secs_f64());
            sleep(Duration::from_millis(500)).await;
        }
        let ledger = load.stop().await;
        tally.count(&ledger);
        cluster.whole(&ledger, tally).await?;
        ratios.sort_unstable_by(f64::total_cmp);
        let median = ratios[ratios.len() / 2];
        tally.note(format!("median ratio {median:.2}, at most {FELT:.2} is wanted"));
        if median > FELT { Err(format!("a slow follower raises the p99 of puts {median:.2} times")) } else { Ok(()) }
    })
}

/// The p99 of a phase.
async fn phase(load: &Load) -> Duration {
    load.forget_pace();
    sleep(PHASE).await;
    load.p99()
}
