"""Instructions that a worker spends on a request, counted by valgrind: unlike CPU time they are the same on a busy machine. The kernel's
are not among them. A worker without a master answers N requests, and one started anew 2 N; what the second counted beyond the first,
divided by N, is a request. N is more than there are sessions, so that what is counted of a cache are hits.
"""

import argparse
import datetime
import itertools
import pathlib
import sys

import bench
import client
import report
from servers import HERE, Failure, Servers

NAMES = ("module-php", "module-learn", "module-cached", "module-express", "module-cached-express", "module-cached-headers")
CASE = bench.Case(sessions=500)


def main():
    options = arguments()
    try:
        with Servers(options.nginx) as servers:
            servers.redis(), servers.backend()
            cookies = {framework: bench.fill(servers, framework, CASE, routes=True)["all"].read_text().splitlines() for framework in ("express", "php")}
            rows = []
            for name in (bench.FLOOR, *options.variants):
                rows.append((name, *(count(name, cookies, connections, options, servers) for connections in (64, 1))))
                print(line(rows, -1), flush=True)
    except Failure as failure:
        sys.exit(f"instructions: {failure}")
    write(options, rows)


def arguments():
    parser = argparse.ArgumentParser(description="Counts instructions of a request, the module's beside bare proxy_pass.")
    parser.add_argument("--requests", type=int, default=1920, help="N (%(default)s)")
    parser.add_argument("--variants", type=bench.known(bench.VARIANTS), default=",".join(NAMES), help="which (%(default)s)")
    parser.add_argument("--keep", type=pathlib.Path, help="folder for callgrind's files, for callgrind_annotate")
    parser.add_argument("--output", type=pathlib.Path, default=HERE / "results", help="folder of instructions.md (%(default)s)")
    return bench.with_binaries(parser.parse_args())


def count(name, cookies, connections, options, servers):
    once, twice = (run(name, cookies, connections, requests, options, servers) for requests in (options.requests, 2 * options.requests))
    return (twice - once) / options.requests


def run(name, cookies, connections, requests, options, servers):
    """Instructions of a whole life of a worker, these requests in it."""
    variant = bench.VARIANTS.get(name, bench.VARIANTS["control"])
    out = (options.keep or servers.dir) / f"{name}.{connections}.{requests}.callgrind"
    under = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    front = bench.start_front(name, variant, options, servers, under=under, single=True)
    asked = itertools.islice(itertools.cycle(cookies[variant.framework]), requests)
    client.ask(front.port, list(asked), connections)
    servers.stop(front.pids[0])
    totals = [text.split()[1] for text in out.read_text().splitlines() if text.startswith("totals:")]
    return int(totals[0])


def line(rows, at):
    name, *counts = rows[at]
    title = bench.VARIANTS[name].title if name in bench.VARIANTS else "bare proxy_pass (the floor)"
    own = (f"{here:.0f} | {here / floor:.2f} | {here - floor:.0f}" for here, floor in zip(counts, rows[0][1:]))
    return f"| {title} | {' | '.join(own)} |"


def write(options, rows):
    text = f"""# Instructions of a request

{datetime.date.today().isoformat()}: {report.versions(options)}. Counted in the worker by valgrind, without the kernel's; the
module as `make` builds it.

| variant | 64 connections | × floor | beyond it | 1 connection | × floor | beyond it |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
"""
    options.output.mkdir(parents=True, exist_ok=True)
    file = options.output / "instructions.md"
    file.write_text(text + "".join(line(rows, at) + "\n" for at in range(len(rows))))
    print(f"written: {file}")


if __name__ == "__main__":
    main()
