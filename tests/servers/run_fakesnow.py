"""Runs statements in fakesnow: a line of JSON text in, a line of JSON out ({"rows": [..]} or {"error": ".."})."""

import json
import math
import sys
import warnings

warnings.filterwarnings("ignore")

import fakesnow
import snowflake.connector


def shown(value):
    return value.hex() if isinstance(value, (bytes, bytearray)) else str(value)


def exact(value):
    """Numbers that JSON has not, and whole ones, which its readers may not hold, as text."""
    isText = type(value) is int or isinstance(value, float) and not math.isfinite(value)
    return str(value) if isText else value


with fakesnow.patch():
    cursor = snowflake.connector.connect(database="TEST", schema="PUBLIC").cursor(snowflake.connector.DictCursor)
    for line in sys.stdin:
        try:
            cursor.execute(json.loads(line))
            rows = [{name.upper(): exact(value) for name, value in row.items()} for row in cursor.fetchall()]
            answer = {"rows": rows}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer, default=shown), flush=True)
