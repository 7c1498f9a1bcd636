"""One sample: wrk against one front for a moment, and the CPU time that the processes used meanwhile."""

import os
import pathlib
import resource
import subprocess
import time
from dataclasses import dataclass

from servers import HERE, Failure


@dataclass
class Sample:
    cpu: float  # CPU time per request of the worker and its helpers, µs
    redis: float  # the same of Redis
    rate: float  # requests per second
    p50: float  # latency, µs
    p99: float
    foreign: float  # share of the machine's CPU time that others used


def sample(front, cookies, connections, seconds, redis, others):
    """Loads `front` and answers a Sample. `others` are processes of ours which are counted only as not foreign."""
    watched = [*front.pids, redis, *others]
    before, machine, start, wrk_cpu = cpu_times(watched), machine_busy(), time.monotonic(), children_cpu()
    words = run_wrk(front, cookies, connections, seconds)
    after, elapsed = cpu_times(watched), time.monotonic() - start

    requests, duration, refused, broken, p50, p99 = (float(word) for word in words)
    if requests == 0 or refused or broken:
        raise Failure(
            f"{front.name}: of {requests:.0f} requests {refused:.0f} were not answered 200 and {broken:.0f} not at all;"
            f" what it said:\n{front.said()}"
        )
    used = {pid: after[pid] - before[pid] for pid in watched}
    ours = sum(used.values()) / 1e6 + children_cpu() - wrk_cpu
    return Sample(
        cpu=sum(used[pid] for pid in front.pids) / requests,
        redis=used[redis] / requests,
        rate=requests / duration * 1e6,
        p50=p50,
        p99=p99,
        foreign=max(0.0, machine_busy() - machine - ours) / elapsed / os.cpu_count(),
    )


def run_wrk(front, cookies, connections, seconds):
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "-s", str(HERE / "wrk.lua")]
    command += [f"http://127.0.0.1:{front.port}/", "--", str(cookies)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    for line in done.stdout.splitlines():
        if line.startswith("measured "):
            return line.split()[1:]
    raise Failure(f"wrk failed on {front.name}: {done.stdout}{done.stderr}")


def cpu_times(pids):
    """CPU time of each process in µs, all its threads, as the scheduler counts it (ns, not ticks)."""
    times = {}
    for pid in pids:
        threads = pathlib.Path(f"/proc/{pid}/task")
        try:
            times[pid] = sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads.iterdir()) / 1000
        except FileNotFoundError as error:
            raise Failure(f"process {pid} ended during the run, or the kernel has no schedstat ({error.filename})") from None
    return times


def machine_busy():
    """CPU time that the whole machine used since it started, in seconds."""
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, pathlib.Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def children_cpu():
    """CPU time of the programs run and ended (wrk), in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime + own.ru_utime + own.ru_stime
