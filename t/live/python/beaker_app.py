"""A WSGI application with Beaker. Environment: PORT, REDIS_PORT, CONFIG (JSON: settings of Beaker)."""

import json
import os
from wsgiref.simple_server import make_server

import login
from beaker.middleware import SessionMiddleware


def app(environ, start_response):
    session = environ["beaker.session"]
    answer = "gone"
    if environ["PATH_INFO"] == "/logout":
        session.delete()
    else:
        if environ["PATH_INFO"] == "/login":
            login.write(session)
            session.save()
        answer = login.who(session)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [answer.encode()]


settings = {
    "session.type": "ext:redis",
    "session.url": f"redis://127.0.0.1:{os.environ['REDIS_PORT']}",
    "session.timeout": 3600,
    **json.loads(os.environ["CONFIG"]),
}
make_server("127.0.0.1", int(os.environ["PORT"]), SessionMiddleware(app, settings)).serve_forever()
