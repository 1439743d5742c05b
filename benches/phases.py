#!/usr/bin/env python3
"""Where the time of one put or get goes, step by step, for any server with etcd's flags and API.

  phases.py --server "ours=kontiki server"
  phases.py --server etcd=etcd --server ... --op put --through follower --seconds 5

One client, one call at a time. The kernel's tracepoints tell when each member reads, writes and syncs (`perf record`, as root;
nothing is added to the server); which socket leads to a client and which to a member, `ss` tells. Printed is the time from
one step to the next: the median over all calls, and the quarter and three quarters. A step that happens beside another one
(a follower's sync beside the leader's) is measured from the step that it follows from, which stands in brackets.

A call that misses a step is left out. What the tracepoints cost, about a microsecond for each, is in it.

ETCDLOAD names the load generator; BENCH_DIR the place for data directories.
"""
import argparse, bisect, collections, re, shutil, signal, statistics, subprocess, tempfile, time

from cluster import Cluster

READS, WRITES = ("read", "recvfrom", "recvmsg", "readv"), ("write", "writev", "sendto", "sendmsg")
CALLS = READS + WRITES + ("pwrite64", "fdatasync")
ANSWER_BYTES_MIN = 40  # no ping, no window

# A step: its name, the step it follows from, the member (L leader, F follower that is asked, O any other), what happens there,
# and the least bytes: V for the value's. The time of a read is its end, that of a write its beginning.
QUORUM = "durable at a quorum"
REPLICATION = [
    ("leader's sync begins", "entry sent", "L", "sync begin", 0),
    ("leader's sync ends", "leader's sync begins", "L", "sync end", 0),
    ("follower reads the entry", "entry sent", "O", "peer read", "V"),
    ("follower's sync begins", "follower reads the entry", "O", "sync begin", 0),
    ("follower's sync ends", "follower's sync begins", "O", "sync end", 0),
    ("follower acknowledges", "follower's sync ends", "O", "peer write", 1),
    ("leader reads the acknowledgement", "follower acknowledges", "L", "peer read", 1),
    (QUORUM, "entry sent", "L", None, 0),
]
PUT_AT_LEADER = [
    ("request read", None, "L", "client read", "V"),
    ("entry sent", "request read", "L", "peer write", "V"),
    *REPLICATION,
    ("answer written", QUORUM, "L", "client write", ANSWER_BYTES_MIN),
]
PUT_AT_FOLLOWER = [
    ("request read", None, "F", "client read", "V"),
    ("forwarded", "request read", "F", "peer write", "V"),
    ("leader reads the request", "forwarded", "L", "peer read", "V"),
    ("entry sent", "leader reads the request", "L", "peer write", "V"),
    *REPLICATION,
    ("commit told", QUORUM, "L", "peer write", 1),
    ("asked member reads it", "commit told", "F", "peer read", 1),
    ("answer written", "asked member reads it", "F", "client write", ANSWER_BYTES_MIN),
]
GET_AT_LEADER = [
    ("request read", None, "L", "client read", ANSWER_BYTES_MIN),
    ("asks the others", "request read", "L", "peer write", 1),
    ("follower reads it", "asks the others", "O", "peer read", 1),
    ("follower confirms", "follower reads it", "O", "peer write", 1),
    ("leader reads it", "follower confirms", "L", "peer read", 1),
    ("answer written", "leader reads it", "L", "client write", ANSWER_BYTES_MIN),
]
GET_AT_FOLLOWER = [
    ("request read", None, "F", "client read", ANSWER_BYTES_MIN),
    ("asks the leader", "request read", "F", "peer write", 1),
    ("leader reads it", "asks the leader", "L", "peer read", 1),
    ("leader asks the others", "leader reads it", "L", "peer write", 1),
    ("another reads it", "leader asks the others", "O", "peer read", 1),
    ("another confirms", "another reads it", "O", "peer write", 1),
    ("answer written", "another confirms", "F", "client write", ANSWER_BYTES_MIN),
]
STEPS = {("put", "leader"): PUT_AT_LEADER, ("put", "follower"): PUT_AT_FOLLOWER,
         ("get", "leader"): GET_AT_LEADER, ("get", "follower"): GET_AT_FOLLOWER}


