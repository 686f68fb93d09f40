"""Starts a stock `mlflow server` and benches it before the servers that are named."""

import pathlib
import subprocess
import sys
import time

from stock import Stock

begun = time.perf_counter()
stock = Stock()
print(f"stock mlflow answered {time.perf_counter() - begun:.1f} s after its start", flush=True)
options = [f"stock={stock.url},{stock.process.pid}", *sys.argv[1:]]
bench = pathlib.Path(__file__).with_name("bench.py")
sys.exit(subprocess.run([sys.executable, str(bench), *options], check=False).returncode)
