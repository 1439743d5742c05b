#!/usr/bin/env python3
"""What an operation costs, on the leader and on a follower apart, for any server with etcd's flags and API.

  cost.py --server etcd=etcd --server "ours=kontiki server"
  cost.py --server ... --loads put1,put64 --through follower --keys 20000 --seconds 5
  cost.py --server ... --json > figures.json

For each load, with three fresh members and so many keys, per operation: CPU by thread name, context switches, system
calls by name and by thread name (`perf stat`, as root), bytes to disk and between members, syncs and entries per sync,
messages between members (TCP segments with data), allocations (a second, shorter run: its probes cost time), and resident
memory. What the machine does not offer is left out, and a line says so.

Loads: put1 put64 put512 get64 sget64 range64 (100 keys each) watch (8 clients put, 100 watchers; an operation is a put).
All figures are divided by all operations of the run, whoever served them: a follower's say what it adds. --through says
which members clients are connected to: `leader` and `follower` show the two paths unmixed.

Counts and shares mean the same on a busy machine as on an idle one, nearly: what forms batches is load, and fewer cores for
the server make larger ones. CPU time is that of the operating system; its error is a hundredth of a second a thread.

ETCDLOAD names the load generator; BENCH_DIR the place for data directories.
"""
import argparse, json, sys, time

from cluster import Cluster
from counters import Perf, Probes, Process, syscall_events

LOADS = {
    "put1": "--op put --clients 1 --conns 1",
    "put64": "--op put --clients 64 --conns 8",
    "put512": "--op put --clients 512 --conns 16",
    "get64": "--op get --clients 64 --conns 8",
    "sget64": "--op sget --clients 64 --conns 8",
    "range64": "--op range --clients 64 --conns 8 --limit 100",
    "watch": "--op watch --clients 8 --conns 8 --watchers 100",
}
ALLOCATION_SECONDS = 1.5


def measure(cluster, load, options, events):
    leader = cluster.leader()
    follower = cluster.others(leader)[0]
    through = {"all": None, "leader": [leader], "follower": [follower]}[options.through]
    roles = {"leader": leader, "follower": follower}
    arguments = f"{LOADS[load]} --warmup 0 --keys {options.keys} --seconds "
    cluster.load(arguments + "1", through)  # threads and caches as they are under load
    with Perf(cluster, roles.values(), events) as perf:
        before = {role: Process.read(cluster, i) for role, i in roles.items()}
        result = cluster.load(arguments + str(options.seconds), through)
        after = {role: Process.read(cluster, i) for role, i in roles.items()}
    puts = after["leader"]["entries applied"] - before["leader"]["entries applied"]
    operations = puts if load == "watch" else result["ops"]
    out = {"load": load, "operations": operations, "per_s": round(operations / options.seconds),
           "p50_us": result["p50_us"], "p99_us": result["p99_us"]}
    for role, i in roles.items():
        out[role] = {name: count / operations for name, count in (after[role] - before[role]).items()}
        tidy(out[role], after[role] - before[role])
        for thread, counts in perf.counts.get(i, {}).items():
            for event, count in counts.items():
                name = event.rpartition("sys_enter")[2].lstrip("_") or "all"
                out[role][f"{thread}/calls {name}"] = count / operations
        out[role]["resident MiB"] = cluster.resident_mib(i)
    if leader != cluster.leader():
        out["note"] = "the leader changed meanwhile: figures mix both roles"
    count_allocations(cluster, roles, arguments, through, load, out)
    return out


def tidy(role, counts):
    """Ratios say more than counts per operation where what is counted is a batch."""
    syncs = counts["log syncs"]
    if syncs:
        role["entries per sync"] = counts["entries applied"] / syncs
        role["ms per sync"] = 1000 * counts["log sync seconds"] / syncs
    role.pop("log sync seconds", None)


def count_allocations(cluster, roles, arguments, through, load, out):
    if "allocations" in out["leader"]:
        return  # told by the server itself
    with Probes(cluster.procs[roles["leader"]].pid) as probes:
        if probes.missing:
            out.setdefault("missing", []).append(probes.missing)
            return
        with Perf(cluster, roles.values(), probes.events, threads=False) as perf:
            applied = Process.read(cluster, roles["leader"])["entries applied"]
            result = cluster.load(arguments + str(ALLOCATION_SECONDS), through)
            puts = Process.read(cluster, roles["leader"])["entries applied"] - applied
        operations = puts if load == "watch" else result["ops"]
        for role, i in roles.items():
            out[role]["allocations"] = sum(sum(counts.values()) for counts in perf.counts[i].values()) / operations


def show(server, figures):
    print(f"\n{server} {figures['load']}: {figures['operations']:.0f} operations, {figures['per_s']}/s, "
          f"p50 {figures['p50_us']:.0f} us, p99 {figures['p99_us']:.0f} us; all below per operation")
    print(f"  {'':42}{'leader':>12}{'follower':>12}")
    roles = [figures["leader"], figures["follower"]]
    names = sorted(set(roles[0]) | set(roles[1]))
    plain = [name for name in names if "/" not in name]
    threads = sorted({name.split("/")[0] for name in names if "/" in name},
                     key=lambda thread: -roles[0].get(f"{thread}/user us", 0) - roles[0].get(f"{thread}/system us", 0))
    for name in plain:
        row(name, [role.get(name, 0) for role in roles])
    for thread in threads:
        parts = [name for name in names if name.startswith(thread + "/")]
        if any(role.get(name, 0) >= 0.005 for role in roles for name in parts):
            print(f"  {thread}")
            parts.sort(key=lambda name: ("calls" in name, -roles[0].get(name, 0)))
            for name in parts:
                row("  " + name.split("/", 1)[1], [role.get(name, 0) for role in roles])
    for line in [figures.get("note")] + figures.get("missing", []):
        if line:
            print(f"  {line}")
    sys.stdout.flush()


def row(name, values):
    if any(value >= 0.0005 for value in values):
        print(f"  {name:42}" + "".join(f"{value:12.3f}" if value < 100 else f"{value:12.0f}" for value in values))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", action="append", required=True, metavar="NAME=COMMAND")
    parser.add_argument("--loads", default=",".join(LOADS))
    parser.add_argument("--through", choices=["all", "leader", "follower"], default="all")
    parser.add_argument("--keys", type=int, default=20000)
    parser.add_argument("--value-size", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    events, missing = syscall_events()
    for number, spec in enumerate(options.server):
        for load in options.loads.split(","):
            cluster = Cluster(spec, 27340 + 100 * number, options.value_size)
            try:
                cluster.fill(options.keys)
                time.sleep(1)
                figures = measure(cluster, load, options, events)
            finally:
                cluster.down()
            if missing:
                figures.setdefault("missing", []).append(missing)
            if options.json:
                print(json.dumps({"server": cluster.name} | figures), flush=True)
            else:
                show(cluster.name, figures)


if __name__ == "__main__":
    main()
