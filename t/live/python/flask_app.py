"""Flask with Flask-Session. Environment: PORT, REDIS_PORT, CONFIG (JSON: settings of Flask-Session)."""

import json
import os

import flask
import flask_session
import redis

import login

app = flask.Flask(__name__)
app.config.update(
    SESSION_TYPE="redis",
    SESSION_REDIS=redis.Redis(port=int(os.environ["REDIS_PORT"])),
    **json.loads(os.environ["CONFIG"]),
)
flask_session.Session(app)


@app.get("/login")
def log_in():
    login.write(flask.session)
    return "1001"


@app.get("/who")
def who():
    return login.who(flask.session)


@app.get("/logout")
def log_out():
    flask.session.clear()
    return "gone"


app.run("127.0.0.1", int(os.environ["PORT"]))
