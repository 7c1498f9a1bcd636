"""What a session from Redis costs an nginx worker: the module, its peers, and the floor, which is bare proxy_pass.

Every variant is an nginx with one worker in front of the same backend, which answers 400 to a request without X-User-Id. wrk sends the
cookies of 1000 sessions in turn. Figures of a shared machine drift by a factor of two within minutes, so a variant is never compared
with a floor of another time: each of its samples has one of the floor right beside it, the order changes from round to round, and what
is reported is the median of the ratios of these pairs. Pairs during which others used the machine are measured again, up to as many as
there are rounds.
"""

import argparse
import os
import pathlib
import signal
import subprocess
import sys
from dataclasses import dataclass, field

import measure
import report
import sessions
from servers import HERE, Failure, Servers

ROOT = HERE.parent
FLOOR = "floor"
FOREIGN_LIMIT = 0.10  # a sample during which others used more of the machine's CPU than this is disturbed


@dataclass
class Variant:
    title: str
    conf: str  # in variants/
    framework: str = "express"  # whose cookies it gets
    needs: str = ""  # "module", "cluster", "lua" or "auth"


# In the order of the report. "control" is a second floor: how far its ratio is from 1 is what the method cannot tell apart.
VARIANTS = {
    "module-express": Variant("this module, Express (signed cookie, JSON)", "module-express", needs="module"),
    "module-php": Variant("this module, PHP", "module-php", framework="php", needs="module"),
    "module-cluster": Variant("this module, PHP, Redis Cluster", "module-cluster", framework="php", needs="cluster"),
    "module-tls": Variant("this module, PHP, Redis over TLS", "module-tls", framework="php", needs="module"),
    "lua": Variant("OpenResty Lua, keepalive, cjson", "lua", needs="lua"),
    "auth_request": Variant("auth_request and a Node service", "auth_request", needs="auth"),
    "control": Variant("the floor again (control)", "floor"),
}


@dataclass
class Front:
    """A running nginx of a variant, and whose CPU time counts as its own."""

    name: str
    port: int
    pids: list
    servers: Servers
    pairs: dict = field(default_factory=dict)  # connections -> [(Sample, Sample of the floor)]

    def said(self):
        return self.servers.said(self.name)


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    try:
        with Servers(options.nginx) as servers:
            run(options, servers)
    except Failure as failure:
        sys.exit(f"bench: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)


def arguments():
    parser = argparse.ArgumentParser(prog="bench/run.sh", description="Measures what a session costs, as a ratio to bare proxy_pass.")
    parser.add_argument("--rounds", type=int, default=20, help="samples of each variant (%(default)s)")
    parser.add_argument("--seconds", type=int, default=1, help="length of a sample (%(default)s)")
    parser.add_argument("--connections", default="64,1", help="a run for each (%(default)s)")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="which, of %(default)s")
    parser.add_argument("--output", type=pathlib.Path, default=HERE / "results", help="folder of the table and the chart (%(default)s)")
    options = parser.parse_args()

    options.connections = [int(number) for number in options.connections.split(",")]
    options.variants = options.variants.split(",")
    for name in options.variants:
        if name not in VARIANTS:
            parser.error(f'no variant "{name}"; there are {", ".join(VARIANTS)}')
    options.nginx = os.environ.get("NGINX_BINARY", "/usr/sbin/nginx")
    options.module = pathlib.Path(os.environ.get("MODULE", ROOT / "objs/ngx_http_session_redis_module.so")).resolve()
    return options


