"""A client with a large window, for `client.fetch`: reads orders (JSON) from its standard input, prints an answer.

    {"get": PATH, "to": FILE, "window": BYTES}              a whole download; answer: {"seconds": ...}
    {"offsets": [N, ...], "path": PATH, "length": BYTES}    one open, read and close for each of the offsets;
                                                            answer: {"milliseconds": [...], "sha256": [...]}
    {..., "logins": N}                                      the same in N connections, one behind the other, each timed
                                                            from before it is made

Also run by other interpreters than the bench's own: it uses nothing but asyncssh and the standard library.
"""

import asyncio, hashlib, json, sys, time

import asyncssh


async def main(orders):
    options = {
        "known_hosts": None,
        "username": orders["user"],
        "password": orders["password"],
        "client_keys": [orders["key"]] if orders["key"] else None,
        "agent_path": None,
        "encryption_algs": [orders["cipher"]],
        "compression_algs": ["none"],
    }
    if "logins" in orders:
        return await logins(orders, options)
    begin = time.monotonic()
    async with asyncssh.connect(orders["host"], orders["port"], **options) as connection:
        if "get" in orders:
            await download(connection, orders)
            return {"seconds": time.monotonic() - begin}
        async with connection.start_sftp_client() as sftp:
            return await reads(sftp, orders)


async def download(connection, orders):
    # `start_sftp_client` takes no window, the session that it opens does.
    open_session = connection.open_session
    connection.open_session = lambda *words, **more: open_session(*words, window=orders["window"], **more)
    async with connection.start_sftp_client() as sftp:
        # As much asked for at once as the window lets through.
        block = 256 << 10
        await sftp.get(orders["get"], orders["to"], block_size=block, max_requests=max(16, orders["window"] // block))


async def logins(orders, options):
    times, digests = [], []
    for _ in range(orders["logins"]):
        begin = time.monotonic()
        async with asyncssh.connect(orders["host"], orders["port"], **options) as connection:
            async with connection.start_sftp_client() as sftp, sftp.open(orders["path"], "rb") as file:
                piece = await file.read(orders["length"], orders["offsets"][0])
                times.append((time.monotonic() - begin) * 1000)
        digests.append(hashlib.sha256(piece).hexdigest())
    return {"milliseconds": times, "sha256": digests}


async def reads(sftp, orders):
    times, digests = [], []
    for offset in orders["offsets"]:
        begin = time.monotonic()
        async with sftp.open(orders["path"], "rb") as file:
            piece = await file.read(orders["length"], offset)
            times.append((time.monotonic() - begin) * 1000)
        digests.append(hashlib.sha256(piece).hexdigest())
    return {"milliseconds": times, "sha256": digests}


print(json.dumps(asyncio.run(main(json.load(sys.stdin)))))
