#!/usr/bin/env python3
"""Application B of the demo: shows the headers of the request it got, as a page to browsers and as text to all others.

It has no login, no session and no Redis: what it knows of the user, it was told by nginx. Usage: backend.py SOCKET
"""

import html
import pathlib
import socketserver
import sys
from http.server import BaseHTTPRequestHandler

STYLE = (pathlib.Path(__file__).parent / "style.css").read_text()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if "text/html" in self.headers.get("Accept", ""):
            self.answer("text/html", self.page())
        else:
            self.answer("text/plain", "".join(f"{name}: {value}\n" for name, value in self.received()))

    def received(self):
        """Each header line as it came, repeated ones too; a header's bytes may be UTF-8, which http.server reads as Latin-1."""
        return [(name, value.encode("latin-1").decode("utf-8", "replace")) for name, value in self.headers.items()]

    def page(self):
        rows = "".join(
            f'<tr{" class=user" if name.lower().startswith("x-user-") else ""}><th>{html.escape(name)}<td>{html.escape(value)}\n'
            for name, value in self.received()
        )
        return (
            f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{html.escape(self.path)}</title>\n<style>\n{STYLE}</style>\n'
            f'<body><p class="who">Application B · Python · knows nothing of PHP and Redis</p>\n<h1>{html.escape(self.path)}</h1>\n'
            f'<p>The request headers that reached me:</p>\n<table>\n{rows}</table>\n<p><a href="/">Back</a></p></body></html>\n'
        )

    def answer(self, kind, body):
        data = body.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind + "; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(data)

    def address_string(self):
        return "nginx"

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


if __name__ == "__main__":
    with Server(sys.argv[1], Handler) as server:
        server.serve_forever()
