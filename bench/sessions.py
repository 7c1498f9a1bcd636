"""The sessions: 1000 users, each once as Express and once as PHP would store it, and the cookies that name them."""

import base64
import binascii
import hashlib
import hmac
import json
import random
import socket
import urllib.parse

COUNT = 1000
SECRET = "a secret of the benchmark"
FIRST_USER = 1001


def build(seed=1):
    """Two lists of (cookie, key, value, user id): one for Express, one for PHP; values have 300 bytes, give or take fifteen."""
    rng = random.Random(seed)
    express, php = [], []
    for user_id in range(FIRST_USER, FIRST_USER + COUNT):
        data = user(rng, user_id)
        express_id = pick(rng, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", 32)
        cookie = {"originalMaxAge": None, "expires": None, "httpOnly": True, "path": "/"}
        value = json.dumps({"cookie": cookie, "user": data, "views": 1234}, separators=(",", ":"))
        express.append(("connect.sid=" + signed(express_id), "sess:" + express_id, value, user_id))

        php_id = pick(rng, "abcdefghijklmnopqrstuvwxyz0123456789", 26)
        value = "user|" + php_serialize(data) + "views|" + php_serialize(1234)
        php.append(("PHPSESSID=" + php_id, "PHPREDIS_SESSION:" + php_id, value, user_id))
    return express, php


def user(rng, user_id):
    return {
        "id": user_id,
        "name": "User " + pick(rng, "abcdefghijklmnopqrstuvwxyz", 8),
        "email": pick(rng, "abcdefghijklmnopqrstuvwxyz", 10) + "@example.com",
        "roles": ["editor", "author"],
        "admin": False,
        "csrf": pick(rng, "0123456789abcdef", 64),
        "locale": "en_GB",
    }


def pick(rng, alphabet, length):
    return "".join(rng.choices(alphabet, k=length))


def signed(session_id):
    """The value of connect.sid: express-session signs the id with HMAC-SHA256, base64 without padding, and URL-encodes the whole."""
    digest = hmac.new(SECRET.encode(), session_id.encode(), hashlib.sha256).digest()
    return urllib.parse.quote("s:" + session_id + "." + base64.b64encode(digest).decode().rstrip("="), safe="")


def php_serialize(value):
    if value is None:
        return "N;"
    if isinstance(value, bool):
        return f"b:{int(value)};"
    if isinstance(value, int):
        return f"i:{value};"
    if isinstance(value, str):
        return f's:{len(value.encode())}:"{value}";'
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    inside = "".join(php_serialize(name) + php_serialize(item) for name, item in pairs)
    return f"a:{len(value)}:{{{inside}}}"


def load_cluster(ports, sessions):
    """Writes each session to the node of its slot; nodes have equal shares of the slots."""
    shares = [[] for _ in ports]
    for session in sessions:
        shares[binascii.crc_hqx(session[1].encode(), 0) % 16384 * len(ports) // 16384].append(session)
    for port, share in zip(ports, shares):
        load(port, share)


def load(port, sessions):
    """Writes the sessions to Redis, without an end to their life."""
    commands = b"".join(command("SET", key, value) for _, key, value, _ in sessions)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as redis:
        redis.sendall(commands)
        got = b""
        while got.count(b"\r\n") < len(sessions):
            chunk = redis.recv(65536)
            if not chunk:
                raise RuntimeError("Redis closed the connection")
            got += chunk
        if got != b"+OK\r\n" * len(sessions):
            raise RuntimeError("Redis refused a session")


def command(*words):
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
