"""Scenes of many small files: 10,000 of 4 KiB, up, down and listed, by one client."""

import shutil

from . import servers as kinds
from .bench import same
from .client import sftp
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
