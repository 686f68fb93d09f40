"""Do the ADBC driver for Flight SQL and the Flight client of pyarrow, which know nothing of Sextant,
read its tables, and is everything else refused?"""

import json
import os
import pathlib
import re
import subprocess
import time

import pyarrow
from adbc_driver_flightsql import DatabaseOptions, dbapi
from adbc_driver_manager import DatabaseError
from deltalake import DeltaTable
from pyarrow import flight

from product import ARTIFACTS, BINARY, PROJECT, check, close, run

log = (ARTIFACTS / "server.log").read_text()
url = re.search(r"grpc://127\.0\.0\.1:\d+", log).group(0)
key = (PROJECT / ".sextant" / "admin.key").read_text().strip()
wrong = "sxt_" + "0" * 8 + "_" + "0" * 72


def connect(url=url, **options):
    """A connection; what is given stands for the driver's options."""
    return dbapi.connect(url, db_kwargs=options or None, autocommit=True)


def refused(what, wanted, work):
    """Whether work fails, and says so with these words."""
    try:
        work()
    except (DatabaseError, flight.FlightError, pyarrow.ArrowException) as error:
        told = str(error)
        return check(all(word in told for word in wanted), f"{what}: {told[:160]}")
    return check(False, f"{what}: nothing was refused")


def query(sql, **options):
    """A whole result."""
    with connect(**options) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetch_arrow_table()


