#!/usr/bin/env python3
"""Writes written.json: values as pickle writes them by each protocol, and the JSON that each is to be read as."""
import base64
import collections
import datetime
import decimal
import json
import os
import pickle
import sys
import types
import uuid
from datetime import date, time, timedelta, timezone

models = sys.modules["app.models"] = sys.modules["app"] = types.ModuleType("app.models")


def model(cls):
    cls.__module__ = "app.models"
    setattr(models, cls.__name__, cls)
    return cls


@model
class User:
    def __init__(self, **fields):
        self.__dict__.update(fields)


@model
class Slots:
    __slots__ = ("a", "b")


@model
class Bag(dict):
    pass


@model
class Row(list):
    pass


@model
class Safe(str):
    pass


@model
class Calls:
    def __reduce__(self):
        return os.system, ("true",)


def object_that_holds_itself():
    user = User(id=7, name="é")
    user.me = [user]
    return user


def slots():
    value = Slots()
    value.b = [1]
    return value


def bag():
    value = Bag(k=1)
    value.attribute = 2
    return value


def tuple_that_holds_itself():
    value = ([],)
    value[0].append(value)
    return value


def default():
    value = collections.defaultdict(list)
    value["k"].append(1)
    return value


long = "x" * 300
shared = ["s"]
newfoundland = timezone(timedelta(hours=-3, minutes=-30))
odd = timezone(timedelta(seconds=1, microseconds=5), "odd")
leap = datetime.datetime(2024, 2, 29, 13, 14, 15)

# Name, value, what it is to be read as, the first protocol that writes it.
VALUES = [
    ("singletons", [None, True, False], [None, True, False], 0),
    ("integers", n := [0, 255, 256, 65535, 65536, -1, 2**31, -(2**31), 2**63, -(2**63), 2**64, -(2**64)], n, 0),
    ("long integers", n := [2**2039, -(2**2039), 2**2040 - 1], n, 0),
    ("integer that is too long", [10**617, 1], [None, 1], 0),
    ("floats", [1.5, -0.0, 1e300, 5e-324], [1.5, -0.0, 1e300, 5e-324], 0),
    ("floats that are no numbers", [float("inf"), float("-inf"), float("nan")], ["Infinity", "-Infinity", "NaN"], 0),
    ("text", n := ["", "a\\\n'\"\0\x1aé王🚀", long, "\\u0041"], n, 0),
    ("lone surrogates", ["x\ud800y", "\udc00"], ["x\ufffdy", "\ufffd"], 0),
    ("bytes", [b"", b"text", b"\0\xffbin", long.encode()], ["", "text", "base64:AP9iaW4=", long], 0),
    ("bytearrays", [bytearray(), bytearray(b"\xff"), bytearray(b"a")], ["", "base64:/w==", "a"], 0),
    ("tuples", ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)), [[], [1], [1, 2], [1, 2, 3], [1, 2, 3, 4]], 0),
    ("sets", [set(), {5}, frozenset(), frozenset({6})], [[], [5], [], [6]], 0),
    ("datetime", [leap, leap.replace(microsecond=5, fold=1)], ["2024-02-29T13:14:15", "2024-02-29T13:14:15.000005"], 0),
    (
        "aware datetime",
        [leap.replace(tzinfo=timezone.utc), leap.replace(tzinfo=newfoundland), leap.replace(tzinfo=odd)],
        ["2024-02-29T13:14:15+00:00", "2024-02-29T13:14:15-03:30", "2024-02-29T13:14:15+00:00:01.000005"],
        0,
    ),
    ("date", [date(2024, 2, 29), date.min], ["2024-02-29", "0001-01-01"], 0),
    ("time", [time(1, 2, 3), time(1, 2, 3, 4, timezone.utc)], ["01:02:03", "01:02:03.000004+00:00"], 0),
    ("time that stands twice", [time(23, fold=1)], ["23:00:00"], 0),
    ("timedelta", [timedelta(1, 2, 3), timedelta(hours=-1)], ["P1DT00H00M02.000003S", "-P0DT01H00M00S"], 0),
    ("greatest timedelta", [timedelta.max], ["P999999999DT23H59M59.999999S"], 0),
    ("timezone", [timezone.utc, newfoundland, odd], ["UTC", "UTC-03:30", "odd"], 0),
    ("Decimal", [decimal.Decimal("19.90"), decimal.Decimal("NaN")], ["19.90", "NaN"], 0),
    ("UUID", [uuid.UUID(int=1)], ["00000000-0000-0000-0000-000000000001"], 0),
    ("UUID of many bits", [uuid.UUID("f" * 32)], ["ffffffff-ffff-ffff-ffff-ffffffffffff"], 0),
    ("OrderedDict", collections.OrderedDict([("z", 1), ("a", 2)]), {"z": 1, "a": 2}, 0),
    ("defaultdict", default(), {"k": [1]}, 0),
    ("keys", {1: 1, -2.5: 2, 1e16: 3, None: 4, False: 5, b"\xff": 6}, {"1": 1, "-2.5": 2, "1e+16": 3, "null": 4, "false": 5, "base64:/w==": 6}, 0),
    ("keys that are tuples", {(): 1, (1,): 2, ("a'", None, (True, 2.0)): 3}, {"()": 1, "(1,)": 2, "('a\\'', None, (True, 2.0))": 3}, 0),
    ("keys that are dates", {date(2024, 2, 29): 1}, {"2024-02-29": 1}, 0),
    ("keys that are objects", {User(): 1, "a": 2}, {"a": 2}, 0),
    ("what stands twice", [shared, shared], [["s"], ["s"]], 0),
    ("object", object_that_holds_itself(), {"id": 7, "name": "é", "me": [None]}, 0),
    ("object without fields", [User()], [{}], 0),
    ("object with slots", slots(), {"b": [1]}, 2),
    ("subclass of dict", bag(), {"k": 1, "attribute": 2}, 0),
    ("subclass of list", [Row([1, 2])], [[1, 2]], 0),
    ("subclass of str, as its constructor's argument", [Safe("x")], [None], 2),
    ("subclass of str, as its value", [Safe("x")], ["x"], -1),
    ("call", [Calls(), 1], [None, 1], 0),
    ("class", [User, os.system], [None, None], 0),
    ("tuple that holds itself", tuple_that_holds_itself(), [[None]], 0),
]

rows = []
for name, value, expected, first in VALUES:
    # -1: the protocols up to 1 only.
    for protocol in range(first, 6) if first >= 0 else range(2):
        written = pickle.dumps(value, protocol)
        row = {"name": f"{name}, protocol {protocol}", "expected": expected}
        rows.append(row | {"base64": base64.b64encode(written).decode()})
with open(os.path.join(os.path.dirname(__file__), "written.json"), "w") as file:
    file.write("[" + ",\n".join(json.dumps(row) for row in rows) + "]\n")
