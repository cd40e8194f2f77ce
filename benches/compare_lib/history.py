"""docs/benchmarks/history.json, the generated part of docs/benchmarks.md, and the plots."""

import json, os
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
    """One picture for each family, one panel for each scene: the ratio over the runs, its goal and its stretch."""
    families = {}
    for scene in scenes():
        points = [
            (run, found)
            for run in history
            for found in run["scenes"]
            if found["scene"] == scene.id and "ratio" in found
        ]
        if points:
            families.setdefault(scene.family, []).append(panel(scene, points))
    return {family: picture(panels) for family, panels in families.items()}


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


def panel(scene, points):
    goals = next((goal for goal in points[-1][1]["goals"] if goal["name"] == "times the peer"), {})
    limits = [value for value in (goals.get("goal"), goals.get("stretch"), 1) if value]
    top = 1.1 * max(limits + [found["ratio_high"] for _, found in points])
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    x = lambda at: LEFT + (wide / 2 if len(points) == 1 else wide * at / (len(points) - 1))
    y = lambda value: TOP + high * (1 - value / top)
    parts = [
        f'<text class="t" x="{LEFT}" y="14">{escape(scene.id)}: times {escape(scene.peer)}</text>',
        f'<text x="{LEFT}" y="27">{escape(scene.title)}</text>',
    ]
    for value in (0, 1, top / 1.1):
        parts.append(
            f'<line class="a" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
            f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.3g}</text>'
        )
    for kind, name in (("goal", "g"), ("stretch", "s")):
        if goals.get(kind):
            at = y(goals[kind])
            parts.append(
                f'<line class="{name}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
                f'<text x="{WIDTH - RIGHT}" y="{at - 3:.1f}" text-anchor="end">{kind} {goals[kind]:g}</text>'
            )
    line = " ".join(f"{x(at):.1f},{y(found['ratio']):.1f}" for at, (_, found) in enumerate(points))
    parts.append(f'<polyline class="l" points="{line}"/>')
    for at, (run, found) in enumerate(points):
        low, high_at = y(found["ratio_low"]), y(found["ratio_high"])
        said = escape(
            f"{run['date']} {run['commit']}: {found['ratio']:.2f} "
            f"({found['ratio_low']:.2f} to {found['ratio_high']:.2f})"
        )
        parts.append(
            f'<line class="r" x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{low:.1f}" y2="{high_at:.1f}"/>'
            f'<circle class="p" cx="{x(at):.1f}" cy="{y(found["ratio"]):.1f}" r="3"><title>{said}</title></circle>'
        )
    for at in sorted({0, len(points) - 1}):
        anchor = "middle" if len(points) == 1 else "start" if at == 0 else "end"
        parts.append(
            f'<text x="{x(at):.1f}" y="{HEIGHT - 12}" text-anchor="{anchor}">{escape(points[at][0]["date"][:10])} '
            f'{escape(points[at][0]["commit"])}</text>'
        )
    return "".join(parts)
