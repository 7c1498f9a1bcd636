"""Memory of a worker after it was asked for a million sessions once each: with a cache of 16 MB, and without one."""

import argparse
import datetime
import pathlib
import re
import sys

import bench
import client
import report
from servers import HERE, Failure, Servers

CONNECTIONS, PIPELINED = 8, 64
SIZES = ("", "16m", "64m")


def main():
    options = arguments()
    try:
        with Servers(options.nginx) as servers:
            servers.redis(), servers.backend()
            sessions = bench.Case(sessions=options.sessions, size=options.size)
            cookies = bench.fill(servers, options.framework, sessions, most=options.sessions)["all"].read_text().splitlines()
            found = [(size, resident(size, cookies, options, servers)) for size in SIZES]
    except Failure as failure:
        sys.exit(f"memory: {failure}")
    write(options, found)


def arguments():
    parser = argparse.ArgumentParser(description="Measures the memory of a worker with and without a cache.")
    parser.add_argument("--sessions", type=int, default=1000000, help="that are asked for, once each (%(default)s)")
    parser.add_argument("--size", type=int, default=300, help="of a session in bytes (%(default)s)")
    parser.add_argument("--framework", choices=("php", "express"), default="php", help="who writes them (%(default)s)")
    parser.add_argument("--output", type=pathlib.Path, default=HERE / "results", help="folder of memory.md (%(default)s)")
    return bench.with_binaries(parser.parse_args())


def resident(size, cookies, options, servers):
    """Kilobytes of a worker whose cache has this size, after all sessions were asked for."""
    variant = bench.module(size or "no cache", bench.REDIS + (f" cache {size};" if size else ""), options.framework)
    front = bench.start_front(f"cache-{size}", variant, options, servers)
    before = anonymous(front.pids[0])
    client.ask(front.port, cookies, CONNECTIONS, PIPELINED)
    after = anonymous(front.pids[0])
    print(f"cache {size or 'off'}: {before} kB at the start, {after} kB after {len(cookies)} sessions", flush=True)
    return after


def anonymous(pid):
    """Memory of its own that a process has in use, in kB: what it maps of files is not among it."""
    return int(re.search(r"^RssAnon:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1])


def write(options, found):
    (_, base), *cached = found
    lines = [f"| no cache | {base / 1024:.1f} | | |"]
    for size, kilobytes in cached:
        configured, more = int(size.removesuffix("m")), (kilobytes - base) / 1024
        lines.append(f"| `cache {size}` | {kilobytes / 1024:.1f} | {more:.1f} | {more / configured:.2f} |")
    text = f"""# Memory of a worker

{datetime.date.today().isoformat()}: {report.versions(options)}. After {report.grouped(options.sessions)} sessions of {options.size} bytes were asked for, once each.

| | MB | beyond no cache | of the configured size |
| --- | ---: | ---: | ---: |
"""
    options.output.mkdir(parents=True, exist_ok=True)
    file = options.output / "memory.md"
    file.write_text(text + "\n".join(lines) + "\n")
    print(file.read_text())


if __name__ == "__main__":
    main()