# Who may come in.
password = {"username": "anybody", "password": key}
token = {DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {key}"}
for name, options in {"no key on loopback": {}, "a name and a key": password, "a token": token}.items():
    check(query("select 1 as one", **options).to_pylist() == [{"one": 1}], f"{name} opens the door")
for name, options in {
    "a wrong password": {"username": "anybody", "password": wrong},
    "a wrong token": {DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {wrong}"},
}.items():
    refused(name, ["SXT-7203"], lambda options=options: query("select 1", **options))

# Every table equals what deltalake reads from its folder.
for table in run("data", "tables")["tables"]:
    folder = PROJECT / ".sextant" / table["path"]
    theirs = DeltaTable(str(folder), version=table["delta_version"]).to_pyarrow_table()
    ours = query(f"select * from {table['names'][0]}")
    check(ours.column_names == theirs.column_names, f"{table['asset']}: the same columns")
    order = [(name, "ascending") for name in ours.column_names if not pyarrow.types.is_nested(ours[name].type)]
    same = ours.cast(theirs.schema).sort_by(order).to_pylist() == theirs.sort_by(order).to_pylist()
    check(same and ours.num_rows == table["rows"], f"{table['asset']}: deltalake reads the same {ours.num_rows} rows")

# What is here.
with connect() as connection:
    listed = connection.adbc_get_objects(depth="all").read_all().to_pylist()
    schemas = {schema["db_schema_name"]: schema for schema in listed[0]["catalog_db_schemas"]}
    found = {
        table["table_name"]: [column["column_name"] for column in table["table_columns"]]
        for table in schemas["public"]["db_schema_tables"]
    }
    sections = next(table for table in run("data", "tables")["tables"] if "sections" in table["names"])
    check([catalog["catalog_name"] for catalog in listed] == ["sextant"], "there is one catalog")
    check(found.get("sections") == [column["name"] for column in sections["columns"]], "tables are listed with columns")
    some = connection.adbc_get_objects(depth="tables", table_name_filter="sect%").read_all().to_pylist()
    names = {t["table_name"] for s in some[0]["catalog_db_schemas"] for t in s["db_schema_tables"]}
    check(names == {"sections"}, f"a pattern finds {names}")
    check(connection.adbc_get_table_types() == ["TABLE"], "there is one kind of table")
    schema = connection.adbc_get_table_schema("sections", db_schema_filter="public")
    check(schema.names == found["sections"], "the schema of a table is told")
    check(connection.adbc_get_info()["vendor_name"] == "Sextant", "the server says its name")

# Parameters.
with connect() as connection, connection.cursor() as cursor:
    for number in (0, 1, 3):
        cursor.execute("select count(*) from sections where ordinal >= $1", (number,))
        ours = cursor.fetchone()[0]
        theirs = run("data", "query", f"select count(*) as n from sections where ordinal >= {number}")["rows"][0]
        theirs = theirs["n"] if isinstance(theirs, dict) else theirs[0]
        check(ours == theirs, f"a parameter of {number} leaves {ours} rows")
    cursor.execute("select $1 || '!' as text, $2::double precision as number", ("é", 1.5))
    check(cursor.fetchone() == ("é!", 1.5), "text and numbers are passed")
    refused("a query without its values", ["SXT-7210"], lambda: cursor.execute("select $1 + 1"))

    # Errors leave the connection as it was.
    refused("a wrong column", ["SXT-3003", "line 1, column 8"], lambda: cursor.execute("select wrong from sections"))
    refused("a wrong word", ["SXT-3003"], lambda: cursor.execute("selec 1"))
    for statement in ("drop table sections", "insert into sections select * from sections", "create table x as select 1"):
        refused(statement, ["SXT-3"], lambda statement=statement: cursor.execute(statement))
    refused("bulk ingestion", ["SXT-7204"], lambda: cursor.adbc_ingest("sections", pyarrow.table({"a": [1]}), mode="append"))
    refused("many rows of values", ["SXT-7204"], lambda: cursor.executemany("select $1", [(1,), (2,)]))
    cursor.execute("select 7")
    check(cursor.fetchone() == (7,), "the connection is usable after all of these")

# A large result comes in pieces, and the server does not hold it.
pid = json.loads((PROJECT / ".sextant" / "server.json").read_text())["pid"]


def memory():
    """What the server holds, in bytes."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) << 10


rows = 300_000
large = f"select n, repeat('x', 1000) as t from generate_series(1, {rows}) as numbers(n)"
with connect() as connection, connection.cursor() as cursor:
    before = memory()
    cursor.execute(large)
    pieces, total, most = 0, 0, 0
    for batch in cursor.fetch_record_batch():
        pieces, total = pieces + 1, total + sum(batch["n"].to_pylist())
        most = max(most, memory() - before) if pieces % 16 == 0 else most
    check(total == rows * (rows + 1) // 2, f"{rows} rows of 1000 bytes arrive whole in {pieces} pieces")
    check(pieces > 100 and most < 150 << 20, f"the server grows by {most >> 20} MiB for them")

# Readers that go away let go of what they held: more of them than may run at once.
endless = "select n, repeat('x', 1000) as t from generate_series(1, 1000000000000) as numbers(n)"
for number in range(40):
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute(endless)
        cursor.fetch_record_batch().read_next_batch()
for wait in range(100):  # an engine stops at its next break
    try:
        check(query("select 1 as one").num_rows == 1, "40 readers that went away block nobody")
        break
    except DatabaseError:
        time.sleep(0.1)
else:
    check(False, "40 readers that went away block nobody")

# The other stock client: another gRPC, the same protocol.
with flight.connect(url) as client:
    header = client.authenticate_basic_token("anybody", key)
    check(header == (b"authorization", f"Bearer {key}".encode()), "pyarrow logs in with a name and a key")
    options = flight.FlightCallOptions(headers=[header])

    def command(name, fields=b""):
        """A command of Flight SQL as its bytes: what pyarrow itself has no words for."""
        url = b"type.googleapis.com/arrow.flight.protocol.sql." + name.encode()
        size = lambda number: bytes([number]) if number < 128 else bytes([number & 127 | 128, number >> 7])
        return b"\x0a" + size(len(url)) + url + b"\x12" + size(len(fields)) + fields

    def text(sql):
        return command("CommandStatementQuery", b"\x0a" + bytes([len(sql)]) + sql.encode())

    info = client.get_flight_info(flight.FlightDescriptor.for_command(text("select 7 as seven")), options)
    ticket = info.endpoints[0].ticket
    check(info.schema.names == ["seven"], "pyarrow reads the columns before the rows")
    check(client.do_get(ticket, options).read_all().to_pylist() == [{"seven": 7}], "pyarrow reads the rows")
    stranger = flight.FlightCallOptions(headers=[(b"authorization", f"Bearer {wrong}".encode())])
    refused("a ticket in the wrong hands", ["SXT-7203"], lambda: client.do_get(ticket, stranger).read_all())
    forged = flight.Ticket(command("TicketStatementQuery", b"\x0a\x13drop table sections"))
    refused("a ticket that was forged", ["SXT-3"], lambda: client.do_get(forged, options).read_all())
    refused("a path", ["SXT-7211"], lambda: client.get_flight_info(flight.FlightDescriptor.for_path("a"), options))
    check(len(list(client.list_actions(options))) == 2, "the actions are listed")
    check(list(client.list_flights(options=options)) == [], "there are no flights to list")

# A server that asks everybody for a key, over the copy of the demo that may be changed.
spare = pathlib.Path(os.environ["SEXTANT_SPARE"])
environment = {name: value for name, value in os.environ.items() if name != "SEXTANT_PROJECT"}
said = ARTIFACTS / "flight-strict.log"
with said.open("w") as log:
    arguments = [BINARY, "serve", "--port", "0", "--flight-port", "0", "--require-auth"]
    strict = subprocess.Popen(arguments, cwd=spare, env=environment, stdout=log, stderr=log)
try:
    found = None
    for _ in range(300):
        if found := re.search(r"grpc://127\.0\.0\.1:\d+", said.read_text()):
            break
        time.sleep(0.1)
    strict_url = found.group(0)
    strict_key = (spare / ".sextant" / "admin.key").read_text().strip()
    refused("no key where one is needed", ["SXT-7203"], lambda: query("select 1", url=strict_url))
    refused("the key of another server", ["SXT-7203"], lambda: query("select 1", url=strict_url, **password))
    mine = {"username": "anybody", "password": strict_key}
    check(query("select 1 as one", url=strict_url, **mine).num_rows == 1, "its own key opens it")
finally:
    strict.terminate()
    check(strict.wait(timeout=60) == 0, "the server with an open port stops when it is told to")

exposed = subprocess.run(
    [BINARY, "serve", "--host", "0.0.0.0", "--port", "0", "--flight-port", "0", "--require-auth"],
    cwd=spare, env=environment, capture_output=True, text=True, timeout=120, check=False,
)
check(exposed.returncode == 2 and "SXT-7201" in exposed.stderr, "it does not listen where others can reach it")

close(at_least=42)
