"""Scenes on the loopback interface: one stream, several, large files, and the window."""

import hashlib, statistics

from . import servers as kinds
from .bench import same, seeded
from .client import fetch, sftp, sftp_at_once
from .pairs import Run
from .system import MIB, available_mib, file_system, free_mib, sha256

GCM128, GCM256, CHACHA20 = "aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"
# The settings that give the server a fixed receive window, as OpenSSH's: it starts with 2 MiB and has no more.
FIXED_WINDOW = {"TACDROP__LIMITS__WINDOW_KIB": "2048", "TACDROP__LIMITS__WINDOW_MOST_KIB": "2048"}


def put(bench, server, source, expected, mib, cipher, namespace=None, name="file"):
    """One upload into an empty place, compared with what was sent."""
    server.fresh()
    run = bench.timed(
        server,
        lambda: sftp(server, [f"put {source} {name}"], cipher, namespace),
        per_mib=mib,
        notice=True,
        names=[name],
    )
    same(server.digest(name), expected, server.name)
    return run


def up(bench, cipher=GCM128, peer=kinds.OpenSsh, on_disk=False):
    base, mib = bench.options.disk_dir if on_disk else bench.options.dir, bench.mib
    with bench.place(base, 3 * mib + 256) as work:
        source, expected = bench.source(work, mib)
        with bench.servers(work, kinds.Tacdrop, peer) as (ours, theirs):
            side = lambda server: lambda warm: put(bench, server, source, expected, mib, cipher)
            result = bench.compare({"tacdrop": side(ours), theirs.name: side(theirs)}, theirs.name)
    if on_disk:
        result["note"] = f"on {file_system(base)}; OpenSSH syncs nothing"
    return result


def down(bench, cipher=GCM128):
    mib = bench.mib
    with bench.place(bench.options.dir, 4 * mib + 256) as work:
        source, expected = bench.source(work, mib)
        back = work / "back"
        with bench.servers(work, kinds.Tacdrop, kinds.OpenSsh) as both:
            for server in both:
                sftp(server, [f"put {source} file"], cipher)

            def side(server):
                def run(warm):
                    back.unlink(missing_ok=True)
                    run = bench.timed(server, lambda: sftp(server, [f"get file {back}"], cipher), per_mib=mib)
                    same(sha256(back), expected, server.name)
                    return run

                return run

            return bench.compare({server.name: side(server) for server in both}, "OpenSSH")


def streams(bench, count, cipher=GCM128):
    mib = bench.size(64, 4)
    with bench.place(bench.options.dir, (2 * count + 1) * mib + 256) as work:
        source, expected = bench.source(work, mib)
        names = [f"file-{number}" for number in range(count)]
        with bench.servers(work, kinds.Tacdrop, kinds.OpenSsh) as both:

            def side(server):
                def run(warm):
                    server.fresh()
                    batches = [[f"put {source} {name}"] for name in names]
                    run = bench.timed(
                        server, lambda: sftp_at_once(server, batches, cipher), per_mib=mib * count, notice=True
                    )
                    for name in names:
                        same(server.digest(name), expected, server.name)
                    return run

                return run

            return bench.compare({server.name: side(server) for server in both}, "OpenSSH")


def near_window(bench):
    """tacdrop as it is against tacdrop with a fixed window."""
    mib = bench.mib

    class Fixed(kinds.Tacdrop):
        name = "tacdrop, fixed 2 MiB window"

        def __init__(self, *where, **more):
            super().__init__(*where, settings=FIXED_WINDOW, **more)

    with bench.place(bench.options.dir, 3 * mib + 256) as work:
        source, expected = bench.source(work, mib)
        with bench.servers(work, kinds.Tacdrop, Fixed) as both:
            side = lambda server: lambda warm: put(bench, server, source, expected, mib, GCM128)
            return bench.compare({server.name: side(server) for server in both}, Fixed.name)


