"""Can readers of Delta that know nothing of Sextant read its tables, and do they see the same rows?
Also after deletes, merges, compaction and the removal of old versions?"""

import os
import pathlib

import duckdb
import polars
from deltalake import DeltaTable

from product import PROJECT, check, close, run

listed = run("data", "tables")
tables = listed["tables"] if isinstance(listed, dict) else listed
check(len(tables) >= 3, "the demo has tables")


def first(result):
    """The only value of a query's only row."""
    row = result["rows"][0]
    return row[0] if isinstance(row, list) else row["n"]


for table in tables:
    asset = table["asset"]
    folder = PROJECT / ".sextant" / table["path"]
    if not (folder / "_delta_log").is_dir():
        check(False, f"{asset} is a Delta table at {folder}")
        continue
    delta = DeltaTable(str(folder), version=table["delta_version"])
    rows = delta.to_pyarrow_table()
    check(rows.num_rows == table["rows"], f"{asset}: deltalake reads {table['rows']} rows")

    # DuckDB reads the Parquet files that the log names, without any Delta library.
    files = duckdb.read_parquet([str(folder / path) for path in delta.file_uris()])
    name = table["names"][0]
    ours = first(run("data", "query", f"select count(*) as n from {name}"))
    theirs = duckdb.sql("select count(*) from files").fetchall()[0][0]
    check(ours == theirs, f"{asset}: `data query` counts {ours}, DuckDB {theirs}")

    names = [column["name"] for column in table["columns"]]
    check(rows.column_names == names, f"{asset}: the columns {', '.join(names)}")

    # One aggregate over each text, so that values and not only counts are compared.
    for field in rows.schema:
        if str(field.type) in ("string", "large_string", "string_view"):
            query = f'select coalesce(sum(length("{field.name}")), 0) as n from '
            ours = first(run("data", "query", query + name))
            theirs = duckdb.sql(query + "files").fetchall()[0][0]
            check(int(ours) == int(theirs), f"{asset}: {theirs} characters in {field.name}")

# A table of the user's own, in the copy of the demo that may be changed.
SPARE = pathlib.Path(os.environ["SEXTANT_SPARE"])


def sql(statement):
    return run("sql", statement, "--limit", 10000, project=SPARE)


def readers(version=None):
    """What each reader sees of the table: its rows in order."""
    folder = SPARE / ".sextant" / "tables" / "tables-judged"
    delta = DeltaTable(str(folder), version=version)
    files = [str(folder / path) for path in delta.file_uris()]
    frame = polars.read_delta(str(folder), version=version)
    columns = ("id", "word", "price")
    return {
        "deltalake": sorted(tuple(row[c] for c in columns) for row in delta.to_pyarrow_table().to_pylist()),
        "polars": sorted(frame.select(columns).rows()),
        "duckdb": sorted(duckdb.read_parquet(files).select(*columns).fetchall()),
    }


def same(what, version=None):
    source = "judged" if version is None else f"version_of('judged', {version})"
    ours = sorted(map(tuple, sql(f"select id, word, price from {source}")["rows"]))
    for reader, theirs in readers(version).items():
        check(ours == theirs, f"{what}: {reader} sees our {len(ours)} rows")


made = sql("create table judged as select value as id, 'w' || value as word, value * 0.5 as price "
           "from generate_series(1, 1000) as t (value)")
same("made")
for step, statement in {
    "inserted": "insert into judged values (2001, 'new', 1.5), (2002, null, null)",
    "deleted": "delete from judged where id % 3 = 0",
    "updated": "update judged set price = price * 2 where id < 100",
    "merged": "merge into judged as j using (select value as id from generate_series(995, 1005) as t "
              "(value)) as s on j.id = s.id when matched then delete "
              "when not matched then insert (id, word, price) values (s.id, 'merged', 0.0)",
    "inserted again": "insert into judged values (3001, 'late', 9.25)",
}.items():
    sql(statement)
    same(step)
run("data", "tag", "kept", "judged@1", project=SPARE)
compacted = run("data", "compact", "judged", project=SPARE)
check(compacted["unchanged"], "compaction keeps the version's id")
same("compacted")
run("data", "zorder", "judged", "price", project=SPARE)
same("in z-order")
report = run("data", "gc", "--older-than", "0s", project=SPARE)
check(report["files"] > 0, f"{report['files']} files of old versions are removed")
same("after gc")
same("the tagged version after gc", version=1)
run("data", "show", "judged@0", project=SPARE, expect=4)
run("fsck", project=SPARE)
check(True, "fsck finds nothing")

# Another program writes: its commit is taken up, and what it read is a hole.
late = polars.DataFrame({"id": [9001], "word": ["foreign"], "price": [0.5]})
late.write_delta(str(SPARE / ".sextant" / "tables" / "tables-judged"), mode="append")
same("written by another program")
holes = run("lineage", "holes", project=SPARE)
check(holes["count"] >= 1, "the foreign commit shows as a hole")

close(at_least=4 * len(tables) + 37)
