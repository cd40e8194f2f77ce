"""What the machine says and does: processes and their CPU time, memory, ports, digests, versions."""

import ctypes, hashlib, os, pathlib, platform, shutil, signal, socket, statistics, subprocess, time

TICK = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20
LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


class Failure(Exception):
    """A scene that cannot be run, or whose result is wrong. The text is a sentence for people."""


def needs(program, package):
    """The program's path, or a sentence that names what to install."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise Failure(f"'{program}' is missing: install Debian's package {package}, or leave it out with --without.")
    return path


def _child():
    # A new group, so that Ctrl-C reaches the bench only and it can end its servers in order; and if the bench itself
    # is killed, the kernel ends them.
    os.setsid()
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def inside(namespace, words):
    return ["ip", "netns", "exec", namespace, *words] if namespace else list(words)


def start(words, log, env=None, namespace=None, **more):
    """Starts a server. `ip netns exec` becomes the program, so the process id is the server's own."""
    words = [str(word) for word in inside(namespace, words)]
    with open(log, "ab") as file:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            preexec_fn=_child,
            env={**os.environ, **(env or {})},
            **more,
        )


def stop(process, seconds=60):
    """Ends one server by its process id and waits for it."""
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(process, port, log, namespace=None):
    """Waits until somebody listens on the port, without connecting: servers count connections."""
    words = inside(namespace, ["ss", "-Hltn", f"sport = :{port}"])
    for _ in range(300):
        if process.poll() is not None:
            break
        if subprocess.run(words, capture_output=True, check=True).stdout.strip():
            return
        time.sleep(0.05)
    tail = " | ".join(pathlib.Path(log).read_text(errors="replace").splitlines()[-3:])
    raise Failure(f"Nothing listens on port {port}: {tail}")


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree(pid):
    """A process and its descendants that are alive."""
    pids = [pid]
    for parent in pids:
        try:
            for thread in os.listdir(f"/proc/{parent}/task"):
                pids += map(int, pathlib.Path(f"/proc/{parent}/task/{thread}/children").read_text().split())
        except OSError:
            pass
    return pids


def cpu(pids):
    """CPU-seconds of processes, their living descendants, and those that have ended and were waited for."""
    total = 0
    for process in (process for pid in pids for process in tree(pid)):
        try:
            fields = pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
            total += sum(map(int, fields[11:15]))
        except OSError:
            pass
    return total / TICK


def forget_peak(pid):
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_mib(pid):
    """The most memory that the process ever had, or had since `forget_peak`."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def available_mib():
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) // 1024
    return 0


def free_mib(directory):
    there = os.statvfs(directory)
    return there.f_bavail * there.f_frsize // MIB


def file_system(directory):
    words = ["findmnt", "-n", "-o", "FSTYPE", "-T", str(directory)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[0]


def touch(directory, mib):
    """Memory that the host has to find first would be charged to whoever writes to it first."""
    path = pathlib.Path(directory) / "touch"
    with open(path, "wb") as file:
        for _ in range(mib):
            file.write(bytes(MIB))
    path.unlink()


def sync_cost(directory, count=200):
    """Medians in ms of what durability costs here: 4 KiB written and synced; with a rename and its directory, too."""
    plain, renamed = [], []
    page, handle = os.urandom(4096), os.open(directory, os.O_RDONLY)
    try:
        for number in range(2 * count):
            temporary, final = (os.path.join(directory, f"sync-{name}") for name in ("temporary", "final"))
            begin = time.monotonic()
            file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.write(file, page)
            os.fdatasync(file)
            os.close(file)
            if number % 2:
                os.rename(temporary, final)
                os.fsync(handle)
            (renamed if number % 2 else plain).append((time.monotonic() - begin) * 1000)
            for path in (temporary, final):
                if os.path.exists(path):
                    os.unlink(path)
    finally:
        os.close(handle)
    return round(statistics.median(plain), 2), round(statistics.median(renamed), 2)


def _first_line(*words):
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return next((line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()), None)


def sha256_cost():
    """CPU-seconds for the SHA-256 of 1 GiB by OpenSSL: the floor under everything that hashes what it takes."""
    piece, digest = os.urandom(MIB), hashlib.sha256()
    begin = time.process_time()
    for _ in range(128):
        digest.update(piece)
    return round((time.process_time() - begin) * 8, 2)


def machine():
    said = {}
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        said.setdefault(name.strip(), value.strip())
    model, flags = said.get("model name", "unknown"), set(said.get("flags", said.get("Features", "")).split())
    memory = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemTotal"))
    system = {}
    for line in pathlib.Path("/etc/os-release").read_text().splitlines():
        name, _, value = line.partition("=")
        system[name] = value.strip('"')
    return {
        "cpu": model,
        "flags": [flag for flag in ("aes", "vaes", "sha_ni", "sha2") if flag in flags],
        "sha256_cpu_seconds_per_gib": sha256_cost(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / (1 << 20)),
        "kernel": platform.release(),
        "system": system.get("PRETTY_NAME", "unknown"),
        "congestion_control": pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip(),
    }


def versions(binary):
    search = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    found = {"tacdrop": _first_line(binary, "--version"), "OpenSSH": _first_line("ssh", "-V")}
    for name, words in {"gocryptfs": ["-version"], "rclone": ["version"], "proftpd": ["-v"]}.items():
        path = shutil.which(name, path=search)
        found[name] = _first_line(path, *words) if path else None
    return {name: text for name, text in found.items() if text}


def commit():
    """The commit of the working tree, with a '+' when something in it is not committed."""
    words = ["git", "-C", str(pathlib.Path(__file__).parent)]
    head = _first_line(*words, "rev-parse", "--short", "HEAD")
    changed = subprocess.run([*words, "status", "--porcelain"], capture_output=True, text=True).stdout.strip()
    return f"{head}{'+' if changed else ''}"
