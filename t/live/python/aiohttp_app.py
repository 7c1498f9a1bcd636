"""aiohttp with aiohttp-session. Environment: PORT, REDIS_PORT."""

import os

import login
import redis.asyncio
from aiohttp import web
from aiohttp_session import get_session, setup
from aiohttp_session.redis_storage import RedisStorage


async def log_in(request):
    login.write(await get_session(request))
    return web.Response(text="1001")


async def who(request):
    return web.Response(text=login.who(await get_session(request)))


async def log_out(request):
    (await get_session(request)).invalidate()
    return web.Response(text="gone")


async def make_app():
    app = web.Application()
    setup(app, RedisStorage(redis.asyncio.Redis(port=int(os.environ["REDIS_PORT"])), max_age=3600))
    app.add_routes([web.get("/login", log_in), web.get("/who", who), web.get("/logout", log_out)])
    return app


web.run_app(make_app(), host="127.0.0.1", port=int(os.environ["PORT"]), print=None)