def trace(cluster, door, options):
    """Events of a load: `{member: {kind: sorted [(seconds, bytes)]}}`."""
    members = range(len(cluster.procs))
    events = ",".join(f"syscalls:sys_{side}_{name}" for name in CALLS for side in ("enter", "exit"))
    load = f"--op {options.op} --clients 1 --conns 1 --warmup 0 --keys {options.keys} --seconds "
    with tempfile.NamedTemporaryFile(suffix=".data") as data:
        process = cluster.load(load + str(options.seconds + 1.5), [door], wait=False)
        time.sleep(1)
        perf = subprocess.Popen(["perf", "record", "-q", "-e", events, "-o", data.name, "-p",
                                 ",".join(str(cluster.procs[i].pid) for i in members)],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        sockets = sides(cluster)
        time.sleep(options.seconds)
        perf.send_signal(signal.SIGINT)
        perf.wait()
        process.communicate()
        script = subprocess.run(["perf", "script", "--ns", "-F", "pid,tid,time,event,trace", "-i", data.name],
                                capture_output=True, text=True)
    member_of = {cluster.procs[i].pid: i for i in members}
    found = {i: collections.defaultdict(list) for i in members}
    entered = {}
    for line in script.stdout.splitlines():
        event = re.match(r"\s*(\d+)/(\d+)\s+([\d.]+):\s+syscalls:sys_(enter|exit)_(\w+):\s*(.*)", line)
        if not event:
            continue
        pid, tid, at, name = int(event[1]), event[2], float(event[3]), event[5]
        if event[4] == "enter":
            descriptor = re.search(r"fd: (0x[0-9a-f]+)", event[6])
            entered[tid] = (name, at, int(descriptor[1], 16) if descriptor else -1)
            continue
        before = entered.pop(tid, None)
        if before is None or before[0] != name:
            continue
        result = int(event[6].split()[0], 16)
        count = result - (1 << 64) if result >> 63 else result
        here = found[member_of[pid]]
        if name == "fdatasync":
            here["sync begin"].append((before[1], 0))
            here["sync end"].append((at, 0))
        elif count > 0 and (side := sockets.get((pid, before[2]))):
            reads = name in READS
            here[f"{side} {'read' if reads else 'write'}"].append((at if reads else before[1], count))
    for kinds in found.values():
        for list_of in kinds.values():
            list_of.sort()
    return found


def sides(cluster):
    """Which of the members' descriptors leads where: `{(pid, descriptor): "client" or "peer"}`."""
    listed = subprocess.run(["ss", "-tnpHO", "state", "established"], capture_output=True, text=True).stdout
    clients = {str(client) for client, _ in cluster.ports}
    peers = {str(peer) for _, peer in cluster.ports}
    pids, found = {process.pid for process in cluster.procs}, {}
    for line in listed.splitlines():
        own, other = (address.rsplit(":", 1)[1] for address in line.split()[2:4])
        for pid, descriptor in re.findall(r"pid=(\d+),fd=(\d+)", line):
            if int(pid) in pids and (own in clients or own in peers or other in peers):
                found[int(pid), int(descriptor)] = "client" if own in clients else "peer"
    return found


def first(events, after, bytes_min):
    """When the first of these happens at or after a time."""
    for at, count in events[bisect.bisect_left(events, (after, 0)):]:
        if count >= bytes_min:
            return at
    return None


def follow(found, steps, roles, value_size):
    """For each call the times of its steps; of several followers, those of the one that acknowledged first."""
    def bytes_min(step):
        return value_size if step[4] == "V" else step[4]

    def go(times, steps, member, end):
        """Adds the steps' times; none where one is missed."""
        for step in steps:
            at = first(found[member[step[2]]][step[3]], times[step[1]], bytes_min(step))
            if at is None or at > end:
                return None
            times[step[0]] = at
        return times

    cut = next((number for number, step in enumerate(steps) if step[0] == QUORUM), len(steps))
    one = {role: at[0] for role, at in roles.items()}
    begins = [at for at, count in found[one[steps[0][2]]][steps[0][3]] if count >= bytes_min(steps[0])]
    calls = []
    for begin, end in zip(begins, begins[1:]):
        ways = [go({steps[0][0]: begin}, steps[1:cut], one | {"O": other}, end) for other in roles["O"]]
        ways = sorted((way for way in ways if way), key=lambda way: way[steps[cut - 1][0]])
        if not ways:
            continue
        times = ways[0]
        if cut < len(steps):
            durable = [times["leader's sync ends"]] + [way[steps[cut - 1][0]] for way in ways]
            times[QUORUM] = sorted(durable)[1]
        if go(times, steps[cut + 1:], one, end):
            calls.append(times)
    return calls


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", action="append", required=True, metavar="NAME=COMMAND")
    parser.add_argument("--op", choices=["put", "get"], default="put")
    parser.add_argument("--through", choices=["leader", "follower"], default="leader")
    parser.add_argument("--keys", type=int, default=1000)
    parser.add_argument("--value-size", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=4)
    options = parser.parse_args()
    for tool in ("perf", "ss"):
        if not shutil.which(tool):
            raise SystemExit(f"phases.py needs {tool}")
    for number, spec in enumerate(options.server):
        cluster = Cluster(spec, 27840 + 100 * number, options.value_size)
        try:
            cluster.fill(options.keys)
            leader = cluster.leader()
            others = cluster.others(leader)
            door = leader if options.through == "leader" else others[0]
            roles = {"L": [leader], "F": others[:1], "O": others}
            found = trace(cluster, door, options)
        finally:
            cluster.down()
        show(cluster.name, STEPS[options.op, options.through], found, roles, options)


def show(server, steps, found, roles, options):
    calls = follow(found, steps, roles, options.value_size)
    if len(calls) < 2:
        raise SystemExit("no call was seen from end to end: may perf trace? (root, tracefs)")
    total = [call[steps[-1][0]] - call[steps[0][0]] for call in calls]
    print(f"\n{server} {options.op} through the {options.through}: {len(calls)} calls, "
          f"{1e6 * statistics.median(total):.0f} us from request to answer")
    print(f"  {'us since the step before':>60}{'median':>9}{'25 %':>9}{'75 %':>9}")
    for number, (name, after, *_) in enumerate(steps[1:]):
        low, middle, high = statistics.quantiles([1e6 * (call[name] - call[after]) for call in calls], n=4)
        beside = f" [{after}]" if after != steps[number][0] else ""
        print(f"  {name + beside:60}{middle:9.0f}{low:9.0f}{high:9.0f}")


if __name__ == "__main__":
    main()
