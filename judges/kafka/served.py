"""Does a running server land a topic by itself, tell how far it is, and put a quarantine through
again by its page?"""

import json
import signal
import time

from product import check, find, run
from server import Server
from world import admin, broker, make_topic, produce, project, rows_of, write_source

WAIT_SECONDS_MAX = 60


def sources(name):
    listed = run("data", "sources", project=project)["sources"]
    return next(source for source in listed if source["name"] == name)


def until(condition):
    """What the condition gives, once it is true; the last value when it never is."""
    end = time.monotonic() + WAIT_SECONDS_MAX
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.3)
    return value


def served():
    make_topic("live", 2)
    write_source("live", 'poll_seconds = 1\n[schema]\nn = "bigint"\n')
    produce("live", [(n % 2, None, json.dumps({"n": n})) for n in range(1_000)])
    server = Server()
    landed = until(lambda: (found := sources("live"))["rows"] == 1_000 and found)
    check(landed, "what lay in the topic lands without a build")
    produce("live", [(0, None, '{"n": 1000}'), (1, None, '{"n": "bad"}')])
    held = until(lambda: (found := sources("live")).get("waiting") == 1 and found)
    check(held, "what comes later lands too, and what does not fit waits in quarantine")
    whole = run("data", "source", "sources/live", project=project)
    ends = {part["partition"]: part["end"] for part in whole["partitions"]}
    check(ends == {"live-0": 501, "live-1": 501}, f"the ends of the partitions are known {ends}")
    check(whole["lag"] == 0, "nothing is behind")
    taken = list(find(whole["commits"], "to"))
    check(taken and max(taken) == 500, "the commits name their offsets")
    page = server.page("/sources/live")
    wanted = ("live-0", "Put through again", "must be bigint")
    check(all(word in page for word in wanted), "the page of the source shows all of it")

    write_source("live", 'poll_seconds = 1\n[schema]\nn = "text"\n')
    done = server.post("/sources/live/replay")
    check("1 went into the table" in done, "the button puts the quarantine through again")
    numbers = [row["n"] for row in rows_of("live")]
    check(sorted(numbers) == sorted([*map(str, range(1_001)), "bad"]), "every row is there once")

    admin.create_partitions([partitions_of("live", 3)])["live"].result()
    broker.stop(signal.SIGKILL)
    behind = until(lambda: (found := sources("live")).get("error") and found)
    check(behind and behind["error"]["code"] == "SXT-3040", "a broker that is gone is told")
    check("no broker of Kafka answers" in server.page("/sources"), "also on the page")
    broker.start()
    produce("live", [(2, None, '{"n": "third"}')])
    again = until(lambda: (found := sources("live"))["rows"] == 1_003 and found)
    check(again and again["error"]["over"], "when it is back, landing goes on by itself")
    server.stop()
    check(server.process.returncode == 0, "the server stops at once when it is asked to")
    (project / "sources" / "live.toml").unlink()


def partitions_of(topic, count):
    from confluent_kafka.admin import NewPartitions

    return NewPartitions(topic, count)
