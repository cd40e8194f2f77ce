"""Voluntary and involuntary switches of a process, by kind of thread, as Linux counts them."""

import collections, pathlib, re, statistics

# Threads that do the same have one line: their numbers go.
NUMBER = re.compile(r"[-\d]+$")
TICKS = 100


def now(pid):
    """Of each thread: its kind, its voluntary and involuntary switches, and its CPU time in ticks."""
    found = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            status, stat = (task / "status").read_text(), (task / "stat").read_text()
        except OSError:
            continue  # It has ended meanwhile.
        said = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        fields = stat.rsplit(")", 1)[1].split()
        found[task.name] = (
            NUMBER.sub("", said["Name"].strip()),
            int(said["voluntary_ctxt_switches"]),
            int(said["nonvoluntary_ctxt_switches"]),
            int(fields[11]) + int(fields[12]),
        )
    return found


def since(before, after, amount):
    """What was counted meanwhile, by kind of thread, for each unit of `amount`. Threads that have ended are left out."""
    kinds = collections.defaultdict(lambda: [0.0, 0.0, 0.0])
    for thread, (kind, *counts) in after.items():
        begin = before.get(thread, (kind, 0, 0, 0))[1:]
        for place, (new, old) in enumerate(zip(counts, begin)):
            kinds[kind][place] += (new - old) / amount
    sums = [sum(counts) for counts in zip(*kinds.values())]
    return {"all": sums, **{kind: counts for kind, counts in kinds.items() if any(counts)}}


def median(runs):
    """The median of each figure over the rounds."""
    kinds = {kind for run in runs for kind in run}
    return {
        kind: [statistics.median(values) for values in zip(*(run.get(kind, [0.0, 0.0, 0.0]) for run in runs))]
        for kind in sorted(kinds, key=lambda kind: (kind != "all", kind))
    }


def table(rows):
    """Markdown: each scene, each kind of thread."""
    lines = ["| scene, for each GiB or file | threads | voluntary | involuntary | CPU-ms |", "|---|---|---|---|---|"]
    for scene, kinds in rows.items():
        for kind, (voluntary, involuntary, ticks) in kinds.items():
            cells = [figure(voluntary), figure(involuntary), f"{ticks * 1000 / TICKS:,.2f}"]
            lines.append(f"| {scene} | {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


def figure(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
