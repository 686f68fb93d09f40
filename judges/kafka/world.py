"""What all parts of this judge share: a broker, a project, and the stock producer and consumer."""

import atexit
import json
import os
import pathlib
import random
import shutil
import signal
import tempfile

from broker import Broker
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from deltalake import DeltaTable
from product import run

LOGIN = ("judge", "a-secret-of-the-judge")
SEED = int(os.environ.get("KAFKA_SEED", "7"))
chance = random.Random(SEED)

work = pathlib.Path(tempfile.mkdtemp(prefix="sextant-kafka-"))
atexit.register(shutil.rmtree, work, ignore_errors=True)
project = work / "project"
(project / "sources").mkdir(parents=True)
(project / "sextant.toml").write_text('[project]\nname = "kafka"\n')
broker = Broker(work / "broker", LOGIN)
atexit.register(lambda: broker.stop(signal.SIGKILL))
admin = AdminClient({"bootstrap.servers": broker.address, "log_level": 0})


def environment():
    return {k: v for k, v in os.environ.items() if k != "SEXTANT_PROJECT"}


def make_topic(name, partitions, **config):
    admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result()


def write_source(name, more="", address=None, topic=None):
    """Only builds land it, unless `more` says how often the server looks."""
    poll = "" if "poll_seconds" in more else "poll_seconds = 0\n"
    (project / "sources" / f"{name}.toml").write_text(
        f'type = "kafka"\nbrokers = ["{address or broker.address}"]\n'
        f'topic = "{topic or name}"\n{poll}{more}'
    )


def build(name, expect=0):
    return run("build", f"sources/{name}", project=project, expect=expect)


def table(name):
    return DeltaTable(str(project / ".sextant" / "tables" / f"sources-{name}"))


def rows_of(name):
    path = project / ".sextant" / "tables" / f"sources-{name}" / "_delta_log"
    return table(name).to_pyarrow_table().to_pylist() if path.exists() else []


def versions(name):
    path = project / ".sextant" / "tables" / f"sources-{name}"
    return table(name).version() if (path / "_delta_log").exists() else -1


def produce(topic, rows, producer=None):
    """Rows are (partition, key, value)."""
    sender = producer or Producer(
        {"bootstrap.servers": broker.address, "linger.ms": 5, "log_level": 0}
    )
    for partition, key, value in rows:
        sender.produce(topic, value, key=key, partition=partition)
        sender.poll(0)
    sender.flush()


def committed_log(topic, partitions):
    """All committed records by a stock consumer: {(partition, offset): (key, value)}."""
    reader = Consumer({
        "bootstrap.servers": broker.address, "group.id": "judge", "enable.auto.commit": False,
        "isolation.level": "read_committed", "enable.partition.eof": True,
        "auto.offset.reset": "earliest", "log_level": 0,
    })  # fmt: skip
    reader.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
    found, ended = {}, 0
    while ended < partitions:
        for message in reader.consume(5_000, timeout=1):
            if message.error():
                ended += 1
            else:
                place = (message.partition(), message.offset())
                found[place] = (message.key(), message.value())
    reader.close()
    return found


def place_of(row, topic, partition="_partition", offset="_offset"):
    return int(row[partition].removeprefix(f"{topic}-")), row[offset]


def payload_of(row):
    return json.loads(row["payload"])
