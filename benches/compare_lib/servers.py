"""The servers that are compared. Each listens on one address, stores in a directory of its own, is ended by its id.

A server's directory is where a login begins, so a scene names files by relative paths. `pids` are the processes whose
CPU time is the server's; `finish` is what else must be done until a peer has what tacdrop gives (it is in its time).
"""

import getpass, json, os, pathlib, shutil, subprocess, time

from .system import Failure, cpu, forget_peak, free_port, needs, peak_mib, sha256, start, stop, wait_for

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
# What a bench needs beyond the defaults: all clients come from one address, 32 of them at once. The notice goes out a
# second after the last upload instead of ten, so that making and delivering it is within what is measured.
TACDROP_SETTINGS = {
    "TACDROP__LIMITS__CONNECTIONS_PER_SOURCE": "4096",
    "TACDROP__LIMITS__UNAUTHENTICATED_PER_SOURCE": "256",
    "TACDROP__LIMITS__UNAUTHENTICATED_CONNECTIONS": "256",
    "TACDROP__NOTIFY__SETTLE_SECONDS": "1",
}
# What docs/operations.md ("Memory") says of uploads: the process itself (MiB), and for what is under way the setting and a
# quarter of it. Receive windows are no part: what a window lets come is only read when there is a buffer for it.
PROCESS_MIB = 48
BUFFERS, EARLY = "buffered_plaintext_mib", 0.25
TICKET = "B-1"


def tacdrop_binary():
    named = os.environ.get("TACDROP_BIN")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    path = pathlib.Path(named) if named else target / "release" / "tacdrop"
    if not path.exists():
        raise Failure(f"{path} is missing: run 'cargo build --release', or name the binary in TACDROP_BIN.")
    return str(path)


class Server:
    name, package, user = "", "", ""

    def __init__(self, work, key, address="127.0.0.1", namespace=None):
        self.work, self.key, self.address, self.namespace = pathlib.Path(work), key, address, namespace
        self.work.mkdir(parents=True)
        self.files, self.log = self.work / "files", self.work / "log"
        self.process, self.environment = None, {}
        self.login = ["-i", str(key), "-o", "IdentitiesOnly=yes"]

    def launch(self, words, env=None):
        self.process = start(words, self.log, env, self.namespace)
        wait_for(self.process, self.port, self.log, self.namespace)

    def host_key(self):
        path = self.work / "host_key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        return path

    @property
    def pids(self):
        return [self.process.pid]

    def used(self):
        return cpu(self.pids)

    def fresh(self):
        """An empty place for the next run."""
        shutil.rmtree(self.files, ignore_errors=True)
        self.files.mkdir()

    def finish(self, names):
        """What else has to be done, and is timed. Gives CPU-seconds that `used` does not see."""
        return 0.0

    def settle(self):
        """Waits until what the run cost has been counted: children are counted once they were waited for."""
        until = time.monotonic() + 5
        while time.monotonic() < until:
            time.sleep(0.1)
            children = [list(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()) for pid in self.pids]
            if not any(children):
                return

    def digest(self, name):
        return sha256(self.files / name)

    def digests(self, directory):
        return {path.name: sha256(path) for path in (self.files / directory).iterdir()}

    def watch_memory(self):
        pass

    def peak(self):
        return None

    def stop(self):
        stop(self.process)
        self.process = None


class OpenSsh(Server):
    name, package = "OpenSSH", "openssh-server"

    def start(self):
        sshd = needs("sshd", self.package)
        self.fresh()
        self.port = free_port()
        keys, config = self.work / "authorized_keys", self.work / "sshd_config"
        shutil.copy(f"{self.key}.pub", keys)
        keys.chmod(0o600)
        config.write_text(
            f"Port {self.port}\nListenAddress {self.address}\nHostKey {self.host_key()}\nAuthorizedKeysFile {keys}\n"
            "StrictModes no\nPidFile none\nUsePAM no\nUseDNS no\nPermitRootLogin yes\nMaxStartups 256\nMaxSessions 64\n"
            f"Subsystem sftp internal-sftp -d {self.files}\n"
        )
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        self.user = getpass.getuser()
        self.launch([sshd, "-D", "-e", "-f", config])


