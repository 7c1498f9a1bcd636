"""The servers of a run: Redis, the backend, a front for each variant and the service of auth_request. All end with the run."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent


class Failure(Exception):
    """What the user is told, without a traceback."""


class Servers:
    """A context: what was started in it is gone when it is left, however it is left."""

    def __init__(self, nginx, apart=False):
        """`apart`: the workers of the fronts share a processor that nothing else uses, where there are several."""
        self.nginx = nginx
        self.processors = sorted(os.sched_getaffinity(0))
        self.apart = apart and len(self.processors) > 1
        self.children = []
        self.ports = {name: free_port() for name in ("REDIS", "REDIS_TLS", "BACKEND", "AUTH", "CLUSTER")}
        self.service = None
        self.nodes = []  # ports of a Redis Cluster, in the order of their slots

    def __enter__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="session-redis-bench.", dir="/dev/shm"))  # proxy_cache's files: in memory
        (self.dir / "tmp").mkdir()
        if self.apart:
            os.sched_setaffinity(0, self.processors[1:])  # what is started from now on inherits it, wrk as well
        return self

    def __exit__(self, *_):
        for child in self.children:
            signal_group(child, signal.SIGTERM)
        for child in self.children:
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                signal_group(child, signal.SIGKILL)
                child.wait()
        shutil.rmtree(self.dir, ignore_errors=True)
        os.sched_setaffinity(0, self.processors)

    def redis(self):
        """Starts Redis without persistence, with a port for TLS and a socket besides. Answers its process id."""
        key, certificate = self.dir / "redis.key", self.dir / "redis.crt"
        make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        make += ["-subj", "/CN=redis", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
        subprocess.run(make, check=True, stdin=subprocess.DEVNULL, capture_output=True)
        command = ["redis-server", "--port", str(self.ports["REDIS"]), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.dir)]
        command += ["--unixsocket", str(self.dir / "redis.sock")]
        command += ["--tls-port", str(self.ports["REDIS_TLS"]), "--tls-auth-clients", "no"]
        command += ["--tls-key-file", str(key), "--tls-cert-file", str(certificate), "--tls-ca-cert-file", str(certificate)]
        return self.start("redis", command, self.ports["REDIS"])

    def cluster(self):
        """Starts a Redis Cluster of three masters. Answers their process ids."""
        self.nodes = [self.ports["CLUSTER"], free_port(), free_port()]
        pids = []
        for port in self.nodes:
            (self.dir / str(port)).mkdir()
            command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.dir / str(port))]
            command += ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
            pids.append(self.start(f"node-{port}", command, port))
        nodes = [f"127.0.0.1:{port}" for port in self.nodes]
        done = subprocess.run(["redis-cli", "--cluster", "create", *nodes, "--cluster-yes"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failure(f"no cluster: {done.stdout}{done.stderr}")
        deadline = time.monotonic() + 10
        while not all("cluster_state:ok" in cluster_info(port) for port in self.nodes):
            if time.monotonic() > deadline:
                raise Failure("no cluster: its nodes do not agree")
            time.sleep(0.1)
        return pids

    def backend(self):
        """Starts the backend. Answers the process id of its worker."""
        return self.start_nginx("backend", self.fill(HERE / "backend.conf"), self.ports["BACKEND"])[0]

    def auth_service(self):
        """Starts the service of auth_request, once. Answers its process id."""
        if self.service is None:
            command = ["node", str(HERE / "auth-service.js"), str(self.ports["AUTH"]), str(self.ports["REDIS"])]
            self.service = self.start("auth-service", command, self.ports["AUTH"])
        return self.service

    def front(self, name, conf, words=None, load=(), environment=None, workers=1, **how):
        """Starts the nginx of a variant. Answers its port and the process ids of its workers."""
        port = free_port()
        text = {"NAME": name, "PORT": port, "WORKERS": workers, "LOAD": "\n".join(f"load_module {module};" for module in load), **(words or {})}
        for part in ("", ".locations"):
            file = HERE / "variants" / f"{conf}{part}.conf"
            if file.exists():
                (self.dir / f"{name}{part or '.variant'}.conf").write_text(self.fill(file, text))
        pids = self.start_nginx(name, self.fill(HERE / "front.conf", text), port, environment, workers, **how)
        for pid in pids if self.apart else ():
            os.sched_setaffinity(pid, self.processors[:1])
        return port, pids

    def fill(self, path, words=None):
        # as root the workers stay root: what they read (Lua's files) may be in a folder that is closed to others
        user = "user root;" if os.geteuid() == 0 else ""
        text = path.read_text()
        for word, value in {**(words or {}), "DIR": self.dir, "HERE": HERE, "USER": user, **self.ports}.items():
            text = text.replace(f"@{word}@", str(value))
        return text

    def start_nginx(self, name, text, port, environment=None, workers=1, under=(), single=False):
        """Starts an nginx; `single`: without a master, so `under` another program. Answers the process ids of its workers."""
        conf = self.dir / f"{name}.conf"
        conf.write_text(text)
        log = str(self.dir / f"{name}.log")
        directives = "daemon off;" + (" master_process off;" if single else "")
        command = [*under, self.nginx, "-e", log, "-p", str(self.dir), "-c", str(conf), "-g", directives]
        pid = self.start(name, command, port, environment)
        if single:
            return [pid]
        deadline = time.monotonic() + 10
        while len(found := workers_of(pid)) != workers:
            if time.monotonic() > deadline:
                raise Failure(f"nginx of {name} has {len(found)} workers instead of {workers}")
            time.sleep(0.02)
        return found

    def start(self, name, command, port, environment=None):
        """Starts a server in a process group of its own and waits until it listens. It ends too if this program is killed."""
        out = open(self.dir / f"{name}.out", "wb")
        child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", *command],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, env={**os.environ, **(environment or {})},
        )
        self.children.append(child)
        deadline = time.monotonic() + 30
        while not listens(port):
            if child.poll() is not None or time.monotonic() > deadline:
                raise Failure(f"{name} did not start:\n{self.said(name)}")
            time.sleep(0.02)
        return child.pid

    def stop(self, pid):
        """Ends one of the servers, before the others."""
        child = next(child for child in self.children if child.pid == pid)
        for _ in range(15):
            # One that comes just before nginx waits for events is not seen until there is one.
            signal_group(child, signal.SIGTERM)
            try:
                child.wait(2)
                break
            except subprocess.TimeoutExpired:
                pass
        else:
            raise Failure(f"process {pid} does not end")
        self.children.remove(child)

    def said(self, name):
        """The last lines that a server wrote."""
        files = [self.dir / f"{name}.out", self.dir / f"{name}.log"]
        return "\n".join(line for file in files if file.exists() for line in file.read_text(errors="replace").splitlines()[-10:])


given_ports = set()


def free_port():
    """A port that nobody listens on, each time another."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in given_ports:
            given_ports.add(port)
            return port


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def cluster_info(port):
    return subprocess.run(["redis-cli", "-p", str(port), "CLUSTER", "INFO"], stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout


def workers_of(master):
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(") ")[2].split()
                title = (entry / "cmdline").read_text()
            except OSError:  # gone meanwhile
                continue
            if int(fields[1]) == master and title.startswith("nginx: worker"):
                found.append(int(entry.name))
    return found


def signal_group(child, number):
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        pass
