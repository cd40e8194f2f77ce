"""What a run says: a table for people (Markdown, the same in docs/benchmarks.md) and the compact history."""

REACHED = {"stretch": "stretch reached", "goal": "reached", "no": "**not reached**", None: ""}


def number(value):
    if value is None:
        return ""
    if isinstance(value, (int, float)):
        size = abs(value)
        places = 3 if 0 < size < 0.1 else 2 if size < 10 else 1 if size < 100 else 0
        text = f"{value:,.{places}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return str(value)


def one_goal(goal):
    sign = "<=" if goal["lower"] else ">="
    stretch = f" ({number(goal['stretch'])})" if goal["stretch"] is not None else ""
    return f"{sign} {number(goal['goal'])}{stretch}: {REACHED[goal['reached']]}"


def row(entry):
    """One scene as a line of the table."""
    figures, main = entry, [goal for goal in entry["goals"] if goal["name"] == "times the peer"]
    cpu, cpu_goals = entry.get("cpu") or {}, [goal for goal in entry["goals"] if goal["name"].startswith("server CPU")]
    ratio = f"{figures['ratio']:.2f} ({figures['ratio_low']:.2f} to {figures['ratio_high']:.2f})"
    used = f"{number(cpu.get('tacdrop'))} / {number(cpu.get('peer'))} {entry['cpu_unit']}" if cpu else ""
    used += "".join(f"; {number(goal['value'])} x, {one_goal(goal)}" for goal in cpu_goals)
    memory = f"{number(entry['peak_mib'])} of {number(entry['budget_mib'])}" if entry.get("peak_mib") else ""
    cells = [
        f"`{entry['scene']}`: {entry['title']}",
        entry["peer"],
        str(figures["pairs"]),
        f"{number(figures['tacdrop'])} / {number(figures['peer_rate'])} {entry['unit']}",
        ratio,
        "".join(one_goal(goal) for goal in main),
        used,
        memory,
    ]
    return "| " + " | ".join(cells) + " |"


def table(run):
    """The whole run: what it ran on, the scenes, the scenes of the load generator, what failed."""
    machine, entries = run["machine"], run["scenes"]
    quick = ", small sizes (--quick): figures mean little" if run["quick"] else ""
    flags = ", ".join(machine["flags"]) or "no AES or SHA instructions"
    paired = [entry for entry in entries if "ratio" in entry]
    others = [entry for entry in entries if "figures" in entry]
    failed = [entry for entry in entries if "failed" in entry]
    lines = [
        f"{run['date']}, commit {run['commit']}{quick}; {machine['cores']} cores, {machine['cpu']} "
        f"({flags}; SHA-256 of 1 GiB takes {machine['sha256_cpu_seconds_per_gib']} CPU-s), "
        f"{machine['memory_gib']} GiB, {machine['system']}, "
        f"Linux {machine['kernel']}, TCP {machine['congestion_control']}; load {run['load']} at the start.",
        "",
        "; ".join(run["versions"].values()) + ".",
        "",
    ]
    if paired:
        lines += [
            "| scene | against | pairs | tacdrop / peer, medians | ratio of medians (of pairs) | at least (stretch) | "
            "server CPU, tacdrop / peer | tacdrop's peak memory, MiB |",
            "|---|---|---|---|---|---|---|---|",
            *map(row, paired),
            "",
        ]
    notes = [f"- `{entry['scene']}`: {entry['note']}." for entry in paired if entry.get("note")]
    lines += [*notes, ""] if notes else []
    if others:
        lines += ["| scene | figure | value | at least or at most (stretch) |", "|---|---|---|---|"]
        for entry in others:
            for goal in entry["goals"]:
                lines.append(f"| `{entry['scene']}` | {goal['name']} | {number(goal['value'])} | {one_goal(goal)} |")
        lines.append("")
        for entry in others:
            figures = "; ".join(f"{name} {number(value)}" for name, value in flat(entry["figures"]))
            lines += [f"<details><summary>All figures of {entry['scene']}</summary>", "", figures + ".", "", "</details>", ""]
    lines += [f"- `{entry['scene']}` was not measured: {entry['failed']}" for entry in failed]
    return "\n".join(lines).rstrip() + "\n"


def flat(figures, before=""):
    """Nested figures as names with dots."""
    if isinstance(figures, dict):
        return [pair for name, value in figures.items() for pair in flat(value, f"{before}.{name}" if before else name)]
    if isinstance(figures, list):
        return [
            pair for at, value in enumerate(figures) for pair in flat(value, f"{before}.{at}" if before else str(at))
        ]
    return [(before, figures)]


def compact(run):
    """What the history keeps of a run: no single runs."""
    keep = (
        "scene",
        "peer",
        "pairs",
        "tacdrop",
        "peer_rate",
        "ratio",
        "ratio_low",
        "ratio_high",
        "cpu",
        "peak_mib",
        "budget_mib",
        "tcp_alone",
        "sync_ms",
        "figures",
        "goals",
        "note",
        "load",
        "took_seconds",
        "title",
        "unit",
        "cpu_unit",
        "failed",
    )
    scenes = [{name: entry[name] for name in keep if name in entry} for entry in run["scenes"]]
    return {
        **{name: run[name] for name in ("date", "commit", "quick", "load", "machine", "versions")},
        "scenes": scenes,
    }
