"""Scenes over a long line with the kernel's own TCP at both ends (`line.py`). They need root."""

import contextlib, os, pathlib, subprocess, sys, time

from . import line, servers as kinds
from .bench import same
from .client import fetch, python_with_asyncssh, sftp
from .near import GCM128, put
from .pairs import digits
from .system import MIB, Failure, inside, needs, sha256, start, stop

WINDOW = 64 << 20
HERE = pathlib.Path(__file__).parent


@contextlib.contextmanager
def long_line(work, rtt, buffers):
    """The namespaces (near, far) while the line is up."""
    if os.geteuid():
        raise Failure("A long line needs root: it makes network namespaces.")
    needs("ip", "iproute2")
    if not os.path.exists("/dev/net/tun"):
        raise Failure("A long line needs /dev/net/tun: load the kernel's module 'tun'.")
    near, far = f"tdn{os.getpid() % 100000}", f"tdf{os.getpid() % 100000}"
    log = work / "line.log"
    words = [
        sys.executable,
        "-m",
        "compare_lib.line",
        near,
        far,
        "--rtt",
        str(rtt),
        "--rmem",
        str(buffers[0]),
        "--wmem",
        str(buffers[1]),
    ]
    process = start(words, log, cwd=HERE.parent)
    try:
        until = time.monotonic() + 20
        while "ready" not in log.read_text():
            if process.poll() is not None or time.monotonic() > until:
                raise Failure(f"The long line did not come up: {log.read_text().strip() or 'it said nothing'}")
            time.sleep(0.05)
        yield near, far
    finally:
        stop(process)
        for namespace in (near, far):
            # The line removes them itself, unless it was killed.
            subprocess.run(["ip", "netns", "del", namespace], stderr=subprocess.DEVNULL)


def plain_tcp(near, far, mib):
    """MiB/s of TCP alone over the line."""
    program = str(HERE / "speed.py")
    receiver = subprocess.Popen(inside(near, [sys.executable, program, "receive", "3333"]))
    try:
        time.sleep(0.5)
        words = inside(far, [sys.executable, program, "send", line.NEAR_ADDRESS, "3333", str(mib)])
        return float(subprocess.run(words, capture_output=True, text=True, check=True, timeout=600).stdout)
    finally:
        receiver.kill()
        receiver.wait()


def up(bench, rtt, large):
    mib = bench.size(256, 16)
    with bench.place(bench.options.dir, 3 * mib + 256) as work:
        with long_line(work, rtt, line.LARGE if large else line.STOCK) as (near, far):
            source, expected = bench.source(work, mib)
            little, little_expected = bench.source(work, bench.size(16, 4), "warm")
            alone = plain_tcp(near, far, mib)
            where = {"address": line.NEAR_ADDRESS, "namespace": near}
            with bench.servers(work, kinds.Tacdrop, kinds.OpenSsh, **where) as both:

                def side(server):
                    def run(warm):
                        what = (little, little_expected) if warm else (source, expected)
                        return put(bench, server, *what, what[0].stat().st_size // MIB, GCM128, far)

                    return run

                result = bench.compare({server.name: side(server) for server in both}, "OpenSSH", usual=3)
    result["tcp_alone"] = digits(alone)
    result["note"] = f"TCP alone {result['tcp_alone']} MiB/s"
    return result


def down(bench, rtt):
    """asyncssh with a window of 64 MiB, large TCP buffers."""
    python_with_asyncssh()
    mib = bench.size(256, 16)
    with bench.place(bench.options.dir, 4 * mib + 256) as work:
        with long_line(work, rtt, line.LARGE) as (near, far):
            source, expected = bench.source(work, mib)
            little, little_expected = bench.source(work, bench.size(16, 4), "warm")
            back = work / "back"
            where = {"address": line.NEAR_ADDRESS, "namespace": near}
            with bench.servers(work, kinds.Tacdrop, kinds.OpenSsh, **where) as both:
                for server in both:
                    sftp(server, [f"put {source} file", f"put {little} little"], GCM128, far)

                def side(server):
                    def run(warm):
                        back.unlink(missing_ok=True)
                        name, digest = ("little", little_expected) if warm else ("file", expected)
                        order = {"get": name, "to": str(back), "window": WINDOW, "cipher": GCM128}
                        run = bench.timed(server, lambda: fetch(server, order, far), per_mib=back_mib(warm))
                        same(sha256(back), digest, server.name)
                        return run

                    return run

                back_mib = lambda warm: (little if warm else source).stat().st_size // MIB
                result = bench.compare({server.name: side(server) for server in both}, "OpenSSH", usual=3)
    result["note"] = "client: asyncssh with a 64 MiB window"
    return result


def down_by_rclone(bench, rtt):
    """rclone as the client, with its own window (2 MiB for each connection) and its own parallel streams."""
    rclone = needs("rclone", "rclone")
    mib = bench.size(256, 16)
    with bench.place(bench.options.dir, 4 * mib + 256) as work:
        with long_line(work, rtt, line.LARGE) as (near, far):
            source, expected = bench.source(work, mib)
            back = work / "back"
            where = {"address": line.NEAR_ADDRESS, "namespace": near}
            with bench.servers(work, kinds.Tacdrop, kinds.OpenSsh, **where) as both:
                for server in both:
                    sftp(server, [f"put {source} file"], GCM128, far)

                def side(server):
                    def run(warm):
                        back.unlink(missing_ok=True)
                        if warm:
                            rclone_get(rclone, server, far, "file", back, whole=False)
                            return None
                        run = bench.timed(server, lambda: rclone_get(rclone, server, far, "file", back), per_mib=mib)
                        same(sha256(back), expected, server.name)
                        return run

                    return run

                result = bench.compare({server.name: side(server) for server in both}, "OpenSSH", usual=3)
    result["note"] = "client: rclone as installed"
    return result


def rclone_get(rclone, server, namespace, name, back, whole=True):
    token = getattr(server, "token", None)
    options = [
        "--sftp-host",
        server.address,
        "--sftp-port",
        str(server.port),
        "--sftp-user",
        server.user,
        "--sftp-shell-type",
        "none",
        "--config",
        str(back.parent / "rclone.conf"),
        "--retries",
        "1",
    ]
    if token:
        hidden = subprocess.run([rclone, "obscure", token], capture_output=True, text=True, check=True).stdout.strip()
        options += ["--sftp-pass", hidden]
    else:
        options += ["--sftp-key-file", str(server.key)]
    (back.parent / "rclone.conf").touch()
    if not whole:
        # The beginning of the file is enough to have been there once.
        words = [rclone, "cat", f":sftp:{name}", "--count", str(4 << 20), *options]
    else:
        words = [rclone, "copyto", f":sftp:{name}", str(back), *options]
    done = subprocess.run(
        inside(namespace, words), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=1800
    )
    if done.returncode:
        raise Failure(
            f"rclone from {server.name} failed: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}"
        )
