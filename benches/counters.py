"""What the operating system and a member itself count of a process: read before and after a load, the difference is its cost.

Used by cost.py. Each class has a way to begin and a way to end; what the machine does not offer is named in `missing`.
"""
import collections, glob, os, re, shutil, signal, subprocess, tempfile, time, urllib.request

TICKS = os.sysconf("SC_CLK_TCK")
EVENTS = "/sys/kernel/tracing/events"

# Counted one by one where the kernel knows them; all others together are "other".
SYSCALLS = ("futex epoll_wait epoll_pwait recvfrom recvmsg read readv pread64 sendto sendmsg write writev pwrite64 pwritev "
            "fdatasync fsync sync_file_range io_uring_enter sched_yield nanosleep clock_nanosleep tgkill rt_sigreturn "
            "epoll_ctl mmap munmap madvise mprotect brk accept4 getrandom timerfd_settime rename openat close").split()
ALLOCATIONS = ("malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc")


def text_of(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:  # a thread may end at any time
        return ""


class Process:
    """One process's figures at one moment, as `{name: number}`; names with a slash are of one thread name."""

    @staticmethod
    def read(cluster, i):
        pid = cluster.procs[i].pid
        found = collections.Counter()
        fields = text_of(f"/proc/{pid}/stat").rpartition(")")[2].split()
        found["cpu user us"], found["cpu system us"] = (int(fields[n]) * 1e6 / TICKS for n in (11, 12))
        for task in glob.glob(f"/proc/{pid}/task/*"):
            name = text_of(f"{task}/comm").strip()
            fields = text_of(f"{task}/stat").rpartition(")")[2].split()
            if not fields:
                continue
            found[f"{name}/user us"] += int(fields[11]) * 1e6 / TICKS
            found[f"{name}/system us"] += int(fields[12]) * 1e6 / TICKS
            for kind, word in (("voluntary", "voluntary_ctxt_switches"), ("involuntary", "nonvoluntary_ctxt_switches")):
                count = re.search(rf"^{word}:\s*(\d+)", text_of(f"{task}/status"), re.M)
                number = int(count[1]) if count else 0
                found[f"{name}/{kind}"] += number
                found[f"{kind} switches"] += number
        found["bytes written to disk"] = cluster.written(i)
        Process.sockets(cluster, i, found)
        Process.metrics(cluster, i, found)
        return found

    @staticmethod
    def sockets(cluster, i, found):
        """Between members, as TCP counts it: segments are what a peer is woken for."""
        if not shutil.which("ss"):
            return
        ports = " or ".join(f"{side} = :{peer}" for _, peer in cluster.ports for side in ("sport", "dport"))
        listed = subprocess.run(["ss", "-tinpHO", "state", "established", f"( {ports} )"], capture_output=True, text=True)
        for line in listed.stdout.splitlines():
            if f"pid={cluster.procs[i].pid}," in line:
                for name, word in (("bytes to peers (TCP)", "bytes_sent"), ("segments with data to peers", "data_segs_out"),
                                   ("segments with data from peers", "data_segs_in")):
                    count = re.search(rf"\b{word}:(\d+)", line)
                    found[name] += int(count[1]) if count else 0

    METRICS = {
        "etcd_disk_wal_fsync_duration_seconds_count": "log syncs",
        "etcd_disk_wal_fsync_duration_seconds_sum": "log sync seconds",
        "etcd_disk_backend_commit_duration_seconds_count": "state commits",
        "etcd_server_proposals_applied_total": "entries applied",
        "etcd_network_client_grpc_sent_bytes_total": "bytes to clients (messages)",
        "etcd_network_client_grpc_received_bytes_total": "bytes from clients (messages)",
        "etcd_network_peer_sent_bytes_total": "bytes to peers (metrics)",
        "go_memstats_mallocs_total": "allocations",
    }

    @staticmethod
    def metrics(cluster, i, found):
        with urllib.request.urlopen(f"{cluster.url(i)}/metrics", timeout=10) as answer:
            for line in answer.read().decode().splitlines():
                name = Process.METRICS.get(re.split(r"[{ ]", line, maxsplit=1)[0])
                if name:
                    found[name] += float(line.rsplit(" ", 1)[1])


class Perf:
    """`perf stat` on processes, from the beginning of a `with` to its end. `counts[i]` is `{thread name: {event: number}}`."""

    def __init__(self, cluster, members, events, threads=True):
        self.cluster, self.members, self.events = cluster, members, events
        self.per_thread = ["--per-thread"] if threads else []
        self.counts = {}

    def __enter__(self):
        self.outs = {i: tempfile.NamedTemporaryFile("r") for i in self.members}
        self.running = {i: subprocess.Popen(
            ["perf", "stat", *self.per_thread, "-x", ",", "-o", self.outs[i].name, "-e", ",".join(self.events), "-p",
             str(self.cluster.procs[i].pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for i in self.members if self.events}
        time.sleep(0.7)  # until it counts
        return self

    def __exit__(self, *_):
        for i, process in self.running.items():
            process.send_signal(signal.SIGINT)
            process.wait()
            counts = self.counts[i] = collections.defaultdict(collections.Counter)
            for line in self.outs[i].read().splitlines():
                fields = line.split(",")
                head = 1 if self.per_thread else 0
                if len(fields) > head + 2 and fields[head].isdigit():
                    name = fields[0].rpartition("-")[0] if head else ""
                    counts[name][fields[head + 2]] += int(fields[head])


def syscall_events():
    """Events of `perf stat`, or none and what is missing."""
    if not shutil.which("perf"):
        return [], "system calls: left out, `perf` is not installed"
    if not os.path.exists(f"{EVENTS}/raw_syscalls"):
        return [], "system calls: left out, no tracepoints (a kernel with CONFIG_FTRACE_SYSCALLS, tracefs mounted, and root)"
    known = [name for name in SYSCALLS if os.path.exists(f"{EVENTS}/syscalls/sys_enter_{name}")]
    return ["raw_syscalls:sys_enter"] + [f"syscalls:sys_enter_{name}" for name in known], None


class Probes:
    """Probes at libc's allocation functions, from the beginning of a `with` to its end. `events` is empty where there can be none."""

    def __init__(self, pid):
        self.group, self.events, self.missing = f"cost{os.getpid()}", [], None
        libc = re.search(r"(/\S*/libc\.so\.6|/\S*/libc-[\d.]+\.so)$", text_of(f"/proc/{pid}/maps"), re.M)
        if not libc:
            self.missing = "allocations: left out, the server does not use libc"
        elif not shutil.which("perf"):
            self.missing = "allocations: left out, `perf` is not installed"
        else:
            for name in ALLOCATIONS:
                added = subprocess.run(["perf", "probe", "-q", "-x", libc[1], f"{self.group}:{name}={name}"], capture_output=True)
                if added.returncode == 0:
                    self.events.append(f"{self.group}:{name}")
            if not self.events:
                self.missing = "allocations: left out, `perf probe` does not work here (it needs uprobes, and root)"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.events:
            subprocess.run(["perf", "probe", "-q", "-d", f"{self.group}:*"], capture_output=True)
