#!/usr/bin/env python3
"""Puts a file and gets it back with asyncssh, which writes 64 blocks at once and out of order: SOURCE REMOTE BACK"""

import asyncio
import os
import sys

import asyncssh


async def main(source: str, remote: str, back: str) -> None:
    async with asyncssh.connect(
        os.environ["TEST_HOST"], int(os.environ["TEST_PORT"]), username=os.environ["TEST_USER"],
        password=os.environ["TEST_TOKEN"], known_hosts=None, client_keys=None, config=None, agent_path=None,
    ) as connection:
        async with connection.start_sftp_client() as sftp:
            await sftp.put(source, remote, block_size=32 * 1024, max_requests=64)
            assert await sftp.getsize(remote) == os.stat(source).st_size
            await sftp.get(remote, back, block_size=32 * 1024, max_requests=64)


asyncio.run(main(*sys.argv[1:4]))
