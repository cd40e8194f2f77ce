"""Scenes of many small files: 10,000 of 4 KiB, up, down and listed, by one client."""

import shutil, time

from . import servers as kinds
from .bench import same
from .client import begin_batch, end, sftp, sftp_at_once, wait
from .near import GCM128
from .system import Failure, file_system, sha256, sync_cost

LISTINGS = 10


def count(bench):
    return bench.size(10_000, 300)


def up(bench, on_disk=False):
    base, many = bench.options.disk_dir if on_disk else bench.options.dir, count(bench)
    with bench.place(base, 512) as work:
        source, expected = bench.small_files(work, many)
        sync = sync_cost(work, bench.size(200, 30)) if on_disk else None
        with bench.servers(work, kinds.Tacdrop, kinds.OpenSsh) as both:

            def side(server):
                def run(warm):
                    server.fresh()
                    run = bench.timed(
                        server, lambda: sftp(server, [f"put -r {source} small"], GCM128), items=many, notice=True
                    )
                    same(server.digests("small"), expected, server.name)
                    return run

                return run

            result = bench.compare({server.name: side(server) for server in both}, "OpenSSH", usual=3)
    if sync:
        per_file = 1000 / result["tacdrop"]
        result["sync_ms"] = {"write_fdatasync": sync[0], "write_fdatasync_rename_fsync": sync[1]}
        result["note"] = (
            f"on {file_system(base)}; here write + fdatasync of 4 KiB takes {sync[0]} ms, with rename and fsync of the "
            f"directory {sync[1]} ms; tacdrop took {per_file:.2f} ms per file, OpenSSH syncs nothing"
        )
    return result


def up_at_once(bench, clients=8):
    """The same files by several clients at once, each its part of them into a directory of its own: many devices."""
    many = count(bench)
    with bench.place(bench.options.dir, 512) as work:
        source, expected = bench.small_files(work, many)
        parts = [sorted(expected)[number::clients] for number in range(clients)]
        for number, names in enumerate(parts):
            directory = work / f"small-{number}"
            directory.mkdir()
            for name in names:
                (source / name).rename(directory / name)
        with bench.servers(work, kinds.Tacdrop, kinds.OpenSsh) as both:

            def side(server):
                def run(warm):
                    server.fresh()
                    batches = [[f"put -r {work / f'small-{number}'} small-{number}"] for number in range(clients)]
                    send = lambda: sftp_at_once(server, batches, GCM128)
                    run = bench.timed(server, send, items=many, notice=True)
                    for number, names in enumerate(parts):
                        wanted = {name: expected[name] for name in names}
                        same(server.digests(f"small-{number}"), wanted, server.name)
                    return run

                return run

            return bench.compare({server.name: side(server) for server in both}, "OpenSSH", usual=3)


def mixed(bench):
    """2,000 small files and a listing by one client while another puts 1 GiB: what a long upload costs everybody else."""
    many, mib = bench.size(2000, 100), bench.mib
    with bench.place(bench.options.dir, 3 * mib + 512) as work:
        large, digest = bench.source(work, mib)
        source, expected = bench.small_files(work, many)
        with bench.servers(work, kinds.Tacdrop, kinds.OpenSsh) as both:
            lasted = {server.name: 0 for server in both}

            def side(server):
                def run(warm):
                    server.fresh()
                    beside = begin_batch(server, [f"put {large} large"], GCM128)
                    small = lambda: sftp(server, [f"put -r {source} small", "ls -l small"], GCM128)
                    try:
                        run = bench.timed(server, small, items=many)
                        lasted[server.name] += beside.poll() is None
                        wait(server, beside, time.monotonic() + 3600)
                    finally:
                        end(beside)
                    same(server.digest("large"), digest, server.name)
                    same(server.digests("small"), expected, server.name)
                    return run

                return run

            result = bench.compare({server.name: side(server) for server in both}, "OpenSSH", usual=3)
    # Warm-ups are among them.
    runs = ", ".join(f"{name} {times} of {result['pairs'] + 1}" for name, times in lasted.items())
    result["note"] = f"runs in which the large upload was still under way when the small ones were done: {runs}"
    # What the large upload cost is in it, as far as it came.
    result.pop("cpu", None)
    return result


def filled(bench, work, both):
    source, expected = bench.small_files(work, count(bench))
    for server in both:
        sftp(server, [f"put -r {source} small"], GCM128)
        server.settle()
    return expected


def down(bench):
    many = count(bench)
    with bench.place(bench.options.dir, 512) as work:
        with bench.servers(work, kinds.Tacdrop, kinds.OpenSsh) as both:
            expected, back = filled(bench, work, both), work / "back"

            def side(server):
                def run(warm):
                    run = bench.timed(server, lambda: sftp(server, [f"get -r small {back}"], GCM128), items=many)
                    same({path.name: sha256(path) for path in back.iterdir()}, expected, server.name)
                    shutil.rmtree(back)
                    return run

                return run

            return bench.compare({server.name: side(server) for server in both}, "OpenSSH", usual=3)


def listed(bench, command):
    """The directory is listed ten times in one session, so that the login hardly counts."""
    many = count(bench)
    with bench.place(bench.options.dir, 512) as work:
        with bench.servers(work, kinds.Tacdrop, kinds.OpenSsh) as both:
            names = sorted(filled(bench, work, both))

            def side(server):
                def run(warm):
                    shown = []
                    work = lambda: shown.append(sftp(server, [f"{command} small"] * LISTINGS, GCM128, capture=True))
                    run = bench.timed(server, work, items=many * LISTINGS)
                    found = sorted(
                        line.split()[-1].rsplit("/", 1)[-1]
                        for line in shown[0].splitlines()
                        if line.strip() and not line.startswith("sftp>")
                    )
                    if found != sorted(names * LISTINGS):
                        raise Failure(
                            f"{server.name} listed {len(found)} names, not {len(names) * LISTINGS}, or others."
                        )
                    return run

                return run

            return bench.compare({server.name: side(server) for server in both}, "OpenSSH")
