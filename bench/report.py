"""The figures of a run: a table on the terminal, the same in Markdown, and a chart in SVG."""

import datetime
import html
import os
import pathlib
import platform
import statistics
import subprocess
from dataclasses import dataclass


@dataclass
class Figure:
    """Medians over the pairs of a run: of the variant, and of its ratio to the floor beside it with the quartiles of that."""

    value: float
    ratio: float
    low: float
    high: float


@dataclass
class Row:
    title: str
    cpu: Figure
    rate: Figure
    p50: Figure
    p99: Figure
    redis: float  # CPU time of Redis per request, µs
    pairs: int


@dataclass
class Table:
    label: str  # what was measured with
    rows: list
    noisy: int  # pairs during which others used the machine


def rows(variants, pairs):
    """A row for the floor, then one for each variant, of its pairs."""
    floors = [floor for some in pairs.values() for _, floor in some]
    result = [row("bare proxy_pass (the floor)", [(floor, floor) for floor in floors])]
    return result + [row(variants[name].title, some) for name, some in pairs.items()]


def row(title, pairs):
    def figure(name):
        ratios = [getattr(mine, name) / getattr(floor, name) for mine, floor in pairs]
        low, _, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
        return Figure(statistics.median(getattr(mine, name) for mine, _ in pairs), statistics.median(ratios), low, high)

    redis = statistics.median(mine.redis for mine, _ in pairs)
    return Row(title, figure("cpu"), figure("rate"), figure("p50"), figure("p99"), redis, len(pairs))


HEADS = ("variant", "CPU µs", "× floor", "(quartiles)", "requests/s", "× floor", "p50 µs", "× floor", "p99 µs", "× floor", "Redis µs", "pairs")


def cells(row):
    return (
        row.title,
        f"{row.cpu.value:.1f}", f"{row.cpu.ratio:.2f}", f"{row.cpu.low:.2f}–{row.cpu.high:.2f}",
        f"{row.rate.value:.0f}", f"{row.rate.ratio:.2f}",
        f"{row.p50.value:.0f}", f"{row.p50.ratio:.2f}",
        f"{row.p99.value:.0f}", f"{row.p99.ratio:.2f}",
        f"{row.redis:.1f}", str(row.pairs),
    )  # fmt: skip


def print_table(table):
    lines = [HEADS, *(cells(row) for row in table.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADS))]
    print(f"\n{table.label}")
    for line in lines:
        first, *others = (f"{cell:<{width}}" if column == 0 else f"{cell:>{width}}" for column, (cell, width) in enumerate(zip(line, widths)))
        print("  ".join([first, *others]))
    if table.noisy:
        print(f"others used the machine during {table.noisy} of the pairs; their ratios say less")
    print(flush=True)


# What a case is called by, and how.
AXES = {
    "sessions": lambda count: f"{grouped(count)} sessions",
    "size": lambda bytes: f"{bytes} bytes" if bytes < 1024 else f"{bytes // 1024} KB",
    "workers": lambda count: plural(count, "worker"),
    "connections": lambda count: plural(count, "connection"),
}


def label(case, scenario):
    """What sets a case apart from the others of its scenario; its connections always."""
    return ", ".join(say(getattr(case, axis)) for axis, say in AXES.items() if axis == "connections" or len(getattr(scenario, axis)) > 1)


def plural(number, noun):
    return f"{number} {noun}" + ("s" if number > 1 else "")


def grouped(number):
    return f"{number:,}".replace(",", " ")


def write(options, name, scenario, tables, left_out):
    """Writes a scenario's table and chart; those of the main one are bench.md and bench.svg."""
    options.output.mkdir(parents=True, exist_ok=True)
    markdown, chart = (options.output / f"{'bench' if name == 'main' else name}.{end}" for end in ("md", "svg"))
    markdown.write_text(as_markdown(options, scenario, tables, left_out, chart.name))
    chart.write_text(as_svg(tables))
    print(f"written: {markdown}, {chart}")


