"""Does a table equal the log of a real topic exactly, whatever is killed in between? The records are
produced by confluent-kafka, the table is read by deltalake and duckdb, and the sets are compared."""

import argparse
import json
import os
import signal
import subprocess
import time

import duckdb
from avro_records import avro
from confluent_kafka import Consumer, Producer, TopicPartition
from faults import faults
from product import BINARY, check, close
from served import served
from world import (
    LOGIN, SEED, admin, broker, build, chance, committed_log, environment, make_topic, payload_of,
    place_of, produce, project, rows_of, table, versions, write_source,
)  # fmt: skip

PARTITIONS = 3
KILLS = int(os.environ.get("KAFKA_KILLS", "16"))
TRANSACTIONS = 200
RECORDS_EACH = 1_000


def value_of(number):
    bad = number % 97 == 0
    return json.dumps({"n": "bad" if bad else number, "name": f"customer {number}"})


def fill():
    """Transactions of many records, some of them aborted; gives the numbers that were committed."""
    sender = Producer({
        "bootstrap.servers": broker.address, "transactional.id": "judge", "linger.ms": 5,
        "compression.type": "zstd", "log_level": 0,
    })  # fmt: skip
    sender.init_transactions()
    committed, aborted = set(), set()
    for first in range(0, TRANSACTIONS * RECORDS_EACH, RECORDS_EACH):
        numbers = range(first, first + RECORDS_EACH)
        sender.begin_transaction()
        produce(
            "orders", [(n % PARTITIONS, str(n), value_of(n)) for n in numbers], producer=sender
        )
        if chance.random() < 0.15:
            sender.abort_transaction()
            aborted.update(numbers)
        else:
            sender.commit_transaction()
            committed.update(numbers)
    # The last transaction is aborted: control records are the last offsets of the first builds.
    sender.begin_transaction()
    produce("orders", [(p, "x", value_of(10**9 + p)) for p in range(PARTITIONS)], producer=sender)
    sender.abort_transaction()
    return committed, aborted


