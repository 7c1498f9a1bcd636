"""Starlette with starsessions. Environment: PORT, REDIS_PORT."""

import os

import login
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starsessions import SessionAutoloadMiddleware, SessionMiddleware
from starsessions.stores.redis import RedisStore


async def log_in(request):
    login.write(request.session)
    return PlainTextResponse("1001")


async def who(request):
    return PlainTextResponse(login.who(request.session))


async def log_out(request):
    request.session.clear()
    return PlainTextResponse("gone")


app = Starlette(
    routes=[Route("/login", log_in), Route("/who", who), Route("/logout", log_out)],
    middleware=[
        Middleware(
            SessionMiddleware,
            store=RedisStore(f"redis://127.0.0.1:{os.environ['REDIS_PORT']}"),
            cookie_https_only=False,
            lifetime=3600,
        ),
        Middleware(SessionAutoloadMiddleware),
    ],
)
uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")
