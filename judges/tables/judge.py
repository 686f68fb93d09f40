"""Can readers of Delta that know nothing of Sextant read its tables, and do they see the same rows?"""

import duckdb
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

close(at_least=4 * len(tables))