def run(options, servers):
    cookies = {}
    redis, backend = servers.redis(), servers.backend()
    for framework, built in zip(("express", "php"), sessions.build()):
        sessions.load(servers.ports["REDIS"], built)
        cookies[framework] = servers.dir / f"{framework}.cookies"
        cookies[framework].write_text("".join(cookie + "\n" for cookie, *_ in built))

    nodes = []
    if any(VARIANTS[name].needs == "cluster" for name in options.variants):
        nodes = servers.cluster()
        for built in sessions.build():
            sessions.load_cluster(servers.nodes, built)

    floor = Front(FLOOR, *listening(servers.front(FLOOR, "floor")), servers)
    fronts, left_out = [], []
    for name in options.variants:
        try:
            fronts.append(start_front(name, options, servers))
        except Unavailable as reason:
            left_out.append(f"{VARIANTS[name].title}: {reason}")
            print(f"left out: {left_out[-1]}", flush=True)

    noisy = {}
    for connections in options.connections:
        print(f"{report.plural(connections)}: {options.rounds} rounds of {len(fronts)} pairs, {options.seconds} s a sample", flush=True)
        noisy[connections] = run_rounds(options, floor, fronts, connections, cookies, redis, [backend, *nodes])
        report.print_table(report.rows(VARIANTS, fronts, connections), connections, noisy[connections])

    report.write(options, VARIANTS, fronts, left_out, noisy, servers)


class Unavailable(Exception):
    """Why a peer cannot be measured here; the others can."""


def start_front(name, options, servers):
    variant = VARIANTS[name]
    load, peers, environment, helpers = [], "", None, []
    if variant.needs in ("module", "cluster"):
        if not options.module.exists():
            raise Failure(f"no module at {options.module}; \"make\" builds it")
        load = [options.module]
    elif variant.needs == "lua":
        peers = unpack_lua()
        modules = f"{peers}/usr/lib/nginx/modules"
        load = [f"{modules}/ndk_http_module.so", f"{modules}/ngx_http_lua_module.so"]
        libraries = [str(folder) for folder in (*peers.glob("usr/lib/*-linux-gnu"), *peers.glob("lib/*-linux-gnu"))]
        environment = {"LD_LIBRARY_PATH": ":".join(libraries)}
    elif variant.needs == "auth":
        helpers = [servers.auth_service()]
    try:
        port, worker = servers.front(name, variant.conf, load, peers, environment)
    except Failure as failure:
        if variant.needs in ("module", "cluster"):
            raise
        raise Unavailable(str(failure)) from None
    return Front(name, port, [worker, *helpers], servers)


def unpack_lua():
    folder = ROOT / "build" / "bench-peers"
    done = subprocess.run([HERE / "peers.sh", folder], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise Unavailable(f"Debian's packages could not be fetched ({done.stderr.strip().splitlines()[-1:]}); is \"apt-get update\" due?")
    return folder


def listening(started):
    port, worker = started
    return port, [worker]


def run_rounds(options, floor, fronts, connections, cookies, redis, servers):
    """Fills the pairs of the fronts, each sample beside one of the floor. Answers how many disturbed pairs had to stay among them."""

    def sample(front, variant, seconds):
        others = [*servers, *(pid for other in (floor, *fronts) if other is not front for pid in other.pids)]
        return measure.sample(front, cookies[variant.framework], connections, seconds, redis, others)

    for front in fronts:  # not measured: connections are opened, a wrong answer ends the run before it costs minutes
        sample(front, VARIANTS[front.name], 1)

    taken = {front.name: [] for front in fronts}
    for turn in range(2 * options.rounds):
        order = fronts[turn % len(fronts):] + fronts[: turn % len(fronts)]
        for front in order:
            if sum(not disturbed(pair) for pair in taken[front.name]) == options.rounds:
                continue
            variant = VARIANTS[front.name]
            if turn % 2:
                mine = sample(front, variant, options.seconds)
                beside = sample(floor, variant, options.seconds)
            else:
                beside = sample(floor, variant, options.seconds)
                mine = sample(front, variant, options.seconds)
            taken[front.name].append((mine, beside))

    for front in fronts:
        front.pairs[connections] = sorted(taken[front.name], key=foreign)[: options.rounds]
    return sum(disturbed(pair) for front in fronts for pair in front.pairs[connections])


def disturbed(pair):
    return foreign(pair) > FOREIGN_LIMIT


def foreign(pair):
    return max(sample.foreign for sample in pair)


if __name__ == "__main__":
    main()