class Gocryptfs(OpenSsh):
    """What people do for the same result: OpenSSH onto an encrypted mount, then a digest of what was stored."""

    name, package = "OpenSSH on gocryptfs + sha256sum", "gocryptfs"

    def start(self):
        program, self.fuse = needs("gocryptfs", self.package), None
        needs("fusermount", "fuse3")
        self.mount, cipher, secret = self.work / "mount", self.work / "cipher", self.work / "secret"
        for directory in (self.mount, cipher):
            directory.mkdir()
        secret.write_text("bench\n")
        subprocess.run([program, "-q", "-init", "-scryptn", "10", "-passfile", secret, cipher], check=True)
        self.fuse = start([program, "-q", "-fg", "-passfile", secret, cipher, self.mount], self.work / "gocryptfs.log")
        for _ in range(100):
            if os.path.ismount(self.mount):
                break
            time.sleep(0.05)
        else:
            tail = (self.work / "gocryptfs.log").read_text(errors="replace").strip()
            raise Failure(f"gocryptfs did not mount: {tail or 'it said nothing'}")
        self.files = self.mount / "files"
        super().start()

    @property
    def pids(self):
        return [self.process.pid, self.fuse.pid]

    def finish(self, names):
        begin = os.times()
        subprocess.run(["sha256sum", *(self.files / name for name in names)], check=True, stdout=subprocess.DEVNULL)
        end = os.times()
        return end.children_user + end.children_system - begin.children_user - begin.children_system

    def stop(self):
        super().stop()
        if self.fuse:
            for words in (["fusermount", "-u"], ["fusermount", "-uz"]):
                if not os.path.ismount(self.mount):
                    break
                subprocess.run([*words, self.mount], capture_output=True)
            stop(self.fuse)
            self.fuse = None


class Rclone(Server):
    name, package, user = "rclone serve sftp on crypt", "rclone", "bench"

    def start(self):
        program = needs("rclone", self.package)
        self.fresh()
        self.port = free_port()
        hidden = subprocess.run(
            [program, "obscure", "bench"], check=True, capture_output=True, text=True
        ).stdout.strip()
        self.variables = {
            "RCLONE_CONFIG": str(self.work / "rclone.conf"),
            "RCLONE_CONFIG_BENCH_TYPE": "crypt",
            "RCLONE_CONFIG_BENCH_REMOTE": str(self.files),
            "RCLONE_CONFIG_BENCH_PASSWORD": hidden,
        }
        (self.work / "rclone.conf").touch()
        self.launch(
            [
                program,
                "serve",
                "sftp",
                "bench:",
                "--addr",
                f"{self.address}:{self.port}",
                "--authorized-keys",
                f"{self.key}.pub",
                "--key",
                self.host_key(),
            ],
            self.variables,
        )

    def fresh(self):
        super().fresh()
        if self.process:
            # It keeps a directory's listing for minutes: start again rather than let it answer from memory.
            self.stop()
            self.start_again()

    def start_again(self):
        shutil.rmtree(self.files)
        for path in self.work.glob("host_key*"):
            path.unlink()
        self.start()

    def digest(self, name):
        words = ["rclone", "cat", f"bench:{name}"]
        cat = subprocess.Popen(words, stdout=subprocess.PIPE, env={**os.environ, **self.variables})
        found = subprocess.run(
            ["sha256sum"], stdin=cat.stdout, capture_output=True, text=True, check=True
        ).stdout.split()[0]
        cat.stdout.close()
        if cat.wait(60):
            raise Failure("'rclone cat' could not read back what rclone had stored.")
        return found


class ProFtpd(Server):
    name, package, user = "ProFTPD mod_sftp", "proftpd-core and proftpd-mod-crypto", "bench"

    def start(self):
        program = needs("proftpd", self.package)
        self.fresh()
        self.port = free_port()
        public = subprocess.run(
            ["ssh-keygen", "-e", "-m", "RFC4716", "-f", f"{self.key}.pub"], check=True, capture_output=True, text=True
        ).stdout
        keys, people, config = self.work / "keys", self.work / "people", self.work / "proftpd.conf"
        keys.write_text(public)
        people.write_text(f"bench:!:{os.geteuid()}:{os.getegid()}::{self.files}:/bin/sh\n")
        people.chmod(0o600)
        modules = pathlib.Path("/usr/lib/proftpd")
        if not (modules / "mod_sftp.so").exists():
            raise Failure("ProFTPD's mod_sftp is missing: install Debian's package proftpd-mod-crypto.")
        who = (
            f"User {getpass.getuser()}\nGroup {os.getegid()}\n"
            if os.geteuid()
            else "User root\nGroup root\nRootLogin on\n"
        )
        config.write_text(
            f"ModulePath {modules}\nLoadModule mod_sftp.c\nServerType standalone\nServerName bench\nUseIPv6 off\n"
            f"UseReverseDNS off\nDefaultAddress {self.address}\nPort {self.port}\n{who}RequireValidShell off\n"
            "MaxInstances 100\n"
            f"AuthOrder mod_auth_file.c\nAuthUserFile {people}\nPidFile {self.work}/pid\n"
            f"ScoreboardFile {self.work}/board\nWtmpLog off\nTransferLog none\nAllowOverwrite on\nSFTPEngine on\n"
            f"SFTPLog {self.work}/sftp.log\n"
            f"SFTPHostKey {self.host_key()}\n"
            f"SFTPAuthMethods publickey\nSFTPAuthorizedUserKeys file:{keys}\n"
        )
        self.launch([program, "-n", "-c", config])


