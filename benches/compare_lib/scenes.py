"""The list of scenes: what each is called, whom it compares with, and what the goals are."""

from dataclasses import dataclass, field
from typing import Callable

from . import far, load, near, servers as kinds, small
from .near import CHACHA20, GCM256
from .pairs import Goal

# Without AWS-LC for content the goals for CPU are milder (--portable-aead).
CPU_GOALS = {False: (0.85, 0.75), True: (0.75, 0.65)}


@dataclass
class Scene:
    id: str
    family: str
    title: str
    unit: str
    run: Callable
    peer: str = "OpenSSH"
    # At least, and the stretch: how many times better than the peer.
    goal: tuple = (None, None)
    cpu_goal: bool = False
    cpu_unit: str = "CPU-s/GiB"
    # What --without can name.
    tools: tuple = ("openssh",)
    stretch_is_line: bool = False
    loads: bool = field(default=False)

    def goals(self, result, fast_aead):
        """The goals as they were reached in this result."""
        if self.loads:
            return result.get("goals", [])
        goal, stretch = self.goal
        if self.stretch_is_line and result.get("peer_rate"):
            # As fast as TCP alone, less 3 %: SSH's own packets and the login take their share.
            stretch = round(max(goal, 0.97 * result["tcp_alone"] / result["peer_rate"]), 2)
        found = [Goal("times the peer", goal, stretch).judge(result["ratio"])]
        if self.cpu_goal and result.get("cpu", {}).get("ratio"):
            found.append(
                Goal("server CPU, times the peer's", *CPU_GOALS[fast_aead], lower=True).judge(result["cpu"]["ratio"])
            )
        if result.get("peak_mib") and result.get("budget_mib"):
            found.append(Goal("peak memory, MiB", result["budget_mib"], None, lower=True).judge(result["peak_mib"]))
        return [goal for goal in found if goal["goal"] is not None]


