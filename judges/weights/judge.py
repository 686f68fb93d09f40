"""Is the trained model an ordinary Hugging Face folder? Stock safetensors and tokenizers load it, and
its hash is the one that the chain of lineage names."""

import hashlib
import json

import numpy as np
import safetensors.numpy
import tokenizers

from product import PROJECT, blob, check, close, find, run

FILES = ["model.safetensors", "config.json", "tokenizer.json"]

chain = run("why", "train/embedder")
named = {}
for file in FILES:
    # Under the file's own name, or as one of a list of files with their digests.
    found = [value for value in find(chain, file)]
    found += [
        entry for files in find(chain, "files") if isinstance(files, list)
        for entry in files if isinstance(entry, dict) and file in entry.values()
    ]
    digests = [v if isinstance(v, str) else v.get("digest") for v in found]
    named[file] = next((d for d in digests if d and d.startswith("sha256:")), None)
    check(named[file], f"`why` names the digest of {file}")

data = {file: blob(digest) for file, digest in named.items() if digest}
for file, content in data.items():
    check(content is not None, f"{file} is stored under its digest")

for path in sorted((PROJECT / ".sextant").rglob("model.safetensors")):
    digest = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    if digest == named["model.safetensors"]:
        print(f"   also as a folder: {path.parent.relative_to(PROJECT)}")

if data.get("model.safetensors"):
    tensors = safetensors.numpy.load(data["model.safetensors"])
    check(len(tensors) > 4, "safetensors reads the tensors")
    check(all(np.isfinite(t).all() for t in tensors.values()), "every weight is a finite number")
    check(any(np.abs(t).std() > 0 for t in tensors.values()), "the weights are not constant")
    print(f"   {len(tensors)} tensors, {sum(t.size for t in tensors.values())} parameters")

if data.get("config.json"):
    config = json.loads(data["config.json"])
    for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"):
        check(isinstance(config.get(key), int), f"config.json has {key}")
    if data.get("model.safetensors"):
        shapes = {t.shape for t in tensors.values()}
        wanted = (config.get("vocab_size"), config.get("hidden_size"))
        check(wanted in shapes, f"there is an embedding table of {wanted}")

if data.get("tokenizer.json"):
    tokenizer = tokenizers.Tokenizer.from_str(data["tokenizer.json"].decode())
    encoded = tokenizer.encode("How do I roll back a release?")
    check(len(encoded.ids) > 3, "tokenizers reads the tokenizer")
    if data.get("config.json"):
        check(max(encoded.ids) < config.get("vocab_size", 0), "its ids fit the embedding table")
    check("release" in tokenizer.decode(encoded.ids).lower().replace(" ", ""), "text comes back")

close(at_least=17)
