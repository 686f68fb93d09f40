"""Prints rows a second, the time between commits and the memory of each way in. It asserts nothing but
that every record is there."""

import contextlib
import http.client
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import confluent_kafka
import deltalake
import pyarrow
from broker import Broker
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from deltalake import DeltaTable

BINARY = os.environ["SEXTANT_BIN"]
HERE = pathlib.Path(__file__).parent
TOPIC = "orders"
PARTITIONS = 4
BATCH = 50_000
TURNS = 5
PUSH_BATCH = 1_000
SCHEMA = '[schema]\nid = "bigint"\ncustomer = "text"\ntotal = "double"\nstate = "text"\nnote = "text"\n'


def record(number):
    return json.dumps({
        "id": number, "customer": f"customer {number % 5000}", "total": number / 8,
        "state": ("new", "paid", "sent")[number % 3],
        "note": f"left at the door of house {number % 977}, with a card that says thank you",
    })  # fmt: skip


def fill(brokers, count):
    sender = Producer({
        "bootstrap.servers": brokers, "linger.ms": 20, "compression.type": "lz4",
        "queue.buffering.max.messages": 200_000, "log_level": 0,
    })  # fmt: skip
    for number in range(count):
        while True:
            try:
                sender.produce(TOPIC, record(number), key=str(number), partition=number % PARTITIONS)
                break
            except BufferError:
                sender.poll(0.1)
    sender.flush()


def measured(command, cwd):
    """When it began, its seconds, those of processor time (its own and the kernel's for it), and the most
    megabytes that it had in memory."""
    started = time.time()
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL)
    megabytes = 0
    while True:
        # What `wait4` tells of memory begins with that of this process.
        with contextlib.suppress(OSError, IndexError):
            megabytes = max(megabytes, memory(process))
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            break
        time.sleep(0.01)
    if status != 0:
        sys.exit(f"{command[0]} ended with {status}")
    took, busy = time.time() - started, (usage.ru_utime, usage.ru_stime)
    return started, took, busy, megabytes


def pauses(folder, started):
    """Seconds from the beginning to the first commit, and between each two after it."""
    times = sorted(file.stat().st_mtime for file in (folder / "_delta_log").glob("*.json"))
    return sorted(b - a for a, b in zip([started, *times], times))


def at(values, share):
    return values[min(len(values) - 1, int(len(values) * share))]


def tell(name, count, seconds, busy, megabytes, between):
    print(
        f"{name:28} {count / seconds:9,.0f} rows/s  {seconds:6.1f} s, {busy[0]:.1f} + {busy[1]:.1f} s of processor time  "
        f"{megabytes:5.0f} MB  "
        f"{len(between):3} commits, {at(between, 0.5):.2f} s p50, {at(between, 0.99):.2f} s p99"
    )


def whole(folder, count):
    """The offsets of all records, each once."""
    found = DeltaTable(str(folder)).to_pyarrow_table(columns=["_partition", "_offset"]).to_pylist()
    places = {(row["_partition"], row["_offset"]) for row in found}
    if len(found) != count or len(places) != count:
        sys.exit(f"{folder}: {len(found)} rows, {len(places)} places, {count} were sent")


def project(work, name, source):
    folder = work / name
    (folder / "sources").mkdir(parents=True)
    (folder / "sextant.toml").write_text(f'[project]\nname = "{name}"\n')
    (folder / "sources" / "orders.toml").write_text(source + SCHEMA)
    return folder


def read_through(brokers, count):
    """Reads the topic once, so that nobody pays for a broker that has just started."""
    reader = Consumer({
        "bootstrap.servers": brokers, "group.id": "bench", "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
    })  # fmt: skip
    reader.assign([TopicPartition(TOPIC, p, 0) for p in range(PARTITIONS)])
    seen = 0
    while seen < count:
        seen += sum(not message.error() for message in reader.consume(BATCH, timeout=1))
    reader.close()


def ours(work, brokers, turn):
    source = f'type = "kafka"\nbrokers = ["{brokers}"]\ntopic = "{TOPIC}"\n'
    folder = project(work, f"ours{turn}", source)
    cost = measured([BINARY, "build", "--quiet", "--json"], folder)
    return folder / ".sextant" / "tables" / "sources-orders", cost


