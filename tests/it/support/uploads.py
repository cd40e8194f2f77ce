#!/usr/bin/env python3
"""Uploads in the ways that clients have, made of asyncssh: uploads.py CASE ARGUMENT...

put SOURCE TARGET              from start to end, 64 writes at once
resume SOURCE TARGET           from where STAT says, or the start
filepart SOURCE TARGET         as WinSCP: to TARGET.filepart from where STAT says, without the flag to append; renamed at the end
several VERB SOURCE TARGET...  put or resume, one after the other; says "acked TARGET" after each
blocks SOURCE TARGET HOW       64 blocks in a mixed order, 8 at a time. HOW: whole; die (the last one and half of the others, then
                               the client is gone); holes (the same, then CLOSE); fill (the other ones, then CLOSE)
sync SOURCE TARGET             everything and fsync@openssh.com, says "synced", and stays
two SOURCE TARGET              two handles on one file, each writes half; what is written after the first CLOSE is another version
quota TARGET BYTES             how many bytes of zeros are taken until a write or the CLOSE is refused
many DIRECTORY COUNT           COUNT files of one byte, f00000 and so on, 32 at once
stream TARGET BYTES            says how long CLOSE took, in milliseconds

Host, port, user and token are in TEST_HOST, TEST_PORT, TEST_USER, TEST_TOKEN. Refusals are printed as the server said them, exit code 1."""

import asyncio
import os
import random
import sys
import time

import asyncssh
from asyncssh import FXF_CREAT, FXF_TRUNC, FXF_WRITE

STEP = 32 * 1024
BLOCKS = 64


async def size_of(sftp, path: str) -> int:
    try:
        return (await sftp.stat(path)).size or 0
    except asyncssh.SFTPNoSuchFile:
        return 0


async def write_from(file, source: str, start: int, end: int | None = None, at_once: int = 64) -> None:
    """Writes source[start:end] where it belongs, some writes ahead of their answers."""
    end = os.stat(source).st_size if end is None else end
    waiting: set[asyncio.Task] = set()
    with open(source, "rb") as read:
        read.seek(start)
        while start < end:
            piece = read.read(min(STEP, end - start))
            waiting.add(asyncio.ensure_future(file.write(piece, start)))
            start += len(piece)
            if len(waiting) >= at_once:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for one in done:
                    one.result()
    for one in waiting:
        await one


async def opened(sftp, path: str, flags: int):
    return await sftp.open(path, flags, encoding=None, block_size=0)


async def upload(sftp, source: str, target: str, start: int) -> None:
    flags = FXF_WRITE | FXF_CREAT | (0 if start else FXF_TRUNC)
    file = await opened(sftp, target, flags)
    await write_from(file, source, start)
    await file.close()


async def put(sftp, source: str, target: str) -> None:
    await upload(sftp, source, target, 0)


async def resume(sftp, source: str, target: str) -> None:
    await upload(sftp, source, target, await size_of(sftp, target))


async def filepart(sftp, source: str, target: str) -> None:
    part = f"{target}.filepart"
    await upload(sftp, source, part, await size_of(sftp, part))
    await sftp.rename(part, target)


async def several(sftp, *words: str) -> None:
    for verb, source, target in zip(words[::3], words[1::3], words[2::3]):
        await (put if verb == "put" else resume)(sftp, source, target)
        print(f"acked {target}", flush=True)


async def blocks(sftp, source: str, target: str, how: str) -> None:
    size = os.stat(source).st_size
    edges = [size * number // BLOCKS for number in range(BLOCKS + 1)]
    order = list(range(BLOCKS - 1))
    random.Random(64).shuffle(order)
    # The first half leaves holes behind whatever the last block makes the file's length look like; one hole is at the start.
    order.remove(0)
    order.append(0)
    half = [BLOCKS - 1] + order[: BLOCKS // 2]
    rest = order[BLOCKS // 2 :]
    chosen = {"whole": half + rest, "die": half, "holes": half, "fill": rest}[how]
    file = await opened(sftp, target, FXF_WRITE | FXF_CREAT | (0 if how == "fill" else FXF_TRUNC))
    queue = iter(chosen)

    async def worker() -> None:
        for number in queue:
            await write_from(file, source, edges[number], edges[number + 1], at_once=4)

    await asyncio.gather(*(worker() for _ in range(8)))
    if how == "die":
        print("gone", flush=True)
        os._exit(9)
    await file.close()


async def sync(sftp, source: str, target: str) -> None:
    file = await opened(sftp, target, FXF_WRITE | FXF_CREAT | FXF_TRUNC)
    await write_from(file, source, 0)
    await file.fsync()
    print("synced", flush=True)
    await asyncio.sleep(600)


async def two(sftp, source: str, target: str) -> None:
    size = os.stat(source).st_size
    first = await opened(sftp, target, FXF_WRITE | FXF_CREAT | FXF_TRUNC)
    second = await opened(sftp, target, FXF_WRITE)
    third = size // 3
    await asyncio.gather(
        write_from(first, source, 0, third), write_from(second, source, third, 2 * third))
    await first.close()
    await write_from(second, source, 2 * third)
    await second.close()


async def quota(sftp, target: str, size: str) -> None:
    file = await opened(sftp, target, FXF_WRITE | FXF_CREAT | FXF_TRUNC)
    piece, taken = bytes(1 << 18), 0
    try:
        while taken < int(size):
            # 16 writes of 256 KiB ahead.
            outcome = await asyncio.gather(
                *(file.write(piece, taken + number * len(piece)) for number in range(16)), return_exceptions=True)
            for one in outcome:
                if isinstance(one, BaseException):
                    raise one
            taken += 16 * len(piece)
        await file.close()
    finally:
        print(taken, flush=True)


async def many(sftp, directory: str, count: str) -> None:
    await sftp.mkdir(directory)
    numbers = iter(range(int(count)))

    async def worker() -> None:
        for number in numbers:
            file = await opened(sftp, f"{directory}/f{number:05}", FXF_WRITE | FXF_CREAT | FXF_TRUNC)
            await file.write(b"x", 0)
            await file.close()

    await asyncio.gather(*(worker() for _ in range(32)))


async def stream(sftp, target: str, size: str) -> None:
    piece, left, at = os.urandom(1 << 18), int(size), 0
    file = await opened(sftp, target, FXF_WRITE | FXF_CREAT | FXF_TRUNC)
    waiting: set[asyncio.Task] = set()
    while left:
        now = min(left, len(piece))
        waiting.add(asyncio.ensure_future(file.write(piece[:now], at)))
        at, left = at + now, left - now
        if len(waiting) >= 16:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
    for one in waiting:
        await one
    started = time.monotonic()
    await file.close()
    print(round((time.monotonic() - started) * 1000), flush=True)


async def main(case: str, *args: str) -> None:
    known = {"put": put, "resume": resume, "filepart": filepart, "several": several, "blocks": blocks, "sync": sync,
             "two": two, "quota": quota, "many": many, "stream": stream}
    async with asyncssh.connect(
        os.environ["TEST_HOST"], int(os.environ["TEST_PORT"]), username=os.environ["TEST_USER"],
        password=os.environ["TEST_TOKEN"], known_hosts=None, client_keys=None, config=None, agent_path=None,
        encryption_algs=["aes128-gcm@openssh.com"],
    ) as connection:
        async with connection.start_sftp_client() as sftp:
            await known[case](sftp, *args)


try:
    asyncio.run(main(*sys.argv[1:]))
except (asyncssh.Error, OSError) as error:
    sys.exit(f"{error}")
