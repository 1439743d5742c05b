#!/usr/bin/env python3
"""What the loss of a leader costs, for any server with etcd's flags and API: time without an acknowledged write.

  failover.py kill   --server etcd=etcd --server "ours=kontiki server" --rounds 10
  failover.py silent --server ... --rounds 20           (as root)
  failover.py stop   --server ... --rounds 5
  failover.py move   --server ... --rounds 10
  failover.py calm   --server ... --minutes 60

kill    kill -9 the leader.
silent  the leader's machine falls silent: no connection ends, nothing arrives any more. Each member has a network
        namespace of its own, and the leader's cable is pulled. Afterwards: until the machine, back again, follows.
stop    SIGSTOP the leader for three seconds. Afterwards SIGCONT: until it follows its successor.
move    SIGTERM the leader, which is to hand over first.
calm    both cores saturated (512 clients put as fast as they can, and one process per core that only burns time):
        changes of leader and of term in so many minutes. None is expected.

All but the last: three members, and a light load (a put every few milliseconds through the members that are not the
leader, each on a connection of its own, whatever becomes of the others; one that is lost delays no other). A round's
figure is its longest time without an acknowledged write; for `silent` also without a linearizable read. Percentiles are
those of the rounds (nearest rank), so with 20 rounds the 99th is the greatest.

A round is bounded by 30 seconds. Namespaces, processes and data are removed at the end, whatever ends the script.
ETCDLOAD names the load generator, for `calm` only; BENCH_DIR the place for data directories.
"""
import argparse, asyncio, base64, json, os, random, signal, statistics, subprocess, sys, threading, time

from cluster import Cluster, Network

ROUND_MAX = 30
PUT = ("/v3/kv/put", {"value": "dmFsdWU="})
GET = ("/v3/kv/range", {})


class Asker:
    """Asks some members in turn, at fixed times, on a thread of its own. Knows when answers came."""

    def __init__(self, call, every):
        self.path, self.body = call
        self.body = json.dumps(self.body | {"key": base64.b64encode(b"failover").decode()}).encode()
        self.every, self.members, self.answers = every, [], []
        self.ended = False
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run()), daemon=True)
        self.thread.start()

    async def run(self):
        asked, tasks, due = 0, set(), time.monotonic()
        while not self.ended:
            if self.members:
                task = asyncio.create_task(self.ask(self.members[asked % len(self.members)]))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                asked += 1
            due += self.every
            await asyncio.sleep(max(0, due - time.monotonic()))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def ask(self, address):
        writer = None
        try:
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_connection(*address)
                writer.write(f"POST {self.path} HTTP/1.1\r\nHost: {address[0]}\r\nContent-Type: application/json\r\n"
                             f"Connection: close\r\nContent-Length: {len(self.body)}\r\n\r\n".encode() + self.body)
                if b" 200" in await reader.readline():
                    self.answers.append(time.monotonic())
        except (OSError, TimeoutError):
            pass
        finally:
            if writer:
                writer.close()

    def longest_gap(self, begin):
        """Longest time since `begin` without an answer, in ms."""
        times = [begin] + [at for at in self.answers if at > begin] + [time.monotonic()]
        return round(1000 * max(after - before for before, after in zip(times, times[1:])), 1)

    def serves(self, begin, quiet, answers):
        """Waits until the last answers came `answers` at a time that is at least `quiet` seconds after `begin`."""
        wait_for(lambda: len([at for at in self.answers if at > begin + quiet]) >= answers, "no answer")

    def end(self):
        self.ended = True
        self.thread.join()


def wait_for(condition, complaint):
    begin = time.monotonic()
    while not condition():
        if time.monotonic() > begin + ROUND_MAX:
            raise SystemExit(f"{complaint} within {ROUND_MAX} s")
        time.sleep(0.002)
    return time.monotonic() - begin


def follows(cluster, i):
    """Whether a member follows the leader that the others know."""
    try:
        leaders = {(cluster.status(j, 0.5)["leader"], cluster.status(j, 0.5)["raftTerm"]) for j in range(len(cluster.procs))}
        return len(leaders) == 1 and next(iter(leaders))[0] not in ("0", cluster.status(i, 0.5)["header"]["member_id"])
    except (OSError, KeyError):
        return False


