"""Can readers of Delta that know nothing of Sextant read its tables, and do they see the same rows?"""

import duckdb
from deltalake import DeltaTable

from product import PROJECT, check, close, run

listed = run("data", "tables")
tables = listed["tables"] if isinstance(listed, dict) else listed
check(len(tables) >= 3, "the demo has tables")

for table in tables:
    asset = table["asset"]
    folder = PROJECT / ".sextant" / table["path"]
    if not (folder / "_delta_log").is_dir():
        check(False, f"{asset} is a Delta table at {folder}")
        continue
    foreign = DeltaTable(str(folder), version=table["delta_version"]).to_pyarrow_table()
    check(foreign.num_rows == table["rows"], f"{asset}: deltalake reads {table['rows']} rows")

    name = table["names"][0]
    counted = run("data", "query", f"select count(*) as rows from {name}")["rows"][0]
    ours = counted[0] if isinstance(counted, list) else counted["rows"]
    theirs = duckdb.sql("select count(*) from foreign").fetchone()[0]
    check(ours == theirs, f"{asset}: `data query` counts {ours}, DuckDB {theirs}")

    names = [column["name"] for column in table["columns"]]
    check(foreign.column_names == names, f"{asset}: the same columns, not {foreign.column_names}")

    # One aggregate over text, so that values and not only counts are compared.
    texts = [f.name for f in foreign.schema if str(f.type) in ("string", "large_string", "string_view")]
    if texts:
        query = f'select sum(length("{texts[0]}")) as n from '
        mine = run("data", "query", query + name)["rows"][0]
        mine = mine[0] if isinstance(mine, list) else mine["n"]
        other = duckdb.sql(query + "foreign").fetchone()[0]
        check(int(mine or 0) == int(other or 0), f"{asset}: the same characters in {texts[0]}")

close()