def kill_builds():
    """Kills builds at random moments, sooner after one that was through, and the broker once."""
    killed, ended, seconds_max = 0, 0, 2.0
    for attempt in range(KILLS):
        process = subprocess.Popen(
            [BINARY, "build", "sources/orders", "--json"],
            cwd=project,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if attempt == KILLS // 2:
            time.sleep(0.3)
            broker.stop(signal.SIGKILL)
            broker.start()
        try:
            process.wait(chance.uniform(0.02, seconds_max))
            ended += 1
            seconds_max = max(0.1, seconds_max / 2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
        # More arrives while nobody reads.
        numbers = range(10**7 + attempt * 10_000, 10**7 + (attempt + 1) * 10_000)
        produce("orders", [(n % PARTITIONS, str(n), value_of(n)) for n in numbers])
    return killed, ended


def exact():
    make_topic("orders", PARTITIONS)
    write_source("orders", '[schema]\nn = "bigint"\nname = "text"\n')
    committed, aborted = fill()
    killed, ended = kill_builds()
    print(f"   seed {SEED}: {killed} builds killed, {ended} ended before, the broker killed once")
    build("orders")
    log = committed_log("orders", PARTITIONS)
    check(killed >= KILLS // 4, f"at least a quarter of {KILLS} builds were killed ({killed})")
    check(versions("orders") >= 2, f"it landed in several commits ({versions('orders') + 1})")
    rows, held = rows_of("orders"), rows_of("orders__quarantine")
    good = [(place_of(row, "orders"), row["_key"], row["n"]) for row in rows]
    bad = [(place_of(row, "orders", "partition", "offset"), payload_of(row)) for row in held]
    places = [entry[0] for entry in good] + [entry[0] for entry in bad]
    check(len(places) == len(set(places)), f"no record is there twice ({len(places)} rows)")
    check(set(places) == set(log), f"the places are those of the log ({len(log)} records)")
    same = all(
        log[where][0].decode() == key and json.loads(log[where][1])["n"] == number
        for where, key, number in good
    )
    check(same, "every row has the key and the value of its record")
    same = all(log[where][1].decode() == payload["value"] for where, payload in bad)
    check(bad and same, f"the quarantine has the damaged ones as they arrived ({len(bad)})")
    landed = {number for _, _, number in good}
    check(not landed & aborted, f"nothing of {len(aborted)} aborted records is there")
    check(aborted, "some were aborted")
    wanted = {n for n in committed if n % 97}
    check(wanted <= landed, f"all of {len(wanted)} good committed records are there")
    files = duckdb.read_parquet(table("orders").file_uris())
    counts = "count(*), count(distinct (_partition, _offset)), sum(n)"
    sums = duckdb.sql(f"select {counts} from files").fetchall()[0]
    check(sums == (len(good), len(good), sum(landed)), f"duckdb counts the same {sums}")
    top = [max(o for (at, o) in log if at == p) for p in range(PARTITIONS)]
    found = [
        table("orders").transaction_version(f"sextant:sources/orders:orders-{p}")
        for p in range(PARTITIONS)
    ]
    check(found == top, f"the commit carries the last offset of each partition {found}")
    before = versions("orders")
    build("orders")
    check(versions("orders") == before, "a second build adds nothing")


def compaction():
    make_topic(
        "state", 1, **{
            "cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01",
            "max.compaction.lag.ms": "100",
        },
    )  # fmt: skip
    rows = [(0, str(n % 50), json.dumps({"n": n})) for n in range(2_000)]
    produce("state", rows)
    time.sleep(0.5)
    produce("state", [(0, "last", json.dumps({"n": 2_000}))])
    until = time.monotonic() + 40
    while len(log := committed_log("state", 1)) > 1_000 and time.monotonic() < until:
        time.sleep(1)
    check(len(log) < 1_000, f"the broker has compacted the topic ({len(log)} of 2001 are left)")
    write_source("state")
    build("state")
    offsets = {row["_offset"] for row in table("state").to_pyarrow_table().to_pylist()}
    left = {offset for _, offset in committed_log("state", 1)}
    check(left <= offsets, "what is left has landed, over the gaps")


def retention():
    make_topic("short", 1)
    write_source("short")
    produce("short", [(0, None, '{"n":1}'), (0, None, '{"n":2}')])
    build("short")
    produce("short", [(0, None, '{"n":3}'), (0, None, '{"n":4}')])
    place = TopicPartition("short", 0, 3)
    admin.delete_records([place])[place].result()
    failed = build("short", expect=5)
    check("SXT-3043" in json.dumps(failed), "records that are gone stop the build")
    write_source("short", 'on_lost = "skip"\ngroup = "lag"\n')
    build("short")
    numbers = sorted(row["n"] for row in table("short").to_pyarrow_table().to_pylist())
    check(numbers == [1, 2, 4], f"with on_lost = skip it goes on {numbers}")
    reader = Consumer({"bootstrap.servers": broker.address, "group.id": "lag"})
    at = reader.committed([TopicPartition("short", 0)], timeout=10)[0].offset
    reader.close()
    check(at == 4, "the group shows how far the table is")


def errors():
    write_source("missing")
    check("SXT-3041" in json.dumps(build("missing", expect=4)), "an unknown topic is named as such")
    security = '[security]\nsasl = "plain"\nusername_env = "JUDGE_USER"\npassword_env = "JUDGE_PASS"\n'
    make_topic("signed", 1)
    produce("signed", [(0, None, '{"n":1}')])
    write_source("signed", security, address=broker.login_address)
    os.environ.update(JUDGE_USER=LOGIN[0], JUDGE_PASS="wrong")
    check("SXT-3042" in json.dumps(build("signed", expect=7)), "a wrong password is refused")
    os.environ.update(JUDGE_PASS=LOGIN[1])
    build("signed")
    check([row["n"] for row in rows_of("signed")] == [1], "with the right one it lands")
    secret = LOGIN[1].encode()
    files = [path for path in project.rglob("*") if path.is_file()]
    check(not any(secret in path.read_bytes() for path in files), "the password is stored nowhere")
    broker.stop()
    started = time.monotonic()
    failed = json.dumps(build("short", expect=6))
    seconds = time.monotonic() - started
    check("SXT-3040" in failed, f"no broker is said as such ({seconds:.0f} s)")


words = argparse.ArgumentParser(description="Judges sources of type kafka.")
words.add_argument("parts", nargs="*", help="only these parts")
words.add_argument("--faults", type=int, metavar="N", help="only N faults, one after another")
words.add_argument("--seconds", type=int, default=100, help="and no more after so long")
said = words.parse_args()
if said.faults:
    faults(said.faults, said.seconds)
    close(at_least=8)
# The last part stops the broker.
parts = {
    "exact": exact, "compaction": compaction, "retention": retention, "served": served,
    "avro": avro, "faults": lambda: faults(100, said.seconds), "errors": errors,
}  # fmt: skip
for name, part in parts.items():
    if not said.parts or name in said.parts:
        started = time.monotonic()
        part()
        print(f"   {name}: {time.monotonic() - started:.0f} s")
close(at_least=1 if said.parts else 50)