def percentile(values, share):
    return sorted(values)[max(0, -(-len(values) * share // 100) - 1)]


def summary(values):
    return {"p50": statistics.median(values), "p99": percentile(values, 99), "max": max(values), "all": values}


def rounds(cluster, options, lose, bring_back, reads=False):
    """Loses the leader again and again. What is measured begins a moment before the loss, at a random moment between two
    heartbeats."""
    askers = {"write_gap_ms": Asker(PUT, options.every / 1000)}
    if reads:
        askers["read_gap_ms"] = Asker(GET, options.every / 1000)
    out = {name: [] for name in askers}
    back = []
    try:
        for _ in range(options.rounds):
            leader = cluster.leader()
            others = cluster.others(leader)
            for asker in askers.values():
                asker.members = [cluster.address(i) for i in others]
            time.sleep(1 + random.random() / 2)
            begin = time.monotonic()
            lose(leader)
            for asker in askers.values():
                asker.serves(begin, 0.3, 20)
            for name, asker in askers.items():
                out[name].append(asker.longest_gap(begin))
            bring_back(leader, begin)
            begun = time.monotonic()
            wait_for(lambda: follows(cluster, leader), f"{cluster.name}: the old leader does not follow")
            back.append(round(1000 * (time.monotonic() - begun)))
            cluster.healthy(leader)
    finally:
        for asker in askers.values():
            asker.end()
    out = {name: summary(values) for name, values in out.items()}
    return out | {"old_leader_follows_after_ms": summary(back)}


def kill(cluster, options):
    return rounds(cluster, options, cluster.kill, lambda i, _: cluster.start(i))


def silent(cluster, options):
    out = rounds(cluster, options, cluster.network.silence, lambda i, _: cluster.network.restore(i), reads=True)
    for name in "write_gap_ms", "read_gap_ms":
        timeouts = {p: round(out[name][p] / options.election_timeout, 2) for p in ("p50", "p99", "max")}
        out[name] = {"in_election_timeouts": timeouts} | out[name]
    return out


def stop(cluster, options):
    def wake(i, begin):
        time.sleep(max(0, begin + 3 - time.monotonic()))
        cluster.procs[i].send_signal(signal.SIGCONT)

    return rounds(cluster, options, lambda i: cluster.procs[i].send_signal(signal.SIGSTOP), wake)


def move(cluster, options):
    def end(i):
        cluster.procs[i].terminate()

    def restart(i, _):
        cluster.procs[i].wait(timeout=ROUND_MAX)
        cluster.start(i)

    return rounds(cluster, options, end, restart)


def calm(cluster, options):
    members = range(len(cluster.procs))
    changes = "etcd_server_leader_changes_seen_total"
    before = [cluster.metric(i, changes) for i in members]
    terms, leaders, unanswered, samples = set(), set(), 0, 0
    seconds = options.minutes * 60
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count())]
    load = None
    try:
        load = cluster.load(f"--op put --clients 512 --conns 16 --keys 100000 --warmup 0 --seconds {seconds}", wait=False)
        end = time.monotonic() + seconds + 60
        while load.poll() is None and time.monotonic() < end:
            for i in members:
                samples += 1
                try:
                    status = cluster.status(i, 5)
                    terms.add(int(status["raftTerm"]))
                    leaders.add(status.get("leader", "0"))
                except OSError:
                    unanswered += 1
            time.sleep(1)
        puts = json.loads(load.communicate()[0].splitlines()[-1]) if load.poll() is not None else {}
    finally:
        for process in burners + [load] * (load is not None):
            if process.poll() is None:
                process.kill()
            process.wait()
    time.sleep(2)
    return {"minutes": options.minutes, "terms": sorted(terms), "leaders": sorted(leaders), "changes": max(terms) - min(terms),
            "leader_changes_seen": [cluster.metric(i, changes) - before[i] for i in members],
            "samples": samples, "unanswered": unanswered, "puts": puts}


MODES = {"kill": kill, "silent": silent, "stop": stop, "move": move, "calm": calm}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=MODES)
    parser.add_argument("--server", action="append", required=True, metavar="NAME=COMMAND")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=60, help="of calm")
    parser.add_argument("--every", type=float, default=5, help="milliseconds between two puts")
    parser.add_argument("--election-timeout", type=float, default=1000, help="the servers', in ms, for what is told in them")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for number, spec in enumerate(options.server):
        network = Network() if options.what == "silent" else None
        try:
            cluster = Cluster(spec, 27000 + 100 * number, network=network)
            try:
                print(json.dumps({"server": cluster.name} | MODES[options.what](cluster, options)), flush=True)
            finally:
                cluster.down()
        finally:
            if network:
                network.down()


if __name__ == "__main__":
    main()
