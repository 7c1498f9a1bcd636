"""A client for what must be counted exactly: wrk ends by the clock."""

import re
import socket

from servers import Failure


def ask(port, cookies, connections, pipelined=1):
    """Sends a request for each cookie, so many at a time on each connection, on all connections at once."""
    clients = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(connections)]
    for first in range(0, len(cookies), connections * pipelined):
        shares = [cookies[start : start + pipelined] for start in range(first, first + connections * pipelined, pipelined)]
        for client, share in zip(clients, shares):
            client.sendall("".join(f"GET / HTTP/1.1\r\nHost: bench\r\nCookie: {cookie}\r\n\r\n" for cookie in share).encode())
        for client, share in zip(clients, shares):
            read(client, len(share))
    for client in clients:
        client.close()


def read(client, answers):
    got, at = b"", 0
    while answers:
        head = re.compile(rb"HTTP/1.1 200 .*?\r\nContent-Length: (\d+)\r\n.*?\r\n\r\n", re.DOTALL).match(got, at)
        if head and head.end() + int(head[1]) <= len(got):
            at, answers = head.end() + int(head[1]), answers - 1
            continue
        chunk = client.recv(65536)
        if not chunk or not (got + chunk).startswith(b"HTTP/1.1 200 "):
            raise Failure(f"not answered 200: {(got + chunk)[:200]}")
        got += chunk
