"""The scenes of `benches/load/main.rs`, with a client of its own: called as they are, shown in the same table."""

import json, os, signal, subprocess

from .servers import REPOSITORY
from .system import Failure

SCENES = {
    "sessions": "new sessions per second",
    "idle": "memory of an idle session",
    "crowded": "small requests beside 1,000 idle and 8 busy sessions",
    "growth-files": "cost of an item as a share's files grow",
    "growth-tickets": "cost of an item as tickets grow",
    "growth-open": "cost of an upload as others are open",
    "growth-records": "cost of an item as all records grow",
}
# An hour: growth-records seeds a million of them.
SECONDS = 3600


def command(name, quick):
    return [
        "cargo",
        "bench",
        "--quiet",
        "--features",
        "bench",
        "--bench",
        "load",
        "--",
        name,
        "--json",
        *(["--quick"] if quick else []),
    ]


def last_object(text):
    """The last JSON object in what was printed; other lines may stand around it."""
    decoder, found, at = json.JSONDecoder(), None, text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
            found = value if isinstance(value, dict) else found
        except ValueError:
            end = at + 1
        at = text.find("{", end)
    return found


def in_a_group(words):
    """Runs it in a process group, so that the servers that cargo's child has started can be ended with it."""
    process = subprocess.Popen(
        words, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        out, err = process.communicate(timeout=SECONDS)
        return process.returncode, out, err
    except BaseException:
        for number, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
            try:
                os.killpg(process.pid, number)
                process.wait(seconds)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass
        raise


def run(bench, name):
    words = command(name, bench.options.quick)
    returned, out, err = in_a_group(words)
    if returned:
        raise Failure(f"'{' '.join(words)}' failed: {(err.strip().splitlines() or ['it said nothing'])[-1]}")
    answer = last_object(out)
    if not answer or "figures" not in answer:
        raise Failure(f"'{' '.join(words)}' printed no figures.")
    return {"figures": answer["figures"], "goals": [goal(one) for one in answer.get("goals", [])]}


def goal(one):
    """In the form of `pairs.Goal.judge`; `reached` may be a word or a truth."""
    value, least, stretch = one.get("value"), one.get("goal"), one.get("stretch")
    lower = one.get("lower", least is not None and stretch is not None and stretch < least)
    reached = one.get("reached")
    if not isinstance(reached, str):
        within = stretch is not None and value is not None and (value <= stretch if lower else value >= stretch)
        reached = ("stretch" if within else "goal") if reached else "no"
    return {
        "name": one.get("name", ""),
        "value": value,
        "goal": least,
        "stretch": stretch,
        "lower": lower,
        "reached": reached,
    }
