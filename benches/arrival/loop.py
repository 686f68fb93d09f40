"""The loop that a careful person writes: it reads a topic from where its table stands, makes columns of the
JSON, and appends each batch in one commit with the offsets, so that a record is there once. Every file is
on the disk before its commit is believed, as with Sextant.

Usage: loop.py BROKERS TOPIC TABLE BATCH
"""

import json
import os
import pathlib
import sys

import pyarrow as pa
from confluent_kafka import Consumer, TopicPartition
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

SCHEMA = pa.schema([
    ("id", pa.int64()), ("customer", pa.string()), ("total", pa.float64()), ("state", pa.string()),
    ("note", pa.string()), ("_key", pa.string()), ("_partition", pa.string()), ("_offset", pa.int64()),
    ("_timestamp", pa.timestamp("us", "UTC")),
])  # fmt: skip


def sync(path):
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def row(message):
    value = json.loads(message.value())
    value["_key"] = message.key().decode()
    value["_partition"] = f"{message.topic()}-{message.partition()}"
    value["_offset"] = message.offset()
    value["_timestamp"] = message.timestamp()[1] * 1000
    return value


def main(brokers, topic, folder, batch):
    reader = Consumer({
        "bootstrap.servers": brokers, "group.id": "loop", "enable.auto.commit": False,
        "isolation.level": "read_committed", "auto.offset.reset": "earliest",
    })  # fmt: skip
    partitions = sorted(reader.list_topics(topic).topics[topic].partitions)
    ends = {p: reader.get_watermark_offsets(TopicPartition(topic, p))[1] for p in partitions}
    known = DeltaTable(folder) if DeltaTable.is_deltatable(folder) else None
    landed = {p: known.transaction_version(f"{topic}-{p}") if known else None for p in partitions}
    starts = [TopicPartition(topic, p, 0 if landed[p] is None else landed[p] + 1) for p in partitions]
    reader.assign(starts)
    path = pathlib.Path(folder)
    while any((landed[p] if landed[p] is not None else -1) < ends[p] - 1 for p in partitions):
        messages = [message for message in reader.consume(batch, timeout=1) if not message.error()]
        if not messages:
            continue
        for message in messages:
            landed[message.partition()] = message.offset()
        marks = [Transaction(f"{topic}-{p}", at) for p, at in landed.items() if at is not None]
        before = set(path.glob("*.parquet"))
        write_deltalake(
            folder,
            pa.Table.from_pylist([row(message) for message in messages], SCHEMA),
            mode="append",
            commit_properties=CommitProperties(app_transactions=marks),
        )
        for file in set(path.glob("*.parquet")) - before:
            sync(file)
        sync(max((path / "_delta_log").glob("*.json")))
        sync(path / "_delta_log")
        sync(path)
    reader.close()


main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