def large_place(bench, mib, copies):
    """A place for large files: --dir if it has room for so many copies beside the source, else --disk-dir."""
    needed, base = copies * mib + mib // 8 + 512, bench.options.dir
    if min(free_mib(base), available_mib() - 4096 if file_system(base) == "tmpfs" else 1 << 40) < needed:
        base = bench.options.disk_dir
    return base, needed


def ten_gib(bench):
    """10 GiB up, once each, no warm-up of that size."""
    mib = bench.size(10240, 256)
    base, needed = large_place(bench, mib, copies=1)
    with bench.place(base, needed) as work:
        source, expected = bench.large_source(work, mib)
        warm_source, warm_expected = bench.source(work, bench.size(256, 16), "warm")
        with bench.servers(work, kinds.Tacdrop, kinds.OpenSsh) as both:

            def side(server):
                def run(warm):
                    if warm:
                        return put(bench, server, warm_source, warm_expected, warm_source.stat().st_size // MIB, GCM128)
                    run = put(bench, server, source, expected, mib, GCM128)
                    # Room for the other's copy.
                    server.fresh()
                    return run

                return run

            result = bench.compare({server.name: side(server) for server in both}, "OpenSSH", usual=1)
    result["note"] = f"on {file_system(base)}"
    return result


def first_byte(bench):
    """The first 4 KiB of a 10 GiB download at a random offset: open, one read, close, in a session that is there."""
    mib, count = bench.size(10240, 256), bench.size(50, 10)
    base, needed = large_place(bench, mib, copies=2)
    with bench.place(base, needed) as work:
        source, expected = bench.large_source(work, mib)
        with bench.servers(work, kinds.Tacdrop, kinds.OpenSsh) as both:
            for server in both:
                sftp(server, [f"put {source} file"], GCM128)
            rounds = {server.name: 0 for server in both}

            def side(server):
                def run(warm):
                    rounds[server.name] += 1
                    chance = seeded(rounds[server.name])
                    # Into the random blocks, so that the comparison means something.
                    blocks = [chance.randrange(0, mib, 16) * MIB for _ in range(count)]
                    offsets = [block + chance.randrange(MIB - 4096) for block in blocks]
                    server.watch_memory()
                    answer = fetch(server, {"path": "file", "offsets": offsets, "length": 4096, "cipher": GCM128})
                    with open(source, "rb") as file:
                        for offset, found in zip(offsets, answer["sha256"]):
                            file.seek(offset)
                            same(found, hashlib.sha256(file.read(4096)).hexdigest(), server.name)
                    return Run(statistics.median(answer["milliseconds"]), None, server.peak())

                return run

            result = bench.compare({server.name: side(server) for server in both}, "OpenSSH", lower_rate=True)
    result["note"] = f"on {file_system(base)}, {count} offsets in each run; client: asyncssh"
    return result


def after_login(bench):
    """From nothing to the first byte of a small file: connection, login, open, one read. What people wait for."""
    count = bench.size(30, 5)
    with bench.place(bench.options.dir, 256) as work:
        source = work / "small"
        source.write_bytes(seeded("after-login").randbytes(4096))
        expected = sha256(source)
        with bench.servers(work, kinds.Tacdrop, kinds.OpenSsh) as both:
            for server in both:
                sftp(server, [f"put {source} file"], GCM128)

            def side(server):
                def run(warm):
                    server.watch_memory()
                    orders = {"path": "file", "offsets": [0], "length": 4096, "cipher": GCM128, "logins": count}
                    answer = fetch(server, orders)
                    for found in answer["sha256"]:
                        same(found, expected, server.name)
                    return Run(statistics.median(answer["milliseconds"]), None, server.peak())

                return run

            result = bench.compare({server.name: side(server) for server in both}, "OpenSSH", lower_rate=True)
    result["note"] = f"{count} logins in each run; tacdrop by the ticket's token, OpenSSH by a key; client: asyncssh"
    return result
