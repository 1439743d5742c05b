#!/usr/bin/env python3
"""What durability costs and what a restart takes, for any server with etcd's flags and API.

  durability.py restart  --server etcd=etcd --server "ours=kontiki server" --keys 1000000
  durability.py catch-up --server ... --keys 300000
  durability.py writes   --server ... --clients 1,64,512

restart   fills three members, then kills a follower (kill -9) and times it until it is healthy: after three
          quiet seconds, and in the middle of writes. Shows memory and disk of the members too.
catch-up  kills a follower of an empty cluster, fills the others, and starts it again under a steady load of
          puts: seconds until it holds everything, and the 99th percentile of puts before and meanwhile.
writes    bytes that reach the members' disk for each byte put (keys and values), syncs per second and
          entries per sync of the leader, with the raw disk's own syncs per second beside them.

ETCDLOAD names the load generator; BENCH_DIR the place for data directories. Figures of two servers from
one run may be compared with each other.
"""
import argparse, json, os, statistics, tempfile, time

from cluster import Cluster


def restart(cluster, options):
    cluster.fill(options.keys)
    time.sleep(3)
    members = range(3)
    out = {"resident_mib": [cluster.resident_mib(i) for i in members], "disk_mib": [cluster.disk_mib(i) for i in members]}
    follower = (cluster.leader() + 1) % 3
    times = {"after_quiet_s": [], "amid_writes_s": []}
    for _ in range(5):
        cluster.kill(follower)
        cluster.start(follower)
        times["after_quiet_s"].append(round(cluster.healthy(follower), 2))
        time.sleep(2)
    for _ in range(5):
        others = [i for i in members if i != follower]
        writes = cluster.load(f"--op put --clients 64 --conns 8 --seconds 4 --keys {options.keys}", others, wait=False)
        time.sleep(4.5)
        cluster.kill(follower)
        writes.communicate()
        cluster.start(follower)
        times["amid_writes_s"].append(round(cluster.healthy(follower), 2))
    return out | times


def catch_up(cluster, options):
    follower = (cluster.leader() + 1) % 3
    others = [i for i in range(3) if i != follower]
    cluster.kill(follower)
    cluster.fill(options.keys, others)
    time.sleep(3)
    # A rate that leaves the processors room: who saturates them measures the scheduler.
    steady = f"--op put --clients 4 --conns 4 --keys {options.keys}"
    before = cluster.load(steady + " --seconds 5", others)
    resident = [cluster.resident_mib(i) for i in others]
    full = int(cluster.status(others[0])["header"]["revision"])
    writes = cluster.load(steady + " --seconds 5 --warmup 0", others, wait=False)
    begin = time.time()
    cluster.start(follower)
    peak = dict.fromkeys(range(3), 0)
    seconds = None
    while writes.poll() is None or seconds is None:
        for i in range(3):
            peak[i] = max(peak[i], cluster.resident_mib(i))
        try:
            if seconds is None and int(cluster.status(follower)["header"]["revision"]) >= full:
                seconds = round(time.time() - begin, 2)
        except OSError:
            pass
        time.sleep(0.02)
    meanwhile = json.loads(writes.communicate()[0].splitlines()[-1])
    return {"catch_up_s": seconds, "put_p99_us_before": before["p99_us"], "put_p99_us_meanwhile": meanwhile["p99_us"],
            "p99_ratio": round(meanwhile["p99_us"] / before["p99_us"], 2),
            "resident_mib_before": resident, "resident_mib_peak": [peak[i] for i in others],
            "resident_mib_peak_of_receiver": peak[follower]}


def writes(cluster, options):
    out = {}
    cluster.fill(10000)
    leader = cluster.leader()
    syncs_metric = "etcd_disk_wal_fsync_duration_seconds_count"
    for clients in options.clients.split(","):
        time.sleep(2)
        written = [cluster.written(i) for i in range(3)]
        syncs, begin = cluster.metric(leader, syncs_metric), time.time()
        revision = int(cluster.status(leader)["header"]["revision"])
        cluster.load(f"--op put --clients {clients} --conns {min(16, int(clients))} --seconds {options.seconds} --warmup 0")
        elapsed = time.time() - begin
        syncs = cluster.metric(leader, syncs_metric) - syncs
        puts = int(cluster.status(leader)["header"]["revision"]) - revision
        time.sleep(3)  # what a checkpoint or a commit in the background writes belongs to it
        disk = statistics.mean(cluster.written(i) - written[i] for i in range(3))
        out[f"put{clients}"] = {
            "puts_per_s": round(puts / elapsed), "syncs_per_s": round(syncs / elapsed),
            "entries_per_sync": round(puts / syncs, 1) if syncs else None,
            "disk_bytes_per_put": round(disk / puts), "disk_bytes_per_byte_put": round(disk / puts / (options.value_size + 16), 1)}
    return out


def raw_disk():
    """Syncs per second of 512 bytes written over again in a file that is there, as a log at its best does."""
    with tempfile.NamedTemporaryFile(dir=os.environ.get("BENCH_DIR")) as file:
        file.write(bytes(8 << 20))
        os.fsync(file.fileno())
        begin, syncs = time.time(), 0
        while time.time() < begin + 2:
            os.pwrite(file.fileno(), bytes(512), syncs % 16384 * 512)
            os.fdatasync(file.fileno())
            syncs += 1
    return {"raw_disk_syncs_per_s": round(syncs / 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["restart", "catch-up", "writes"])
    parser.add_argument("--server", action="append", required=True, metavar="NAME=COMMAND")
    parser.add_argument("--keys", type=int, default=300000)
    parser.add_argument("--value-size", type=int, default=256)
    parser.add_argument("--clients", default="1,64,512")
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    measure = {"restart": restart, "catch-up": catch_up, "writes": writes}[options.what]
    if options.what == "writes":
        print(json.dumps(raw_disk()))
    for number, spec in enumerate(options.server):
        cluster = Cluster(spec, 26000 + 100 * number, options.value_size)
        try:
            print(json.dumps({"server": cluster.name} | measure(cluster, options)), flush=True)
        finally:
            cluster.down()


if __name__ == "__main__":
    main()
