"""The clients: OpenSSH's `sftp`; asyncssh (see `fetch.py`) where a large window or an offset is needed."""

import json, os, pathlib, subprocess, sys, time

from .system import Failure, inside, needs

QUIET = [
    "-q",
    "-o",
    "StrictHostKeyChecking=no",
    "-o",
    "UserKnownHostsFile=/dev/null",
    "-o",
    "LogLevel=ERROR",
    "-o",
    "BatchMode=no",
    "-o",
    "NumberOfPasswordPrompts=1",
    "-o",
    "ConnectTimeout=60",
]


def words(server, cipher):
    who = f"{server.user}@{server.address}"
    return [
        needs("sftp", "openssh-client"),
        *QUIET,
        "-c",
        cipher,
        "-P",
        str(server.port),
        *server.login,
        "-b",
        "-",
        who,
    ]


def begin(server, cipher, namespace=None, out=subprocess.DEVNULL):
    return subprocess.Popen(
        inside(namespace, words(server, cipher)),
        stdin=subprocess.PIPE,
        stdout=out,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **server.environment},
    )


def sftp(server, batch, cipher, namespace=None, capture=False, seconds=3600):
    """Runs one batch in one session; gives what it printed, if asked to."""
    process = begin(server, cipher, namespace, subprocess.PIPE if capture else subprocess.DEVNULL)
    try:
        out, err = process.communicate("\n".join(batch) + "\n", timeout=seconds)
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode:
        raise Failure(f"sftp to {server.name} failed: {err.strip() or process.returncode}")
    return out


def begin_batch(server, batch, cipher):
    """Begins one client, which ends when it has done its batch."""
    process = begin(server, cipher)
    process.stdin.write("\n".join(batch) + "\n")
    process.stdin.close()
    return process


def wait(server, process, until):
    error = process.stderr.read()
    if process.wait(max(1, until - time.monotonic())):
        raise Failure(f"sftp to {server.name} failed: {error.strip() or process.returncode}")


def end(process):
    """Takes a client down that has not ended."""
    process.stderr.close()
    if process.poll() is None:
        process.kill()
        process.wait()


def sftp_at_once(server, batches, cipher, seconds=3600):
    """Several clients at once, one batch each."""
    processes = []
    try:
        for batch in batches:
            processes.append(begin_batch(server, batch, cipher))
        until = time.monotonic() + seconds
        for process in processes:
            wait(server, process, until)
    finally:
        for process in processes:
            end(process)


def python_with_asyncssh():
    """An interpreter that has asyncssh: BENCH_PYTHON, this one, or Debian's."""
    for python in filter(None, [os.environ.get("BENCH_PYTHON"), sys.executable, "/usr/bin/python3"]):
        if subprocess.run([python, "-c", "import asyncssh"], capture_output=True).returncode == 0:
            return python
    raise Failure(
        "The client 'asyncssh' is missing: install Debian's package python3-asyncssh, name a Python that has it in "
        "BENCH_PYTHON, or leave it out with --without asyncssh."
    )


def fetch(server, orders, namespace=None, seconds=3600):
    """Has `fetch.py` carry out orders with asyncssh; gives its answer."""
    orders = {
        **orders,
        "host": server.address,
        "port": server.port,
        "user": server.user,
        "key": None if getattr(server, "token", None) else str(server.key),
        "password": getattr(server, "token", None),
    }
    program = pathlib.Path(__file__).with_name("fetch.py")
    done = subprocess.run(
        inside(namespace, [python_with_asyncssh(), str(program)]),
        input=json.dumps(orders),
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    if done.returncode:
        raise Failure(
            f"asyncssh to {server.name} failed: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}"
        )
    return json.loads(done.stdout)
