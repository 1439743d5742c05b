#!/usr/bin/env python3
"""Where a leader and a follower spend their time under a load: flame graphs by thread, and a table by layer.

  flame.py --server "ours=kontiki server" --load put64 --out /tmp/flames
  flame.py --server "ours=kontiki server" --load get64 --stacks fp --out /tmp/flames

Starts three members, fills keys, runs a load of cost.py, and samples leader and follower with `perf record`. Writes for each
a folded file (one stack a line, its thread first; https://speedscope.app shows it) and, where inferno is installed, a flame
graph as SVG. Prints the share of each layer in each thread's time: that of a stack's innermost frame that is of any layer.
Time that a thread waits is not in it.

Stacks need a program with symbols. Cheap and true ones need frame pointers as well (--stacks fp):

  RUSTFLAGS=-Cforce-frame-pointers=yes CARGO_PROFILE_RELEASE_DEBUG=line-tables-only CARGO_PROFILE_RELEASE_STRIP=none \\
    cargo build --release

Without them --stacks dwarf, the default, unwinds by debug information, which takes a while afterwards; frames that were
inlined do not show in either. perf needs root, or kernel.perf_event_paranoid at most 1.

ETCDLOAD names the load generator; BENCH_DIR the place for data directories.
"""
import argparse, collections, os, re, shutil, signal, subprocess, time

from cluster import Cluster
from cost import LOADS
from layers import layer

STACKS = {"fp": "fp", "dwarf": "dwarf,16384"}
LEAST_SHARE = 0.5


def record(cluster, roles, options):
    data, running = {}, []
    for role, i in roles.items():
        data[role] = f"{options.out}/{cluster.name}-{options.load}-{role}.data"
        running.append(subprocess.Popen(
            ["perf", "record", "-q", "-F", str(options.hertz), "--call-graph", STACKS[options.stacks], "-o", data[role], "-p",
             str(cluster.procs[i].pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    time.sleep(0.7)
    through = None if options.through == "all" else [roles[options.through]]
    cluster.load(f"{LOADS[options.load]} --warmup 0 --keys {options.keys} --seconds {options.seconds}", through)
    for process in running:
        process.send_signal(signal.SIGINT)
        process.wait()
    return data


def stacks(data):
    """`{(thread name, frames): samples}`; frames are (symbol, whether it is the kernel's), innermost first."""
    script = subprocess.Popen(["perf", "script", "--no-inline", "-F", "comm,ip,sym,dso", "-i", data],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    counts, thread, frames = collections.Counter(), None, []
    for line in script.stdout:
        if not line.strip():
            if thread and frames:
                counts[thread, tuple(frames)] += 1
            thread, frames = None, []
        elif line[0].isspace():
            frame = re.match(r"\s+[0-9a-f]+ (.*) \((.*)\)$", line)
            if frame:
                symbol = re.sub(r"::h[0-9a-f]{16}$", "", frame[1])
                of_kernel = frame[2].startswith("[") and frame[2] not in ("[vdso]", "[unknown]")
                frames.append((symbol.replace(";", ":"), of_kernel))
        else:
            thread = line.strip().rstrip(":")
    if script.wait():
        raise SystemExit(f"perf script -i {data} failed")
    return counts


def write(counts, path):
    """The folded file, and the picture where there is somebody to draw it."""
    with open(f"{path}.folded", "w") as folded:
        for (thread, frames), count in counts.items():
            names = [symbol + ("_[k]" if of_kernel else "") for symbol, of_kernel in reversed(frames)]
            folded.write(";".join([thread] + names) + f" {count}\n")
    if shutil.which("inferno-flamegraph"):
        with open(f"{path}.svg", "w") as svg:
            subprocess.run(["inferno-flamegraph", "--title", os.path.basename(path), f"{path}.folded"], stdout=svg, check=True)
        return f"{path}.svg"
    return f"{path}.folded (for an SVG: cargo install inferno)"


def table(role, counts):
    total = sum(counts.values())
    by_thread, by_layer, cells = collections.Counter(), collections.Counter(), collections.Counter()
    for (thread, frames), count in counts.items():
        name = layer(frames)
        by_thread[thread] += count
        by_layer[name] += count
        cells[name, thread] += count
    threads = [thread for thread, count in by_thread.most_common(6) if 100 * count / total >= LEAST_SHARE]
    print(f"\n{role}: {total} samples; per cent of the process's time")
    print(f"  {'':20}{'all':>8}" + "".join(f"{thread:>17}" for thread in threads))
    print(f"  {'all':20}{100:8.1f}" + "".join(f"{100 * by_thread[thread] / total:17.1f}" for thread in threads))
    for name, count in by_layer.most_common():
        if 100 * count / total >= LEAST_SHARE:
            print(f"  {name:20}{100 * count / total:8.1f}"
                  + "".join(f"{100 * cells[name, thread] / total:17.1f}" for thread in threads))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True, metavar="NAME=COMMAND")
    parser.add_argument("--load", choices=list(LOADS), default="put64")
    parser.add_argument("--through", choices=["all", "leader", "follower"], default="all", help="where clients are connected")
    parser.add_argument("--keys", type=int, default=20000)
    parser.add_argument("--value-size", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--hertz", type=int, default=499)
    parser.add_argument("--stacks", choices=list(STACKS), default="dwarf")
    parser.add_argument("--out", default=".", help="directory for what is written")
    options = parser.parse_args()
    if not shutil.which("perf"):
        raise SystemExit("flame.py needs perf (Debian: apt-get install linux-perf; elsewhere linux-tools)")
    os.makedirs(options.out, exist_ok=True)
    cluster = Cluster(options.server, 27640, options.value_size)
    try:
        cluster.fill(options.keys)
        leader = cluster.leader()
        data = record(cluster, {"leader": leader, "follower": cluster.others(leader)[0]}, options)
    finally:
        cluster.down()
    for role, path in data.items():
        if not os.path.exists(path):
            raise SystemExit("perf record wrote nothing: may it? (root, or kernel.perf_event_paranoid at most 1)")
        counts = stacks(path)
        table(role, counts)
        print(f"  {write(counts, path.removesuffix('.data'))}", flush=True)
        os.remove(path)


if __name__ == "__main__":
    main()
