"""Does Avro land as it was written? The stock serialiser and a stock registry write it, with logical
types, unions and nested records; then the schema grows, breaks, and the registry goes away."""

import contextlib
import datetime
import decimal
import io
import json
import uuid

from confluent_kafka import Producer
from confluent_kafka.serialization import MessageField, SerializationContext

# The client's own libraries warn of each other when they are imported.
with contextlib.redirect_stderr(io.StringIO()):
    from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
    from confluent_kafka.schema_registry.avro import AvroSerializer
from product import check, run
from registry import Registry
from world import broker, build, make_topic, payload_of, project, rows_of, write_source

UTC = datetime.timezone.utc
LINE = {"type": "record", "name": "Line", "fields": [
    {"name": "sku", "type": "string"}, {"name": "count", "type": "int"}]}  # fmt: skip
FIELDS = [
    {"name": "id", "type": "long"},
    {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
    {"name": "day", "type": {"type": "int", "logicalType": "date"}},
    {"name": "placed", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "seen", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "ref", "type": {"type": "string", "logicalType": "uuid"}},
    {"name": "note", "type": ["null", "string"], "default": None},
    {"name": "paid", "type": "boolean"},
    {"name": "weight", "type": "double"},
    {"name": "raw", "type": "bytes"},
    {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["NEW", "SENT"]}},
    {"name": "lines", "type": {"type": "array", "items": LINE}},
    {"name": "tags", "type": {"type": "map", "values": "string"}},
]  # fmt: skip
OFF = {"auto.register.schemas": True, "normalize.schemas": False}


def schema(fields, name="Order"):
    return json.dumps({"type": "record", "name": name, "namespace": "shop", "fields": fields})


def order(number):
    return {
        "id": number, "total": decimal.Decimal(number * 7 - 50).scaleb(-2),
        "day": datetime.date(2026, 1, 1) + datetime.timedelta(days=number),
        "placed": datetime.datetime(2026, 11, 23, 10, 0, 0, number, UTC),
        "seen": datetime.datetime(1969, 12, 31, 23, 59, 59, 999_000, UTC),
        "ref": uuid.UUID(int=number), "note": None if number % 2 else f"grüße {number}",
        "paid": number % 3 == 0, "weight": number / 4, "raw": bytes([number % 256, 0, 255]),
        "state": "NEW" if number % 2 else "SENT",
        "lines": [{"sku": f"s{number}", "count": -number}], "tags": {"k": "v"},
    }  # fmt: skip


def same(row, wanted):
    return (
        row["id"] == wanted["id"] and row["total"] == wanted["total"] and row["day"] == wanted["day"]
        and row["placed"] == wanted["placed"] and row["seen"] == wanted["seen"]
        and row["ref"] == str(wanted["ref"]) and row["note"] == wanted["note"]
        and row["paid"] == wanted["paid"] and row["weight"] == wanted["weight"]
        and row["raw"] == wanted["raw"] and row["state"] == wanted["state"]
        and json.loads(row["lines"]) == wanted["lines"] and json.loads(row["tags"]) == wanted["tags"]
    )  # fmt: skip


class Sender:
    """The stock serialiser in front of the stock producer."""

    def __init__(self, client, topic):
        self.client, self.topic = client, topic
        self.producer = Producer({"bootstrap.servers": broker.address, "log_level": 0})

    def send(self, text, values):
        write = AvroSerializer(self.client, text, conf=OFF)
        context = SerializationContext(self.topic, MessageField.VALUE)
        self.send_bytes([write(value, context) for value in values])

    def send_bytes(self, many):
        for one in many:
            self.producer.produce(self.topic, one, partition=0)
        self.producer.flush()


def avro():
    registry = Registry()
    client = SchemaRegistryClient({"url": registry.url})
    make_topic("shop", 1)
    write_source("shop", f'format = "avro"\nregistry = "{registry.url}"\n')
    sender = Sender(client, "shop")
    orders = [order(number) for number in range(300)]
    sender.send(schema(FIELDS), orders)
    build("shop")
    rows = sorted(rows_of("shop"), key=lambda row: row["_offset"])
    every = len(rows) == len(orders) and all(map(same, rows, orders))
    check(every, f"all {len(orders)} records land with every type as it was written")

    more = [*FIELDS, {"name": "country", "type": ["null", "string"], "default": None}]
    sender.send(schema(more), [order(300) | {"country": "FR"}])
    build("shop")
    by_id = {row["id"]: row for row in rows_of("shop")}
    grown = by_id[300]["country"] == "FR" and by_id[0]["country"] is None
    check(grown, "a field that was added is a new column")

    # A type that does not go with the column, under a subject of its own so that nobody refuses it.
    client.set_compatibility("shop-value", "NONE")
    other = [{"name": "id", "type": "string"}, *FIELDS[1:]]
    sender.send(schema(other), [order(301) | {"id": "three hundred and one"}])
    sender.send_bytes([b"\x01no avro", b"\x00\x7f\xff\xff\xff\x02", b"\x00"])
    build("shop")
    held = {row["offset"]: row["rule"] for row in rows_of("shop__quarantine")}
    wanted = {301: "type", 302: "magic", 303: "schema", 304: "magic"}
    check(held == wanted, f"what cannot be read waits in quarantine with its reason {held}")
    check(len(rows_of("shop")) == 301, "and nothing else was touched")

    references(client, sender)
    away(registry, client, sender)


def references(client, sender):
    """A schema that refers to one of another subject."""
    money = {"type": "record", "name": "Money", "namespace": "shop", "fields": [
        {"name": "cents", "type": "long"}]}  # fmt: skip
    client.register_schema("money", Schema(json.dumps(money), "AVRO"))
    text = schema([*FIELDS, {"name": "price", "type": "shop.Money"}])
    refers = Schema(text, "AVRO", [SchemaReference("shop.Money", "money", 1)])
    write = AvroSerializer(client, refers, conf=OFF)
    context = SerializationContext(sender.topic, MessageField.VALUE)
    sender.send_bytes([write(order(305) | {"price": {"cents": 995}}, context)])
    build("shop")
    found = [row["price"] for row in rows_of("shop") if row["id"] == 305]
    check(found == ['{"cents":995}'], f"a schema that refers to another one is read {found}")


def away(registry, client, sender):
    """The registry is down: what is known lands, what is new waits for it, nothing is set aside."""
    before = len(rows_of("shop__quarantine"))
    new = schema([*FIELDS, {"name": "late", "type": ["null", "int"], "default": None}])
    write = AvroSerializer(client, new, conf=OFF)
    context = SerializationContext(sender.topic, MessageField.VALUE)
    late = write(order(306) | {"late": 1}, context)
    registry.stop()
    write_source("shop", f'format = "avro"\nregistry = "{registry.url}"\n[schema]\nid = "text"\n')
    done = run("data", "replay", "sources/shop", project=project)
    check(done["passed"] == 1, f"a replay needs no registry for the schemas that it knows {done}")
    sender.send_bytes([late])
    failed = json.dumps(build("shop", expect=6))
    check("SXT-3045" in failed, "a schema that is not known stops the build: the registry is away")
    held = rows_of("shop__quarantine")
    check(len(held) == before, "and sends no record to quarantine for that")
    check(payload_of(held[-1]) is not None, "what was set aside is there as it arrived")
    (project / "sources" / "shop.toml").unlink()
