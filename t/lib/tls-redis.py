"""A Redis behind TLS that says who came: to SNI and to sessions that are gone on with a real one is no witness.

tls-redis.py PORT CERTIFICATE KEY LOG [VERSION] answers GET with a session for each key "sess:…<n>" and writes a line to LOG for
each connection: the name that the client asked for, whether it went on with a session, the version of TLS.
"""

import re
import socket
import ssl
import sys
import threading

port, certificate, key, log = sys.argv[1:5]
names = {}


def named(connection, name, _context):
    names[id(connection)] = name


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
context.sni_callback = named
if len(sys.argv) > 5:
    context.maximum_version = ssl.TLSVersion[sys.argv[5]]


def serve(plain):
    with context.wrap_socket(plain, server_side=True) as client:
        with open(log, "a") as out:
            out.write(f"name={names.pop(id(client), None)} reused={client.session_reused} version={client.version()}\n")
        data = b""
        while more := client.recv(65536):
            data += more
            if name := re.match(rb"\*3\r\n\$6\r\nCLIENT\r\n\$7\r\nSETNAME\r\n\$\d+\r\n\S+\r\n", data):
                data = data[name.end():]
                client.sendall(b"+OK\r\n")
            while match := re.match(rb"\*2\r\n\$3\r\nGET\r\n\$\d+\r\n(\S*?)(\d*)\r\n", data):
                data = data[match.end():]
                value = b'{"user":"u%d"}' % int(match[2] or 0)
                client.sendall(b"$%d\r\n%s\r\n" % (len(value), value))


listener = socket.create_server(("127.0.0.1", int(port)), backlog=128)
while True:
    accepted, _ = listener.accept()
    threading.Thread(target=serve, args=(accepted,), daemon=True).start()
