"""A long line between two network namespaces, with the kernel's own TCP at both ends (Linux, root, iproute2).

    python3 -m compare_lib.line NEAR FAR --rtt MS [--mbit 1000] [--mtu 9000] [--rmem BYTES] [--wmem BYTES]

Makes the namespaces NEAR (10.78.0.1) and FAR (10.78.0.2), joined by two tun devices between which this program carries
packets: each is sent at the line's rate behind those before it and arrives half a round trip later. What waits for the
line is bounded by one bandwidth-delay product, at least 4 MiB; more is dropped, as a router does. Both ends are
namespaces, so that TCP's settings are theirs alone and nothing of the machine's is changed. Prints "ready"; SIGTERM or
SIGINT takes it down.
"""

import argparse, collections, fcntl, os, select, signal, struct, subprocess, sys, time

NEAR_ADDRESS, FAR_ADDRESS = "10.78.0.1", "10.78.0.2"
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
# What Linux gives TCP unless somebody changed it: receive up to 6 MiB, send up to 4 MiB.
STOCK = (6 << 20, 4 << 20)
LARGE = (64 << 20, 64 << 20)
AT_ONCE = 128


def quietly(*words):
    return subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def run(*words):
    done = quietly(*words)
    if done.returncode:
        raise SystemExit(f"'{' '.join(words)}' failed: {done.stderr.strip()}")


def device(name):
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return handle


def set_up(namespace, name, address, options):
    run("ip", "netns", "add", namespace)
    run("ip", "link", "set", name, "netns", namespace)
    inside = ("ip", "netns", "exec", namespace)
    run(*inside, "ip", "addr", "add", f"{address}/30", "dev", name)
    run(*inside, "ip", "link", "set", name, "mtu", str(options.mtu), "txqueuelen", "10000", "up")
    run(*inside, "ip", "link", "set", "lo", "up")
    # The second line: what one run learned of the line must not help the next.
    run(
        *inside,
        "sysctl",
        "-q",
        "-w",
        f"net.ipv4.tcp_rmem=4096 131072 {options.rmem}",
        f"net.ipv4.tcp_wmem=4096 16384 {options.wmem}",
        "net.ipv4.tcp_no_metrics_save=1",
    )


class Way:
    """One direction: what has been sent and has not arrived, and when the line is free again."""

    def __init__(self, into, rate, delay, most):
        self.into, self.rate, self.delay, self.most = into, rate, delay, most
        self.under_way, self.free_at = collections.deque(), 0.0

    def send(self, packet, now):
        starts = max(self.free_at, now)
        if (starts - now) * self.rate > self.most:
            return
        self.free_at = starts + len(packet) / self.rate
        self.under_way.append((self.free_at + self.delay, packet))

    def deliver(self, now):
        """Gives the time at which the next packet arrives."""
        under_way = self.under_way
        while under_way and under_way[0][0] <= now:
            try:
                os.write(self.into, under_way.popleft()[1])
            except OSError:
                pass
        return under_way[0][0] if under_way else None


def carry(near, far, options):
    rate, delay = options.mbit * 1e6 / 8, options.rtt / 2000
    most = max(4 << 20, rate * options.rtt / 1000)
    ways = {near: Way(far, rate, delay, most), far: Way(near, rate, delay, most)}
    while True:
        now = time.monotonic()
        due = [at for at in (way.deliver(now) for way in ways.values()) if at is not None]
        wait = max(0.0, min(due) - time.monotonic()) if due else None
        for handle in select.select(list(ways), [], [], wait)[0]:
            way = ways[handle]
            for _ in range(AT_ONCE):
                try:
                    packet = os.read(handle, 65535)
                except BlockingIOError:
                    break
                way.send(packet, time.monotonic())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("near")
    parser.add_argument("far")
    parser.add_argument("--rtt", type=float, default=100.0)
    parser.add_argument("--mbit", type=float, default=1000.0)
    parser.add_argument("--mtu", type=int, default=9000)
    parser.add_argument("--rmem", type=int, default=STOCK[0])
    parser.add_argument("--wmem", type=int, default=STOCK[1])
    options = parser.parse_args()

    def end(*_):
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    names = [f"{options.near}d", f"{options.far}d"]
    try:
        near, far = map(device, names)
        set_up(options.near, names[0], NEAR_ADDRESS, options)
        set_up(options.far, names[1], FAR_ADDRESS, options)
        print("ready", flush=True)
        carry(near, far, options)
    finally:
        for namespace in (options.near, options.far):
            quietly("ip", "netns", "del", namespace)


if __name__ == "__main__":
    main()
