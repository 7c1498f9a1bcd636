"""What a session from Redis costs an nginx worker: the module, its peers, and the floor, which is bare proxy_pass.

Every variant is an nginx in front of the same backend, which answers 400 to a request without X-User-Id. wrk sends the cookies of the
sessions in turn. Figures of a shared machine drift by a factor of two within minutes, so a variant is never compared with a floor of
another time: each of its samples has one of the floor right beside it, the order changes from round to round, and what is reported is
the median of the ratios of these pairs. Pairs during which others used the machine are measured again, up to as many as there are
rounds. A single worker has a processor of its own, since it would pay for what others do to its caches. Where its memory happens to lie
can cost some percent for as long as it runs, so all servers are started anew every few rounds.
"""

import argparse
import itertools
import os
import pathlib
import random
import signal
import subprocess
import sys
from dataclasses import dataclass, field, replace

import measure
import report
import sessions
from servers import HERE, Failure, Servers

ROOT = HERE.parent
FLOOR = "floor"
FOREIGN_LIMIT = 0.10  # a sample during which others used more of the machine's CPU than this is disturbed
ROUNDS_OF_A_START = 2
MOST_COOKIES = 50000  # so many sessions wrk asks for, by chance where there are more


@dataclass
class Variant:
    title: str
    conf: str  # in variants/
    framework: str = "express"  # whose cookies it gets
    words: dict = field(default_factory=dict)  # of the configuration
    needs: str = ""  # "module", "cluster", "lua" or "auth"
    cookies: str = "all"  # or "one": everybody asks for the same session

    def uses_module(self):
        return self.conf == "module"


REDIS = "server redis://127.0.0.1:@REDIS@;"
CACHE = " cache 128m;"  # enough for all sessions that are asked for
TLS = "server rediss://127.0.0.1:@REDIS_TLS@; ssl_trusted_certificate @DIR@/redis.crt;"
NAMES = ("/user/id", "/user/name", "/user/email", "/user/csrf", "/user/locale", "/user/roles/0", "/user/roles/1", "/views")
MORE_HEADERS = "".join(f"session_redis_set_header X-Session-{n} {NAMES[n % len(NAMES)]};\n" for n in range(1, 20))


def module(title, store=REDIS, framework="php", more="", **others):
    if framework == "express":
        more += f'session_redis_secret "{sessions.SECRET}";'
    words = {"STORE": store, "FRAMEWORK": framework, "MORE": more}
    return Variant(f"this module, {title}", "module", framework, words, **{"needs": "module", **others})


# In the order of the report. "control" is a second floor: how far its ratio is from 1 is what the method cannot tell apart.
VARIANTS = {
    "module-express": module("Express (signed cookie, JSON)", framework="express"),
    "module-php": module("PHP"),
    "module-learn": module("PHP, session_redis_route learn", more="session_redis_route learn;"),
    "module-cached": module("PHP, cache", REDIS + CACHE),
    "module-cached-express": module("Express, cache", REDIS + CACHE, "express"),
    "module-cached-headers": module("PHP, cache, 20 headers", REDIS + CACHE, more=MORE_HEADERS),
    "module-shared": module("PHP, all ask for one session", cookies="one"),
    "module-unix": module("PHP, Redis on a Unix socket", "server redis+unix://@DIR@/redis.sock;"),
    "module-tls": module("PHP, Redis over TLS", TLS),
    "module-cluster": module("PHP, Redis Cluster", "cluster 127.0.0.1:@CLUSTER@;", needs="cluster"),
    "lua": Variant("OpenResty Lua, keepalive, cjson", "lua", words={"READ": "uncached"}, needs="lua"),
    "lua-lrucache": Variant("OpenResty Lua, lrucache of 1 s", "lua", words={"READ": "cached"}, needs="lua"),
    "auth_request": Variant("auth_request and a Node service", "auth_request", words={"ZONE": "off"}, needs="auth"),
    "auth_request-cache": Variant("auth_request, proxy_cache of 1 s", "auth_request", words={"ZONE": "auth"}, needs="auth"),
    "control": Variant("the floor again (control)", "floor"),
}


@dataclass(frozen=True)
class Case:
    """What a table is measured with."""

    connections: int = 64
    sessions: int = 1000
    size: int = 300  # of a session, in bytes
    workers: int = 1

    def start(self):
        """What servers must be started anew for."""
        return replace(self, connections=0)


