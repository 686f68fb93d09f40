"""What in an answer is chance? Replaces ids, times near now, addresses and generated names, so that
two servers that behave alike answer the same."""

import re
import time
from datetime import datetime

STARTED = time.time()
IDS = re.compile(
    r"\b(?:tr-|m-|a-|d-|iss-|trace-)?[0-9a-f]{32}\b"
    r"|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"
)
GENERATED = re.compile(r"^[a-z]+-[a-z]+-\d{1,4}$")
DATES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
SQL = re.compile(r"(?: Error: )?\(sqlite3\..*", re.DOTALL)
SETS = re.compile(r"\{('[^{}']*'(?:, '[^{}']*')*)\}")
EXPERIMENTS = re.compile(r"mlflow-artifacts:/([^/]+)/")
# Lists that clients read as maps: the order of their entries is nobody's business.
MAPS = {"tags": "key", "params": "key", "aliases": "alias", "data.metrics": "key"}


class Values:
    """What one server's answers gave so far, and its address."""

    def __init__(self, server):
        self.url = server.url
        texts = {str(value): name for name, value in server.values.items()}
        self.long = sorted((t for t in texts if len(t) >= 8), key=len, reverse=True)
        self.names = texts
        self.experiments = {
            str(value) for name, value in server.values.items() if name.startswith("exp")
        }


def header(name, value):
    if value is None:
        return None
    if name == "allow":
        return sorted(part.strip() for part in value.split(","))
    return value.lower().replace('"', "").replace("; ", ";")


def body(request, raw, parsed, values):
    """A JSON value, or the text of an answer that is none, with what is chance replaced."""
    seen = {}
    if parsed is None:
        return text(raw.decode("utf-8", "backslashreplace"), values, seen)
    return value("", parsed, values, seen)


def value(path, found, values, seen, sort=True):
    """`path` is where the value lies in the answer, without the places in lists."""
    if isinstance(found, dict):
        return {
            key: value(f"{path}.{key}", inner, values, seen, sort) for key, inner in found.items()
        }
    if isinstance(found, list):
        for suffix, key in MAPS.items():
            if sort and path.endswith("." + suffix):
                found = sorted(found, key=lambda entry: sort_key(entry, key))
        return [value(path, inner, values, seen, sort) for inner in found]
    key = path.rsplit(".", 1)[-1]
    if isinstance(found, bool) or found is None:
        return found
    if isinstance(found, int):
        return "<now>" if near_now(found) else found
    if isinstance(found, str):
        return string(key, found, values, seen)
    return found


def sort_key(entry, key):
    return str(entry.get(key)) if isinstance(entry, dict) else str(entry)


def string(key, found, values, seen):
    if key.endswith("page_token") and found:
        return "<token>"
    if key in ("experiment_id", "experiment_ids") and found in values.experiments:
        return f"<{values.names[found]}>"
    if key in ("run_name", "name", "value") and GENERATED.match(found):
        return "<generated name>"
    return text(found, values, seen, of_message=key in ("message", "detail"))


def text(found, values, seen, of_message=False):
    for known in values.long:
        found = found.replace(known, f"<{values.names[known]}>")
    found = found.replace(values.url, "<server>").replace(values.url.split("//")[1], "<host>")
    found = EXPERIMENTS.sub(lambda at: f"mlflow-artifacts:/{experiment(at[1], values)}/", found)
    if of_message and "xperiment" in found:
        found = experiments_in(found, values, r"(?![\w.])")
    elif of_message:
        found = experiments_in(found, values, r"(?=/<)")
    # What the reference's database says of itself is no part of the interface.
    found = SQL.sub("", found)
    # Python prints a set in an order of its own.
    found = SETS.sub(lambda at: "{" + ", ".join(sorted(at[1].split(", "))) + "}", found)
    found = IDS.sub(lambda at: seen.setdefault(at[0], f"<id {len(seen) + 1}>"), found)
    if found.isdigit() and near_now(int(found)):
        return "<now>"
    return DATES.sub(lambda at: "<now>" if near_date(at[0]) else at[0], found)


def experiments_in(found, values, after):
    for one in values.experiments:
        found = re.sub(rf"(?<![\w.]){re.escape(one)}{after}", f"<{values.names[one]}>", found)
    return found


def experiment(found, values):
    return f"<{values.names[found]}>" if found in values.experiments else found


def near_now(number):
    """Is this a time of this run, in milliseconds, microseconds or nanoseconds?"""
    return any(STARTED - 60 < number / unit < time.time() + 60 for unit in (1e3, 1e6, 1e9))


def near_date(found):
    try:
        moment = datetime.fromisoformat(found.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return False
    return near_now(int(moment * 1000))
