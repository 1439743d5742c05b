"""A cluster of any server with etcd's flags and API, for the measuring scripts beside this file.

A server is named NAME=COMMAND. Members run on this machine: on loopback, or each in a network namespace of its own
(`Network`), where a member's machine can fall silent without closing a connection.

ETCDLOAD names the load generator; BENCH_DIR the place for data directories.
"""
import json, os, shlex, shutil, signal, subprocess, tempfile, time, urllib.request

LOAD = os.environ.get("ETCDLOAD", "etcdload")


class Cluster:
    def __init__(self, spec, port, value_size=256, members=3, network=None):
        self.value_size = value_size
        self.network = network
        self.name, command = spec.split("=", 1)
        self.command = shlex.split(command)
        self.dir = tempfile.mkdtemp(prefix=f"cluster-{self.name}-", dir=os.environ.get("BENCH_DIR"))
        self.hosts = network.hosts if network else ["127.0.0.1"] * members
        self.ports = [(port + 10 * i, port + 10 * i + 1) for i in range(members)]
        self.procs = [None] * members
        try:
            for i in range(members):
                self.start(i)
            for i in range(members):
                self.healthy(i)
        except BaseException:
            self.stop()
            raise

    def address(self, i):
        """Where clients reach a member."""
        return self.hosts[i], self.ports[i][0]

    def url(self, i, port=0):
        return f"http://{self.hosts[i]}:{self.ports[i][port]}"

    def start(self, i):
        client, peer = self.url(i), self.url(i, 1)
        everybody = ",".join(f"m{j}={self.url(j, 1)}" for j in range(len(self.ports)))
        log = open(f"{self.dir}/m{i}.log", "ab")
        self.procs[i] = subprocess.Popen((self.network.enter(i) if self.network else []) + self.command + [
            "--name", f"m{i}", "--data-dir", f"{self.dir}/m{i}", "--listen-client-urls", client,
            "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", everybody, "--initial-cluster-token", self.name,
            "--quota-backend-bytes", str(16 << 30)], stdout=log, stderr=log)

    def healthy(self, i, timeout=120):
        begin = time.time()
        while time.time() < begin + timeout:
            if self.procs[i].poll() is not None:
                raise SystemExit(f"{self.name}: member {i} ended, see {self.dir}/m{i}.log")
            try:
                with urllib.request.urlopen(f"{self.url(i)}/health", timeout=1) as answer:
                    if b"true" in answer.read():
                        return time.time() - begin
            except OSError:
                pass
            time.sleep(0.01)
        raise SystemExit(f"{self.name}: member {i} is not healthy after {timeout} s, see {self.dir}/m{i}.log")

    def kill(self, i):
        self.procs[i].send_signal(signal.SIGKILL)
        self.procs[i].wait()

    def status(self, i, timeout=2):
        request = urllib.request.Request(f"{self.url(i)}/v3/maintenance/status", data=b"{}", method="POST")
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.loads(answer.read())

    def leader(self, among=None):
        for _ in range(600):
            for i in among or range(len(self.procs)):
                try:
                    status = self.status(i)
                    if status.get("leader") == status["header"]["member_id"]:
                        return i
                except OSError:
                    pass
            time.sleep(0.05)
        raise SystemExit(f"{self.name}: no leader")

    def others(self, i):
        return [j for j in range(len(self.procs)) if j != i]

    def metric(self, i, name):
        with urllib.request.urlopen(f"{self.url(i)}/metrics", timeout=2) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(name + " "):
                    return float(line.split()[1])
        return float("nan")

    def load(self, arguments, members=None, wait=True):
        endpoints = ",".join(self.url(i) for i in members or range(len(self.procs)))
        process = subprocess.Popen([LOAD, "--json", "--endpoints", endpoints, "--value-size",
                                    str(self.value_size)]
                                   + shlex.split(arguments), stdout=subprocess.PIPE, text=True)
        return json.loads(process.communicate()[0].splitlines()[-1]) if wait else process

    def fill(self, keys, members=None):
        self.load(f"--op fill --ops {keys} --clients 256 --conns 16", members)

    def disk_mib(self, i):
        files = (os.path.join(d, f) for d, _, names in os.walk(f"{self.dir}/m{i}") for f in names)
        return round(sum(os.stat(f).st_blocks * 512 for f in files) / 2**20)

    def resident_mib(self, i):
        with open(f"/proc/{self.procs[i].pid}/status") as status:
            return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmRSS"))

    def written(self, i):
        with open(f"/proc/{self.procs[i].pid}/io") as io:
            return next(int(line.split()[1]) for line in io if line.startswith("write_bytes"))

    def stop(self):
        """Ends the members and leaves their logs and data."""
        for process in self.procs:
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()

    def down(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


class Network:
    """A bridge and, for each member, a namespace with one cable to it. This process is on the bridge too. Needs root."""

    def __init__(self, members=3):
        self.bridge = f"kf{os.getpid()}"
        self.names = [f"{self.bridge}m{i}" for i in range(members)]
        subnet = f"10.213.{os.getpid() % 256}"
        self.hosts = [f"{subnet}.{i + 1}" for i in range(members)]
        try:
            ip("link", "add", self.bridge, "type", "bridge")
            ip("addr", "add", f"{subnet}.254/24", "dev", self.bridge)
            ip("link", "set", self.bridge, "up")
            for name, host in zip(self.names, self.hosts):
                ip("netns", "add", name)
                ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
                ip("link", "set", name, "master", self.bridge, "up")
                ip("-n", name, "link", "set", "lo", "up")
                ip("-n", name, "addr", "add", f"{host}/24", "dev", "eth0")
                ip("-n", name, "link", "set", "eth0", "up")
        except BaseException:
            self.down()
            raise

    def enter(self, i):
        return ["ip", "netns", "exec", self.names[i]]

    def silence(self, i):
        """Pulls a member's cable out of the bridge: nothing comes through any more, and nobody is told."""
        ip("link", "set", self.names[i], "nomaster")

    def restore(self, i):
        ip("link", "set", self.names[i], "master", self.bridge)

    def down(self):
        for name in self.names:
            ip("link", "del", name, fails=True)
            ip("netns", "del", name, fails=True)
        ip("link", "del", self.bridge, fails=True)


def ip(*arguments, fails=False):
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode and not fails:
        raise SystemExit(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
