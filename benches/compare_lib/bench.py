"""What all scenes share: options, directories, sources, and how one run of one side is timed."""

import contextlib, os, pathlib, random, shutil, sys, tempfile, time

from . import system
from .pairs import Run, alternate, summary
from .servers import budget_mib
from .system import MIB, Failure

GIB = 1024  # MiB
# Random blocks between holes: as slow to make as the random part, and still compared byte for byte.
BLOCK_EVERY = 16


class Bench:
    def __init__(self, options):
        self.options, self.touched, self.notes = options, 0, []
        self.budget = budget_mib()

    def say(self, text):
        print(f"  {text}", file=sys.stderr, flush=True)

    def pairs(self, usual=None):
        options = self.options
        return options.pairs or (1 if options.quick else usual or 5)

    def size(self, full, quick):
        return quick if self.options.quick else full

    @property
    def mib(self):
        return self.options.mib or self.size(1024, 64)

    @contextlib.contextmanager
    def place(self, base, mib=0):
        """A work directory that is removed again, whatever happens. `mib`: room that must be there."""
        free = system.free_mib(base)
        if system.file_system(base) == "tmpfs":
            free = min(free, system.available_mib() - 1024)
        if free < mib:
            raise Failure(
                f"{base} has room for {free} MiB, this scene needs {mib}: choose another with --dir or --disk-dir."
            )
        work = pathlib.Path(tempfile.mkdtemp(prefix="tacdrop-bench-", dir=base))
        try:
            if mib > self.touched and system.file_system(base) == "tmpfs":
                system.touch(work, mib)
                self.touched = mib
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)

    @contextlib.contextmanager
    def servers(self, work, *kinds, **where):
        """Starts one server of each kind and ends them all, whatever happens."""
        key = work / "key"
        if not key.exists():
            system.subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        with contextlib.ExitStack() as stack:
            started = []
            for number, kind in enumerate(kinds):
                server = kind(work / f"server-{number}", key, **where)
                stack.callback(server.stop)
                server.start()
                started.append(server)
            yield started

    def source(self, work, mib, name="source"):
        """A file of random bytes and its SHA-256."""
        path = work / name
        with open(path, "wb") as file:
            for _ in range(mib):
                file.write(os.urandom(MIB))
        return path, system.sha256(path)

    def large_source(self, work, mib):
        """A file of which every sixteenth MiB is random and the rest is holes."""
        path = work / "large"
        with open(path, "wb") as file:
            file.truncate(mib * MIB)
            for at in range(0, mib, BLOCK_EVERY):
                file.seek(at * MIB)
                file.write(os.urandom(MIB))
        return path, system.sha256(path)

    def small_files(self, work, count):
        """A directory of 4 KiB files; gives their digests by name."""
        directory, digests = work / "small", {}
        directory.mkdir()
        for number in range(count):
            path = directory / f"file-{number:05}"
            path.write_bytes(os.urandom(4096))
            digests[path.name] = system.sha256(path)
        return directory, digests

    def timed(self, server, work, per_mib=None, items=None, notice=False, names=()):
        """Times one run: `work` does it. Gives MiB/s, or items per second, and CPU-seconds per GiB or 1,000 items."""
        server.expects_notice = notice
        server.watch_memory()
        before, begin = server.used(), time.monotonic()
        work()
        more = server.finish(names) if names else 0.0
        seconds = time.monotonic() - begin
        server.settle()
        used = server.used() - before + more
        amount = per_mib if per_mib else items
        return Run(amount / seconds, used * (GIB / per_mib if per_mib else 1000 / items), server.peak())

    def compare(self, sides, peer, usual=None, **more):
        return summary(alternate(sides, self.pairs(usual), self.say), peer, budget=self.budget, **more)


def same(found, expected, who, what="what was sent"):
    if found != expected:
        raise Failure(f"{who} does not have {what}: the digests differ.")


def seeded(name):
    """The same random numbers for both sides of a run, others for each run."""
    return random.Random(f"{name}-{os.getpid()}")
