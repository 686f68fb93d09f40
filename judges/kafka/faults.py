"""Does the table equal the log after many faults of many kinds, one after another, while records come
and go into transactions that are committed and aborted?"""

import hashlib
import json
import signal
import subprocess
import threading
import time
from collections import Counter

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import NewPartitions
from product import BINARY, check, run
from proxy import Proxy
from server import Server
from world import (
    SEED, admin, broker, chance, committed_log, environment, make_topic, payload_of, place_of,
    project, rows_of, write_source,
)  # fmt: skip

TOPIC = "stream"
PARTITIONS = 3
RECORDS_EACH = 50


class Writer(threading.Thread):
    """Sends transactions until it is told to stop, through restarts of the broker."""

    def __init__(self):
        super().__init__(daemon=True)
        self.partitions = PARTITIONS
        self.over = threading.Event()
        self.transactions = 0

    def run(self):
        while not self.over.is_set():
            try:
                self.send()
            except KafkaException:
                # The transaction is unknown to us, not to the log, which is what we compare with.
                time.sleep(0.5)

    def send(self):
        sender = Producer({
            "bootstrap.servers": broker.address, "transactional.id": "writer", "linger.ms": 2,
            "log_level": 0, "transaction.timeout.ms": 10_000,
        })  # fmt: skip
        sender.init_transactions(30)
        number = 0
        while not self.over.is_set():
            sender.begin_transaction()
            for _ in range(RECORDS_EACH):
                number += 1
                value = {"n": "bad" if number % 97 == 0 else number, "text": "x" * (number % 300)}
                sender.produce(TOPIC, json.dumps(value), partition=number % self.partitions)
            if number % 11 == 0:
                sender.abort_transaction(30)
            else:
                sender.commit_transaction(30)
            self.transactions += 1
            time.sleep(0.02)


class Run:
    """The faults, and what they happen to."""

    def __init__(self):
        self.proxy = Proxy(broker.proxied, broker.behind)
        self.server = None
        self.counts = Counter()

    def serve(self):
        if self.server is None:
            self.server = Server(wait=False)

    def kill_server(self):
        self.serve()
        time.sleep(chance.uniform(0.1, 1.5))
        self.server.stop(signal.SIGKILL)
        self.server = None

    def kill_build(self):
        if self.server is not None:
            self.server.stop(signal.SIGKILL)
            self.server = None
        process = subprocess.Popen(
            [BINARY, "build", f"sources/{TOPIC}", "--json"],
            cwd=project,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(chance.uniform(0.05, 1.0))
            self.counts["a build that ended before"] += 1
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def drop_connections(self):
        self.serve()
        time.sleep(chance.uniform(0.05, 0.5))
        self.proxy.drop()

    def cut_answer(self):
        self.serve()
        self.proxy.cut_after = chance.randrange(1, 2_000)
        time.sleep(chance.uniform(0.1, 0.5))

    def slow_connection(self):
        self.serve()
        self.proxy.delay = chance.uniform(0.05, 0.4)
        time.sleep(chance.uniform(0.3, 1.0))
        self.proxy.delay = 0.0

    def kill_broker(self):
        self.serve()
        broker.stop(chance.choice([signal.SIGKILL, signal.SIGTERM]))
        time.sleep(chance.uniform(0.0, 1.0))
        broker.start()

    def one(self):
        kinds = {
            self.kill_server: 34, self.kill_build: 22, self.drop_connections: 20,
            self.cut_answer: 12, self.slow_connection: 9, self.kill_broker: 3,
        }  # fmt: skip
        fault = chance.choices(list(kinds), weights=list(kinds.values()))[0]
        fault()
        self.counts[fault.__name__.replace("_", " ")] += 1

    def settle(self):
        """No more faults: whoever was killed is gone, and one build finishes."""
        self.proxy.delay, self.proxy.cut_after = 0.0, None
        if self.server is not None:
            self.server.stop()
            self.server = None
        run("build", f"sources/{TOPIC}", project=project)


def digest(value):
    return hashlib.sha256(value).digest()


def compare(partitions):
    log = committed_log(TOPIC, partitions)
    rows, held = rows_of(TOPIC), rows_of(f"{TOPIC}__quarantine")
    found = {}
    twice = 0
    for row in rows:
        place = place_of(row, TOPIC)
        twice += place in found
        found[place] = {"n": row["n"], "text": row["text"]}
    for row in held:
        place = place_of(row, TOPIC, "partition", "offset")
        twice += place in found
        found[place] = json.loads(payload_of(row)["value"])
    check(twice == 0, f"no record is there twice ({len(rows)} rows, {len(held)} in quarantine)")
    missing, extra = set(log) - set(found), set(found) - set(log)
    check(not missing, f"none of {len(log)} committed records is missing ({len(missing)})")
    check(not extra, f"nothing is there that the log has not ({len(extra)})")
    same = all(json.loads(log[place][1]) == value for place, value in found.items())
    check(same, "every record has the value that the log has")
    check(held, "some are in quarantine, as they should be")


def faults(wanted, seconds):
    make_topic(TOPIC, PARTITIONS)
    schema = '[schema]\nn = "bigint"\ntext = "text"\n'
    write_source(TOPIC, f"poll_seconds = 1\n{schema}", address=broker.proxied)
    world, writer = Run(), Writer()
    writer.start()
    started, done, grown = time.monotonic(), 0, False
    while done < wanted and time.monotonic() - started < seconds:
        world.one()
        done += 1
        # Partitions that are added while records land.
        if not grown and done >= min(wanted, 100) // 2:
            more = NewPartitions(TOPIC, PARTITIONS + 2)
            admin.create_partitions([more])[TOPIC].result()
            grown, writer.partitions = True, PARTITIONS + 2
    took = time.monotonic() - started
    writer.over.set()
    writer.join(60)
    world.settle()
    counts = ", ".join(f"{count} × {word}" for word, count in world.counts.most_common())
    print(f"   seed {SEED}: {done} faults in {took:.0f} s: {counts}")
    print(f"   {writer.transactions} transactions of {RECORDS_EACH} records were written meanwhile")
    check(done >= min(wanted, 30), f"there were faults enough ({done})")
    check(writer.transactions > 10, "records came all the time")
    compare(PARTITIONS + 2 if grown else PARTITIONS)
    before = len(rows_of(TOPIC))
    run("build", f"sources/{TOPIC}", project=project)
    check(len(rows_of(TOPIC)) == before, "a further build adds nothing")
    even = run("doctor", project=project)
    check("does not add up" not in json.dumps(even), "the account of the source is even")
    (project / "sources" / f"{TOPIC}.toml").unlink()