def theirs(work, brokers, turn):
    folder = work / f"theirs{turn}"
    command = [sys.executable, HERE / "loop.py", brokers, TOPIC, folder, str(BATCH)]
    return folder, measured(command, work)


def kafka(work, count):
    broker = Broker(work / "broker", ("bench", "bench"))
    try:
        admin = AdminClient({"bootstrap.servers": broker.address, "log_level": 0})
        admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result()
        fill(broker.address, count)
        print(f"Kafka to Delta: {count:,} records of {len(record(count))} bytes, {PARTITIONS} partitions")
        read_through(broker.address, count)
        ratios = []
        for turn in range(TURNS):
            ways = [(ours, "sextant build"), (theirs, "confluent-kafka + deltalake")]
            spent = {}
            for way, name in ways if turn % 2 == 0 else reversed(ways):
                folder, (started, seconds, busy, megabytes) = way(work, broker.address, turn)
                whole(folder, count)
                between = pauses(folder, started)
                tell(name, count, seconds, busy, megabytes, between)
                spent[way] = seconds, busy
            ratios.append(
                f"{spent[theirs][0] / spent[ours][0]:.1f} × "
                f"({sum(spent[theirs][1]) / sum(spent[ours][1]):.1f} ×)"
            )
        print(f"{'ratio (of processor time)':28} {', '.join(ratios)}")
    finally:
        broker.stop()


def send(address, bodies, times):
    host, port = address.split(":")
    connection = http.client.HTTPConnection(host, int(port))
    for body in bodies:
        started = time.perf_counter()
        connection.request("POST", "/ingest/orders", body, {"Content-Type": "application/x-ndjson"})
        reply = connection.getresponse()
        reply.read()
        if reply.status != 200:
            sys.exit(f"a push was answered with {reply.status}")
        times.append(time.perf_counter() - started)
    connection.close()


def memory(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def push(work, count, writers):
    folder = project(work, f"push{writers}", 'type = "push"\n')
    server = subprocess.Popen(
        [BINARY, "serve", "--port", "0"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    note = folder / ".sextant" / "server.json"
    while not note.exists():
        time.sleep(0.05)
    address = json.loads(note.read_text())["addr"]
    bodies = [
        "\n".join(record(number) for number in range(first, first + PUSH_BATCH)).encode()
        for first in range(0, count, PUSH_BATCH)
    ]
    times = []
    threads = [
        threading.Thread(target=send, args=(address, bodies[one::writers], times)) for one in range(writers)
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    table = folder / ".sextant" / "tables" / "sources-orders"
    landed = 0
    while landed < count:
        time.sleep(0.1)
        if (table / "_delta_log").exists():
            landed = sum(part["num_records"] for part in actions(table))
    until = time.perf_counter() - started
    megabytes = memory(server)
    server.terminate()
    server.wait()
    times.sort()
    print(
        f"{f'HTTP, {writers} writers':28} {count / seconds:9,.0f} rows/s acknowledged, "
        f"{at(times, 0.5) * 1e3:.0f} ms p50, {at(times, 0.99) * 1e3:.0f} ms p99; "
        f"all in the table after {until:.1f} s; {megabytes:.0f} MB"
    )


def actions(table):
    return pyarrow.table(DeltaTable(str(table)).get_add_actions(flatten=True)).to_pylist()


def main(count):
    version = subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=True)
    model = next(
        line.split(":")[1].strip()
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    )
    print(
        f"{version.stdout.strip()}, Kafka 3.9.1, confluent-kafka {confluent_kafka.__version__}, deltalake "
        f"{deltalake.__version__}, pyarrow {pyarrow.__version__}, Python {platform.python_version()}"
    )
    print(f"{os.cpu_count()} cores of {model}; load before: {os.getloadavg()[0]:.1f}")
    work = pathlib.Path(tempfile.mkdtemp(prefix="sextant-bench-"))
    try:
        kafka(work, count)
        print(f"HTTP to Delta: {count // 5:,} records in requests of {PUSH_BATCH:,}")
        for writers in (1, 4):
            push(work, count // 5, writers)
    finally:
        shutil.rmtree(work)


main(int(sys.argv[1]) if len(sys.argv) > 1 else 500_000)
