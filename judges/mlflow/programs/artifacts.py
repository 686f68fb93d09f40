"""Artifacts: small ones, folders, and a large one in parts where the server takes parts."""

import hashlib
import os
import pathlib

# The client asks for parts only above this size, and only when told to.
os.environ["MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD"] = "true"
os.environ["MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE"] = str(8 << 20)
os.environ["MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE"] = str(5 << 20)
os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"

import mlflow  # noqa: E402
from mlflow import MlflowClient  # noqa: E402
from seen import refused, seen  # noqa: E402

client = MlflowClient()
mlflow.set_experiment("artifacts")
size = int(os.environ["SEXTANT_MLFLOW_MIB"]) << 20


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


large = pathlib.Path("large.bin")
block = bytes(range(256)) * 4096
with large.open("wb") as file:
    for number in range(size >> 20):
        file.write(number.to_bytes(8, "big") + block[8:])
folder = pathlib.Path("folder")
(folder / "deep" / "er").mkdir(parents=True)
(folder / "a b.txt").write_text("a b")
(folder / "größe.txt").write_text("ü")
(folder / "deep" / "er" / "x.json").write_text("{}")
(folder / "deep" / "empty").write_bytes(b"")
with mlflow.start_run() as run:
    mlflow.log_artifact(str(large), "big")
    mlflow.log_artifacts(str(folder), "tree")
    mlflow.log_text("<script>alert(1)</script>", "page.html")
    refused("parent", mlflow.log_text, "x", "../outside.txt")
run = run.info.run_id


def tree(path=None):
    for info in client.list_artifacts(run, path):
        yield [info.path, info.is_dir, info.file_size]
        if info.is_dir:
            yield from tree(info.path)


seen("tree", list(tree()))
seen("file is no folder", client.list_artifacts(run, "page.html"))
seen("nothing there", client.list_artifacts(run, "nothing"))
refused("list parent", client.list_artifacts, run, "../..")
there = pathlib.Path("there")
there.mkdir()
back = client.download_artifacts(run, "big/large.bin", str(there))
seen("large", [os.path.getsize(back), digest(back) == digest(large)])
everything = pathlib.Path(mlflow.artifacts.download_artifacts(run_id=run, artifact_path="tree", dst_path=str(there)))
seen("folder", {str(f.relative_to(everything)): digest(f) for f in everything.rglob("*") if f.is_file()})
refused("missing", client.download_artifacts, run, "nothing.txt", str(there))
mlflow.artifacts.load_text(f"runs:/{run}/page.html")
large.write_bytes(b"small now")
client.log_artifact(run, str(large), "big")
seen("replaced", mlflow.artifacts.load_text(f"runs:/{run}/big/large.bin"))
