"""What every application here writes to the session when its user logs in.

Environment: SINCE, "date" where the session's format has dates, else "text".
"""

import os
from datetime import datetime

USER_ID = 1001


def write(session):
    session["user_id"] = USER_ID
    session["user"] = {"name": "王小明 🚀", "roles": ["admin", "editor"], "nickname": None}
    session["cart"] = {"items": [{"sku": "A-1", "quantity": 2}], "total": 19.99}
    since = "2024-02-29T13:14:15+00:00"
    session["since"] = datetime.fromisoformat(since) if os.environ["SINCE"] == "date" else since


def who(session):
    return str(session.get("user_id", "nobody"))