@dataclass
class Scenario:
    title: str
    variants: tuple
    connections: tuple = (64,)
    sessions: tuple = (1000,)
    size: tuple = (300,)
    workers: tuple = (1,)

    def cases(self):
        products = itertools.product(self.sessions, self.size, self.workers, self.connections)
        return [Case(connections, count, size, workers) for count, size, workers, connections in products]


READ_AND_CACHED = ("module-php", "module-cached", "control")
SCENARIOS = {
    "main": Scenario("What a session costs", tuple(VARIANTS), connections=(64, 1)),
    "connections": Scenario("By connections", READ_AND_CACHED, connections=(1, 8, 64, 256, 1024)),
    "size": Scenario("By the size of a session", READ_AND_CACHED, size=(300, 4096, 65536)),
    "sessions": Scenario("By the number of sessions", READ_AND_CACHED, sessions=(1000, 10000, 100000, 1000000)),
    "workers": Scenario("By workers", READ_AND_CACHED, workers=(1, 2)),
}


@dataclass
class Front:
    """A running nginx of a variant, and whose CPU time counts as its own."""

    name: str
    port: int
    pids: list
    servers: Servers

    def said(self):
        return self.servers.said(self.name)


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    try:
        for name in options.scenario:
            run(options, name, SCENARIOS[name])
    except Failure as failure:
        sys.exit(f"bench: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)


def arguments():
    parser = argparse.ArgumentParser(prog="bench/run.sh", description="Measures what a session costs, as a ratio to bare proxy_pass.")
    names = f"of {', '.join(VARIANTS)}"
    parser.add_argument("--scenario", type=known(SCENARIOS), default="main", help=f"which, of {', '.join(SCENARIOS)} (%(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="samples of each variant (%(default)s)")
    parser.add_argument("--seconds", type=int, default=1, help="length of a sample (%(default)s)")
    parser.add_argument("--connections", type=lambda text: [int(number) for number in text.split(",")], help="instead of the scenario's")
    parser.add_argument("--variants", type=known(VARIANTS), help=f"instead of the scenario's: {names}")
    parser.add_argument("--output", type=pathlib.Path, default=HERE / "results", help="folder of tables and charts (%(default)s)")
    return with_binaries(parser.parse_args())


def with_binaries(options):
    options.nginx = os.environ.get("NGINX_BINARY", "/usr/sbin/nginx")
    options.module = pathlib.Path(os.environ.get("MODULE", ROOT / "objs/system/ngx_http_session_redis_module.so")).resolve()
    return options


def known(table):
    def names(text):
        for name in text.split(","):
            if name not in table:
                raise argparse.ArgumentTypeError(f'no "{name}"; there are {", ".join(table)}')
        return text.split(",")

    return names


def run(options, name, scenario):
    scenario = replace(scenario, variants=options.variants or scenario.variants, connections=options.connections or scenario.connections)
    tables, left_out = [], []
    for start, cases in itertools.groupby(scenario.cases(), Case.start):
        tables += measure_cases(options, scenario, start, list(cases), left_out)
    report.write(options, name, scenario, tables, list(dict.fromkeys(left_out)))


def measure_cases(options, scenario, start, cases, left_out):
    """Answers a table for each of the cases, which differ only in connections."""
    pairs = {case: {} for case in cases}
    for done in range(0, options.rounds, ROUNDS_OF_A_START):
        with Servers(options.nginx, apart=start.workers == 1) as servers:
            rounds = min(ROUNDS_OF_A_START, options.rounds - done)
            for case, taken in start_and_measure(options, scenario, start, cases, rounds, servers, left_out):
                for name, some in taken.items():
                    pairs[case].setdefault(name, []).extend(some)
    tables = []
    for case in cases:
        noisy = sum(disturbed(pair) for some in pairs[case].values() for pair in some)
        tables.append(report.Table(report.label(case, scenario), report.rows(VARIANTS, pairs[case]), noisy))
        report.print_table(tables[-1])
    return tables


def start_and_measure(options, scenario, start, cases, rounds, servers, left_out):
    """Starts all servers and answers each case with its pairs, by variant."""
    variants = [VARIANTS[name] for name in scenario.variants]
    others, redis = [servers.backend()], servers.redis()
    if any(variant.needs == "cluster" for variant in variants):
        others += servers.cluster()
    routes = "module-learn" in scenario.variants
    cookies = {framework: fill(servers, framework, start, routes=routes) for framework in sorted({variant.framework for variant in variants})}

    floor = start_front(FLOOR, VARIANTS["control"], options, servers, start.workers)
    fronts = []
    for name, variant in zip(scenario.variants, variants):
        try:
            fronts.append(start_front(name, variant, options, servers, start.workers))
        except Unavailable as reason:
            left_out.append(f"{variant.title}: {reason}")
            print(f"left out: {left_out[-1]}", flush=True)

    for case in cases:
        print(f"{report.label(case, scenario)}: {rounds} rounds of {len(fronts)} pairs, {options.seconds} s a sample", flush=True)
        yield case, run_rounds(options, rounds, floor, fronts, case.connections, cookies, redis, others)


def fill(servers, framework, case, most=MOST_COOKIES, routes=False):
    """Writes the sessions to Redis, with their routes if any learns, and to the cluster where there is one; answers files of their cookies, by Variant.cookies."""
    def build():
        return sessions.build(framework, case.sessions, case.size)

    for ports in ([servers.ports["REDIS"]], servers.nodes):
        if ports:
            sessions.load(ports, build())
    if routes:
        sessions.load([servers.ports["REDIS"]], sessions.routes(framework, build(), f"127.0.0.1:{servers.ports['BACKEND']}"))
    chosen = set(random.Random(1).sample(range(case.sessions), min(case.sessions, most)))
    lines = [cookie + "\n" for place, (cookie, *_) in enumerate(build()) if place in chosen]
    files = {"all": lines, "one": lines[:1]}
    for name, some in files.items():
        files[name] = servers.dir / f"{framework}.{name}.cookies"
        files[name].write_text("".join(some))
    return files


class Unavailable(Exception):
    """Why a peer cannot be measured here; the others can."""


def start_front(name, variant, options, servers, workers=1, **how):
    load, environment, helpers, words = [], None, [], dict(variant.words)
    if variant.uses_module():
        if not options.module.exists():
            raise Failure(f"no module at {options.module}; \"make\" builds it")
        load = [options.module]
    elif variant.needs == "lua":
        words["PEERS"] = peers = unpack_lua()
        modules = f"{peers}/usr/lib/nginx/modules"
        load = [f"{modules}/ndk_http_module.so", f"{modules}/ngx_http_lua_module.so"]
        libraries = [str(folder) for folder in (*peers.glob("usr/lib/*-linux-gnu"), *peers.glob("lib/*-linux-gnu"))]
        environment = {"LD_LIBRARY_PATH": ":".join(libraries)}
    elif variant.needs == "auth":
        helpers = [servers.auth_service()]
    try:
        port, pids = servers.front(name, variant.conf, words, load, environment, workers, **how)
    except Failure as failure:
        if not variant.needs or variant.uses_module():
            raise
        raise Unavailable(str(failure)) from None
    return Front(name, port, [*pids, *helpers], servers)


def unpack_lua():
    folder = ROOT / "build" / "bench-peers"
    done = subprocess.run([HERE / "peers.sh", folder], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise Unavailable(f"Debian's packages could not be fetched ({done.stderr.strip().splitlines()[-1:]}); is \"apt-get update\" due?")
    return folder


def run_rounds(options, rounds, floor, fronts, connections, cookies, redis, servers):
    """Pairs for each front, each sample beside one of the floor; disturbed ones are among them where too few were not."""

    def sample(front, variant, seconds):
        others = [*servers, *(pid for other in (floor, *fronts) if other is not front for pid in other.pids)]
        return measure.sample(front, cookies[variant.framework][variant.cookies], connections, seconds, redis, others)

    for front in fronts:  # not measured: connections are opened, a wrong answer ends the run before it costs minutes
        sample(front, VARIANTS[front.name], 1)

    taken = {front.name: [] for front in fronts}
    for turn in range(2 * rounds):
        order = fronts[turn % len(fronts):] + fronts[: turn % len(fronts)]
        for front in order:
            if sum(not disturbed(pair) for pair in taken[front.name]) == rounds:
                continue
            variant = VARIANTS[front.name]
            if turn % 2:
                mine = sample(front, variant, options.seconds)
                beside = sample(floor, variant, options.seconds)
            else:
                beside = sample(floor, variant, options.seconds)
                mine = sample(front, variant, options.seconds)
            taken[front.name].append((mine, beside))

    return {name: sorted(pairs, key=foreign)[:rounds] for name, pairs in taken.items()}


def disturbed(pair):
    return foreign(pair) > FOREIGN_LIMIT


def foreign(pair):
    return max(sample.foreign for sample in pair)


if __name__ == "__main__":
    main()