def as_markdown(options, scenario, tables, left_out, chart):
    parts = [f"# {scenario.title}", machine(options), f"![CPU time per request, as a ratio to bare proxy_pass]({chart})"]
    for table in tables:
        lines = ["| " + " | ".join(HEADS) + " |", "| --- |" + " ---: |" * (len(HEADS) - 1)]
        lines += ["| " + " | ".join(cells(row)) + " |" for row in table.rows]
        parts.append(f"## {table.label}\n\n" + "\n".join(lines))
    if left_out:
        parts.append("Left out:\n\n" + "\n".join(f"- {html.escape(reason, quote=False)}" for reason in left_out))
    parts.append(
        f"CPU: time of the workers, all their threads, and of helpers (the Node service) per request, as the scheduler counts it; Redis is"
        f" shown apart. {setting(scenario)} A single worker has a processor of its own, where there are several. The module verifies the"
        f" signature of Express' cookie, the peers do not. Each sample"
        f" ({options.seconds} s) stands beside one of the floor; a ratio is the median over the pairs, the quartiles say how far they"
        f" spread.{disturbance(tables)}"
    )
    return "\n\n".join(parts) + "\n"


def setting(scenario):
    """What all tables of a scenario have in common."""
    said = [AXES[axis](getattr(scenario, axis)[0]) for axis in ("sessions", "size", "workers") if len(getattr(scenario, axis)) == 1]
    return ", ".join(said).capitalize() + "." + " Of more than 50 000 sessions so many, taken by chance, are asked for." * (max(scenario.sessions) > 50000)


def disturbance(tables):
    found = [f"{table.noisy} of {sum(row.pairs for row in table.rows[1:])} pairs at {table.label}" for table in tables if table.noisy]
    return f" Others used the machine during {' and '.join(found)}." if found else ""


def machine(options):
    today = datetime.date.today().isoformat()
    return f"{today}: {os.cpu_count()} × {processor()}, Linux {platform.release()}, {versions(options)} on 127.0.0.1, wrk with one thread."


def processor():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "?")


def versions(options):
    nginx = first_line([options.nginx, "-v"]).rpartition("/")[2]
    redis = first_line(["redis-server", "--version"]).split()[2].removeprefix("v=")
    return f"nginx {nginx}, Redis {redis}"


def first_line(command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout.splitlines()[0]


# ---- The chart ---------------------------------------------------------------------------------------------------------

WIDTH, LEFT, RIGHT, BAR, GAP = 820, 300, 90, 22, 10
COLOURS = {"this module": "#0b7a4b", "the floor": "#b8bec6"}
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.head{font-weight:600;font-size:14px}.note{fill:#666;font-size:12px}"
    ".value{font-weight:600}.floor{stroke:#222;stroke-dasharray:3 3}.spread{stroke:#222;stroke-width:1.5}"
)


def as_svg(tables):
    """Bars of the CPU ratio, a group for each table; the dashed line is the floor, the thin one the quartiles."""
    longest = max(max(row.cpu.ratio, row.cpu.high) for table in tables for row in table.rows[1:])
    scale = (WIDTH - LEFT - RIGHT) / max(longest, 1.5)
    body, y = [text(20, 30, "Worker CPU time per request, as a ratio to bare proxy_pass", "head")], 44
    for table in tables:
        y += 24
        body.append(text(20, y, f"{table.label} (floor: {table.rows[0].cpu.value:.1f} µs)", "note"))
        y += 12
        top = y
        for row in table.rows[1:]:
            body += bar(row, y, scale)
            y += BAR + GAP
        body.append(f'<line class="floor" x1="{LEFT + scale:.1f}" y1="{top - 4}" x2="{LEFT + scale:.1f}" y2="{y - GAP + 4}"/>')
    height = y + 14
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img"'
        f' aria-label="CPU time per request as a ratio to bare proxy_pass">\n<style>{STYLE}</style>\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def bar(row, y, scale):
    colour = next((colour for start, colour in COLOURS.items() if row.title.startswith(start)), "#c2703d")
    middle = y + BAR / 2
    low, high = LEFT + row.cpu.low * scale, LEFT + row.cpu.high * scale
    return [
        text(LEFT - 10, middle + 4, row.title, "", "end"),
        f'<rect x="{LEFT}" y="{y}" width="{row.cpu.ratio * scale:.1f}" height="{BAR}" rx="2" fill="{colour}"/>',
        f'<line class="spread" x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}"/>',
        text(max(high, LEFT + row.cpu.ratio * scale) + 8, middle + 4, f"{row.cpu.ratio:.2f}", "value"),
    ]


def text(x, y, words, css, anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{css}" text-anchor="{anchor}">{html.escape(words)}</text>'
