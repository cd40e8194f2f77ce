"""Runs in pairs, and what is said of them. Ratios are always "how many times better tacdrop is", whatever the unit."""

import statistics
from dataclasses import dataclass


@dataclass
class Run:
    """One run of one side. `rate` is in the scene's unit; `cpu`: the server's CPU-seconds per GiB or 1,000 items."""

    rate: float
    cpu: float | None = None
    peak: float | None = None


@dataclass
class Goal:
    name: str
    goal: float | None
    stretch: float | None
    # Costs: the figure must not be above the goal.
    lower: bool = False

    def judge(self, value):
        within = lambda limit: limit is not None and (value <= limit if self.lower else value >= limit)
        reached = "stretch" if within(self.stretch) else "goal" if within(self.goal) else "no"
        return {
            "name": self.name,
            "value": value,
            "goal": self.goal,
            "stretch": self.stretch,
            "lower": self.lower,
            "reached": None if self.goal is None else reached,
        }


def alternate(sides, pairs, say=lambda text: None):
    """Warms each side up once, then runs A B, B A, A B ... Gives the runs of each side, in order."""
    names, rows = list(sides), {name: [] for name in sides}
    for name in names:
        sides[name](warm=True)
    for pair in range(pairs):
        for name in names if pair % 2 == 0 else reversed(names):
            run = sides[name](warm=False)
            rows[name].append(run)
            say(f"pair {pair + 1} of {pairs}: {name} {run.rate:.1f}")
    return rows


def digits(value):
    """Three significant digits, as much as such figures can bear."""
    return round(value, 2) if abs(value) < 10 else round(value, 1) if abs(value) < 100 else round(value)


def summary(rows, peer, lower_rate=False, budget=None):
    """Medians, the ratio of medians with the smallest and largest ratio of a pair, CPU and memory."""
    mine, theirs = rows["tacdrop"], rows[peer]
    better = (lambda a, b: b / a) if lower_rate else (lambda a, b: a / b)
    median = lambda runs, field: statistics.median(getattr(run, field) for run in runs)
    ratios = [better(a.rate, b.rate) for a, b in zip(mine, theirs)]
    result = {
        "pairs": len(mine),
        "tacdrop": digits(median(mine, "rate")),
        "peer_rate": digits(median(theirs, "rate")),
        "ratio": round(better(median(mine, "rate"), median(theirs, "rate")), 3),
        "ratio_low": round(min(ratios), 3),
        "ratio_high": round(max(ratios), 3),
        "raw": {name: [vars(run) for run in runs] for name, runs in rows.items()},
    }
    if all(run.cpu is not None for run in mine + theirs):
        ours, others = median(mine, "cpu"), median(theirs, "cpu")
        result["cpu"] = {
            "tacdrop": round(ours, 3),
            "peer": round(others, 3),
            "ratio": round(ours / others, 3) if others else None,
        }
    peaks = [run.peak for run in mine if run.peak is not None]
    if peaks:
        result["peak_mib"], result["budget_mib"] = round(max(peaks), 1), budget
    return result
