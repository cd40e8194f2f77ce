"""docs/benchmarks/history.json, the generated part of docs/benchmarks.md, and the plots."""

import json, os
from dataclasses import dataclass
from html import escape

from . import report
from .scenes import scenes
from .servers import REPOSITORY

PAGE, FOLDER = REPOSITORY / "docs" / "benchmarks.md", REPOSITORY / "docs" / "benchmarks"
BEGIN, END = "<!-- results: begin (written by benches/compare --write) -->", "<!-- results: end -->"
# A panel of a plot, in pixels.
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM, COLUMNS = 420, 220, 46, 34, 14, 30, 2
STYLE = (
    "text{font:11px sans-serif;fill:#444}.t{font-weight:bold;fill:#222}.g{stroke:#2a7a2a;stroke-dasharray:5 3}"
    ".s{stroke:#2a7a2a;stroke-dasharray:1 3}.l{stroke:#1f5fa8;stroke-width:2;fill:none}.p{fill:#1f5fa8}"
    ".r{stroke:#1f5fa8}.a{stroke:#bbb}"
)


def write(run):
    """Appends the run, and makes the page and the plots anew. Gives the files that were written."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / "history.json"
    history = json.loads(path.read_text()) if path.exists() else []
    history.append(report.compact(run))
    _replace(path, "[\n" + ",\n".join(json.dumps(one, separators=(",", ":")) for one in history) + "\n]\n")
    written = [path]
    pictures = []
    for family, picture in plots(history).items():
        file = FOLDER / f"{family}.svg"
        _replace(file, picture)
        written.append(file)
        pictures.append(f"![{family}](benchmarks/{file.name})")
    page = PAGE.read_text()
    if BEGIN not in page or END not in page:
        raise SystemExit(f"{PAGE} has lost its markers '{BEGIN}' and '{END}'.")
    before, rest = page.split(BEGIN, 1)
    text = latest(history)
    _replace(PAGE, f"{before}{BEGIN}\n\n{text}\n{' '.join(pictures)}\n\n{END}{rest.split(END, 1)[1]}")
    return [*written, PAGE]


def _replace(path, text):
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text)
    os.replace(temporary, path)


def latest(history):
    """The newest figures of each scene: runs of chosen scenes do not push the others off the page."""
    parts, shown = [], set()
    for run in reversed(history):
        # What was not measured is only said of the newest run.
        fresh = [
            scene
            for scene in run["scenes"]
            if scene["scene"] not in shown and ("failed" not in scene or run is history[-1])
        ]
        shown.update(scene["scene"] for scene in fresh if "failed" not in scene)
        if fresh:
            parts.append(report.table({**run, "scenes": fresh}))
    return "\n".join(parts)


def plots(history):
    """One picture for each family: a panel for each scene, with its ratio over the runs, its goal and its stretch."""
    families = {}
    for scene in scenes():
        runs = [(run, found) for run in history for found in run["scenes"] if found["scene"] == scene.id]
        for one in of_goals(scene, runs) if scene.loads else of_ratio(scene, runs):
            families.setdefault(scene.family, []).append(panel(one))
    return {family: picture(panels) for family, panels in families.items()}


@dataclass
class Series:
    """What one panel shows. A point: the run, the value, the smallest and the largest of a pair."""

    title: str
    below: str
    goal: float | None
    stretch: float | None
    points: list


def of_ratio(scene, runs):
    points = [(run, found["ratio"], found["ratio_low"], found["ratio_high"]) for run, found in runs if "ratio" in found]
    goal, stretch = next(
        (
            (goal["goal"], goal["stretch"])
            for _, found in reversed(runs)
            for goal in found.get("goals", [])
            if goal["name"] == "times the peer"
        ),
        (None, None),
    )
    return [Series(f"{scene.id}: times {scene.peer}", scene.title, goal, stretch, points)] if points else []


def of_goals(scene, runs):
    """The load generator's scenes have a panel for each of their goals."""
    found = {}
    for run, entry in runs:
        for goal in entry.get("goals", []):
            one = found.setdefault(goal["name"], Series(scene.id, goal["name"], None, None, []))
            one.goal, one.stretch = goal["goal"], goal["stretch"]
            one.points.append((run, goal["value"], goal["value"], goal["value"]))
    return list(found.values())


def picture(panels):
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // COLUMNS)
    width, height = WIDTH * columns, HEIGHT * rows
    placed = (
        f'<g transform="translate({WIDTH * (at % COLUMNS)},{HEIGHT * (at // COLUMNS)})">{one}</g>'
        for at, one in enumerate(panels)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f'<style>{STYLE}</style><rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(placed) + "\n</svg>\n"
    )


def panel(series):
    points = series.points
    top = 1.1 * max([one for one in (series.goal, series.stretch) if one] + [high for *_, high in points] + [1e-9])
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    x = lambda at: LEFT + (wide / 2 if len(points) == 1 else wide * at / (len(points) - 1))
    y = lambda value: TOP + high * (1 - value / top)
    parts = [
        f'<text class="t" x="{LEFT}" y="14">{escape(series.title)}</text>',
        f'<text x="{LEFT}" y="27">{escape(series.below)}</text>',
    ]
    # One is where both are equal; it is left out where it would be written over another number.
    for value in (0, top / 1.1, *([1] if 0.1 < 1 / top < 0.8 else [])):
        parts.append(
            f'<line class="a" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
            f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.3g}</text>'
        )
    for kind, limit, name, away in (("goal", series.goal, "g", 12), ("stretch", series.stretch, "s", -3)):
        if limit:
            parts.append(
                f'<line class="{name}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(limit):.1f}" y2="{y(limit):.1f}"/>'
                f'<text x="{WIDTH - RIGHT}" y="{y(limit) + away:.1f}" text-anchor="end">{kind} {limit:g}</text>'
            )
    line = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, (_, value, _, _) in enumerate(points))
    parts.append(f'<polyline class="l" points="{line}"/>')
    for at, (run, value, least, most) in enumerate(points):
        said = escape(f"{run['date']} {run['commit']}: {value:.3g} ({least:.3g} to {most:.3g})")
        parts.append(
            f'<line class="r" x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{y(least):.1f}" y2="{y(most):.1f}"/>'
            f'<circle class="p" cx="{x(at):.1f}" cy="{y(value):.1f}" r="3"><title>{said}</title></circle>'
        )
    for at in sorted({0, len(points) - 1}):
        anchor = "middle" if len(points) == 1 else "start" if at == 0 else "end"
        run = points[at][0]
        parts.append(
            f'<text x="{x(at):.1f}" y="{HEIGHT - 12}" text-anchor="{anchor}">'
            f'{escape(run["date"][:10])} {escape(run["commit"])}</text>'
        )
    return "".join(parts)