class Tacdrop(Server):
    name, user = "tacdrop", TICKET

    def __init__(self, *where, settings=None, **more):
        super().__init__(*where, **more)
        self.settings, self.count = {**TACDROP_SETTINGS, **(settings or {})}, 0
        ask = self.work / "ask"
        ask.write_text('#!/bin/sh\nprintf "%s\\n" "$BENCH_TOKEN"\n')
        ask.chmod(0o700)
        self.ask = ask
        self.login = ["-o", "PubkeyAuthentication=no"]

    def run(self, *words):
        done = subprocess.run([tacdrop_binary(), "--json", *words], env=self.variables, capture_output=True, text=True)
        if done.returncode:
            raise Failure(f"'tacdrop {' '.join(words)}' failed: {done.stderr.strip()}")
        return json.loads(done.stdout or "null")

    def start(self):
        """A data directory of its own each time: versions are kept, and tmpfs is not endless."""
        self.count += 1
        self.data, self.port = self.work / f"data-{self.count}", free_port()
        self.variables = {
            **os.environ,
            **self.settings,
            "TACDROP_DATA": str(self.data),
            "TACDROP__SERVER__LISTEN": f"{self.address}:{self.port}",
        }
        self.run("organisation", "add", "PEERS", "--name", "Bench")
        self.run("engineer", "add", "bench", "--email", "bench@example.org", "--key", f"{self.key}.pub")
        token = self.run("ticket", "open", TICKET, "--organisation", "PEERS", "--engineer", "bench")["token"]
        self.environment = {"SSH_ASKPASS": str(self.ask), "SSH_ASKPASS_REQUIRE": "force", "BENCH_TOKEN": token}
        self.token, self.told = token, 0
        self.launch([tacdrop_binary(), "serve"], self.variables)

    def fresh(self):
        self.stop()
        self.start()

    def notices(self):
        return len(list((self.data / "notices").glob("*.eml")))

    def settle(self):
        """The notice of an upload is part of what it costs; downloads have none."""
        time.sleep(0.1)
        if self.expects_notice:
            until = time.monotonic() + 30
            while self.notices() <= self.told and time.monotonic() < until:
                time.sleep(0.1)
            if self.notices() <= self.told:
                raise Failure("tacdrop has made no notice of what was uploaded.")
            self.told = self.notices()

    expects_notice = True

    def _listed(self):
        return {line["path"].lstrip("/"): line["sha256"] for line in self.run("artifact", "list", TICKET)}

    def digest(self, name):
        return self._listed().get(name)

    def digests(self, directory):
        listed = self._listed()
        return {
            path.removeprefix(f"{directory}/"): sha for path, sha in listed.items() if path.startswith(f"{directory}/")
        }

    def watch_memory(self):
        forget_peak(self.process.pid)

    def peak(self):
        return peak_mib(self.process.pid)

    def stop(self):
        if self.process:
            super().stop()
            shutil.rmtree(self.data, ignore_errors=True)


def budget_mib():
    """The memory that tacdrop may use while files arrive, in MiB."""
    shown = subprocess.run(
        [tacdrop_binary(), "config", "show"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **TACDROP_SETTINGS},
    ).stdout
    for line in shown.splitlines():
        name, equals, value = line.partition(" = ")
        if equals and name == BUFFERS:
            return PROCESS_MIB + int(int(value) * (1 + EARLY))
    raise Failure(f"'tacdrop config show' does not show {BUFFERS}.")