def scenes():
    mib, files, names = "MiB/s", "files/s", "names/s"
    of_items = {"cpu_unit": "CPU-s/1,000"}
    up = lambda **more: lambda bench: near.up(bench, **more)
    return [
        Scene("up-gcm128", "up", "1 GiB up, aes128-gcm", mib, up(), goal=(1.5, 1.8), cpu_goal=True),
        Scene("up-gcm256", "up", "1 GiB up, aes256-gcm", mib, up(cipher=GCM256)),
        Scene("up-chacha20", "up", "1 GiB up, chacha20-poly1305", mib, up(cipher=CHACHA20)),
        Scene(
            "up-gocryptfs",
            "up",
            "1 GiB up, aes128-gcm",
            mib,
            up(peer=kinds.Gocryptfs),
            peer=kinds.Gocryptfs.name,
            goal=(5, 6),
            tools=("openssh", "gocryptfs"),
        ),
        Scene(
            "up-proftpd",
            "up",
            "1 GiB up, aes128-gcm",
            mib,
            up(peer=kinds.ProFtpd),
            peer=kinds.ProFtpd.name,
            goal=(2.5, 3),
            tools=("proftpd",),
        ),
        Scene(
            "up-rclone",
            "up",
            "1 GiB up, aes128-gcm",
            mib,
            up(peer=kinds.Rclone),
            peer=kinds.Rclone.name,
            goal=(4.5, 5),
            tools=("rclone",),
        ),
        Scene("up-disk", "up", "1 GiB up to the disk, aes128-gcm", mib, up(on_disk=True)),
        Scene(
            "near-window",
            "up",
            "1 GiB up, adaptive window",
            mib,
            near.near_window,
            peer="tacdrop, fixed 2 MiB window",
            goal=(0.97, 1),
            tools=("tacdrop",),
        ),
        Scene("down-gcm128", "down", "1 GiB down, aes128-gcm", mib, near.down, goal=(1.3, 1.8)),
        Scene("down-gcm256", "down", "1 GiB down, aes256-gcm", mib, lambda b: near.down(b, GCM256), goal=(1.3, 1.8)),
        Scene("down-chacha20", "down", "1 GiB down, chacha20-poly1305", mib, lambda b: near.down(b, CHACHA20)),
        Scene("streams-8", "streams", "8 x 64 MiB up at once", mib, lambda b: near.streams(b, 8), goal=(2, 2.5)),
        Scene("streams-32", "streams", "32 x 64 MiB up at once", mib, lambda b: near.streams(b, 32), goal=(2, 2.5)),
        Scene("small-up", "small", "10,000 x 4 KiB up, one client", files, small.up, goal=(1, 1.3), **of_items),
        Scene("small-up-disk", "small", "the same to the disk", files, lambda b: small.up(b, on_disk=True), **of_items),
        Scene(
            "small-up-8",
            "small",
            "10,000 x 4 KiB up, 8 clients at once",
            files,
            small.up_at_once,
            goal=(1.5, 2.5),
            **of_items,
        ),
        Scene("mixed", "small", "2,000 x 4 KiB up and listed beside 1 GiB up", files, small.mixed),
        Scene(
            "login-first-byte",
            "login",
            "first 4 KiB of a file, from the connection on",
            "ms",
            near.after_login,
            tools=("openssh", "asyncssh"),
        ),
        Scene("small-down", "small", "10,000 x 4 KiB down, one client", files, small.down, **of_items),
        Scene(
            "small-list-names", "small", "10,000 names, ls -1", names, lambda b: small.listed(b, "ls -1"), **of_items
        ),
        Scene("small-list-long", "small", "10,000 names, ls -l", names, lambda b: small.listed(b, "ls -l"), **of_items),
        Scene(
            "far-100-stock",
            "far",
            "256 MiB up, 100 ms, stock TCP",
            mib,
            lambda b: far.up(b, 100, False),
            goal=(1.25, None),
            stretch_is_line=True,
        ),
        Scene(
            "far-100-large",
            "far",
            "256 MiB up, 100 ms, TCP buffers to 64 MiB",
            mib,
            lambda b: far.up(b, 100, True),
            goal=(3, 4),
        ),
        Scene("far-250-stock", "far", "256 MiB up, 250 ms, stock TCP", mib, lambda b: far.up(b, 250, False)),
        Scene(
            "far-250-large",
            "far",
            "256 MiB up, 250 ms, TCP buffers to 64 MiB",
            mib,
            lambda b: far.up(b, 250, True),
            goal=(3, 4),
        ),
        Scene(
            "far-down-100-asyncssh",
            "far",
            "256 MiB down, 100 ms, asyncssh",
            mib,
            lambda b: far.down(b, 100),
            goal=(1.2, 2),
            tools=("openssh", "asyncssh"),
        ),
        Scene(
            "far-down-100-rclone",
            "far",
            "256 MiB down, 100 ms, rclone",
            mib,
            lambda b: far.down_by_rclone(b, 100),
            goal=(1.2, 2),
            tools=("openssh", "rclone"),
        ),
        Scene("ten-gib", "large", "10 GiB up, aes128-gcm", mib, near.ten_gib),
        Scene(
            "ten-gib-offset",
            "large",
            "first 4 KiB at a random offset of 10 GiB",
            "ms",
            near.first_byte,
            tools=("openssh", "asyncssh"),
        ),
        *(
            Scene(
                f"load-{name}", "load", title, "", lambda b, name=name: load.run(b, name), loads=True, tools=("load",)
            )
            for name, title in load.SCENES.items()
        ),
    ]


def chosen(words):
    """The scenes that are meant by names, beginnings of names ('far-100') and families; all without a word."""
    known, found = scenes(), []
    for word in words:
        meant = [scene for scene in known if scene.id == word] or [
            scene for scene in known if scene.family == word or scene.id.startswith(f"{word}-")
        ]
        if not meant:
            raise SystemExit(f"There is no scene '{word}'; 'benches/compare --list' shows them.")
        found += [scene for scene in meant if scene not in found]
    return found or known
