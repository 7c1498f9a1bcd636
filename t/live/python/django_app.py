"""Django whose sessions are in a cache in Redis; the login is that of django.contrib.auth.

Environment: PORT, REDIS_PORT, CACHE (JSON: BACKEND, KEY_PREFIX, VERSION, OPTIONS), ENGINE (cache or cached_db).
"""

import json
import os
from wsgiref.simple_server import make_server

from django.conf import settings

settings.configure(
    SECRET_KEY="of-no-matter-here",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    MIGRATION_MODULES={"auth": None, "contenttypes": None, "sessions": None},
    SESSION_ENGINE=f"django.contrib.sessions.backends.{os.environ['ENGINE']}",
    CACHES={
        "default": {"LOCATION": f"redis://127.0.0.1:{os.environ['REDIS_PORT']}/0", **json.loads(os.environ["CACHE"])}
    },
    USE_TZ=True,
)

import django  # noqa: E402

django.setup()

from django.contrib import auth  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402

import login as session_data  # noqa: E402


def login(request):
    auth.login(request, auth.get_user_model().objects.get(), backend="django.contrib.auth.backends.ModelBackend")
    session_data.write(request.session)
    return HttpResponse("1001")


def who(request):
    return HttpResponse(session_data.who(request.session) if request.user.is_authenticated else "nobody")


def logout(request):
    auth.logout(request)
    return HttpResponse("gone")


urlpatterns = [path("login", login), path("who", who), path("logout", logout)]

call_command("migrate", run_syncdb=True, verbosity=0)
auth.get_user_model().objects.create_user("alice", id=session_data.USER_ID)
make_server("127.0.0.1", int(os.environ["PORT"]), get_wsgi_application()).serve_forever()
