"""fakesnow, which answers as Snowflake does: prints where it listens, and ends with its input."""

import json
import sys

import fakesnow

with fakesnow.server() as server:
    print(json.dumps({"host": server["host"], "port": server["port"]}), flush=True)
    sys.stdin.read()
