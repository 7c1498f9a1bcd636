"""The sessions, as Express or as PHP would store them, and the cookies that name them."""

import base64
import binascii
import bisect
import hashlib
import hmac
import itertools
import json
import random
import socket
import time
import urllib.parse

SECRET = "a secret of the benchmark"
FIRST_USER = 1001
AT_ONCE = 10000  # so many are written to Redis before its answers are read


def build(framework, count, size, seed=1):
    """(cookie, key, value) of each session; values have `size` bytes, give or take a few, 300 at least."""
    rng = random.Random(seed)
    cookie, prefix, write, new_id = FRAMEWORKS[framework]
    short = size - len(write(user("")))
    template = write(user("." * max(0, short - 20)) if short > 20 else user(""))
    for user_id in range(FIRST_USER, FIRST_USER + count):
        value = template.replace(str(ANY_USER), str(user_id)).replace(ANY_TOKEN, f"{rng.getrandbits(256):064x}")
        session_id = new_id(rng)
        yield cookie(session_id), prefix + session_id, value


# What each session has of its own; texts have one length, so that what is written around them holds for all.
ANY_USER = 987654321
ANY_TOKEN = "token" + "-" * 59


def user(about):
    data = {
        "id": ANY_USER,
        "name": "User Someone",
        "email": "some.one11@example.com",
        "roles": ["editor", "author"],
        "admin": False,
        "csrf": ANY_TOKEN,
        "locale": "en_GB",
    }
    return {**data, "about": about} if about else data


def express_value(data):
    cookie = {"originalMaxAge": None, "expires": None, "httpOnly": True, "path": "/"}
    return json.dumps({"cookie": cookie, "user": data, "views": 1234}, separators=(",", ":"))


def php_value(data):
    return "user|" + php_serialize(data) + "views|" + php_serialize(1234)


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


# How each names a session in its cookie, the prefix of its key, how it writes one, and its ids.
FRAMEWORKS = {
    "express": (
        lambda session_id: "connect.sid=" + signed(session_id), "sess:", express_value,
        lambda rng: base64.urlsafe_b64encode(rng.getrandbits(192).to_bytes(24, "big")).decode(),
    ),
    "php": (lambda session_id: "PHPSESSID=" + session_id, "PHPREDIS_SESSION:", php_value, lambda rng: f"{rng.getrandbits(104):026x}"),
}  # fmt: skip


def routes(framework, sessions, server):
    """As load() takes them: what "session_redis_route learn" has written of these sessions."""
    prefix = FRAMEWORKS[framework][1]
    for cookie, key, _ in sessions:
        digest = hashlib.sha256(key.removeprefix(prefix).encode()).hexdigest()[:32]
        yield cookie, f"srr:{digest}", f"{server} {int(time.time())} 864000"


def load(ports, sessions):
    """Writes the sessions, without an end to their life, each to the node of its slot; nodes have equal shares of the slots, as redis-cli deals them out."""
    last_slots = [round((number + 1) * 16384 / len(ports) - 1) for number in range(len(ports))]
    nodes = [socket.create_connection(("127.0.0.1", port), timeout=60) for port in ports]
    for some in iter(lambda: list(itertools.islice(sessions, AT_ONCE)), []):
        shares = [[] for _ in nodes]
        for _, key, value in some:
            shares[bisect.bisect_left(last_slots, binascii.crc_hqx(key.encode(), 0) % 16384)].append(command("SET", key, value))
        for redis, share in zip(nodes, shares):
            redis.sendall(b"".join(share))
            expect(redis, b"+OK\r\n" * len(share))
    for redis in nodes:
        redis.close()


def expect(redis, answer):
    got = b""
    while len(got) < len(answer):
        chunk = redis.recv(65536)
        if not chunk:
            raise RuntimeError("Redis closed the connection")
        got += chunk
    if got != answer:
        raise RuntimeError(f"Redis refused a session: {got.replace(answer[:5], b'')[:100]}")


def command(*words):
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
