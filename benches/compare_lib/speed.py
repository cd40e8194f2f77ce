"""What TCP alone does over a line: `python3 speed.py receive PORT` and `python3 speed.py send ADDRESS PORT MIB`.

The receiver reads and forgets, then says so with one octet; the sender prints MiB per second."""

import socket, sys, time

MIB = 1 << 20


def receive(port):
    with socket.create_server(("0.0.0.0", port)) as door:
        connection, _ = door.accept()
        with connection:
            room = bytearray(MIB)
            while connection.recv_into(room):
                pass
            connection.sendall(b".")


def send(address, port, mib):
    piece = bytes(MIB)
    with socket.create_connection((address, port), 60) as connection:
        begin = time.monotonic()
        for _ in range(mib):
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
        print(mib / (time.monotonic() - begin))


if __name__ == "__main__":
    receive(int(sys.argv[2])) if sys.argv[1] == "receive" else send(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
