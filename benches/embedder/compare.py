"""Repeats our training steps in PyTorch from the same state on the same batches; prints both times.

Usage: compare.py OUT   (OUT was written by the example bench_embedder)
"""
import json
import os
import platform
import sys
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer

THREADS = int(os.environ.get("THREADS", os.cpu_count()))


def median(values):
    return sorted(values)[len(values) // 2]


def pad(texts):
    longest = max(len(t) for t in texts)
    ids = torch.zeros(len(texts), longest, dtype=torch.long)
    mask = torch.zeros(len(texts), longest, dtype=torch.bool)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(text)
        mask[row, : len(text)] = True
    return ids, mask


def encode(p, config, ids, mask):
    """The encoder as a PyTorch user writes it: a padded batch and fused attention."""
    rows, length = ids.shape
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    x = p["embeddings.word_embeddings.weight"][ids] + p["embeddings.position_embeddings.weight"][:length]
    visible = mask[:, None, None, :]
    for n in range(config["num_hidden_layers"]):
        w = lambda name: (p[f"encoder.layer.{n}.{name}.weight"], p[f"encoder.layer.{n}.{name}.bias"])
        y = F.layer_norm(x, (hidden,), *w("attention.norm"), config["layer_norm_eps"])
        q, k, v = F.linear(y, *w("attention.qkv")).view(rows, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=visible)
        x = x + F.linear(y.transpose(1, 2).reshape(rows, length, hidden), *w("attention.output"))
        y = F.layer_norm(x, (hidden,), *w("feed_forward.norm"), config["layer_norm_eps"])
        y = F.gelu(F.linear(y, *w("feed_forward.up")), approximate="tanh")
        x = x + F.linear(y, *w("feed_forward.down"))
    mean = (x * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
    return F.normalize(mean, dim=1)


def info_nce(q, d, same, temperature):
    scores = q @ d.T / temperature
    hidden = (same[:, None] == same[None, :]) & ~torch.eye(len(same), dtype=torch.bool)
    scores = scores.masked_fill(hidden, float("-inf"))
    target = torch.arange(len(same))
    return (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2


def optimizer_of(p, moments, spec, step):
    decayed = [n for n in p if p[n].dim() == 2 and not n.startswith("embeddings.")]
    plain = [n for n in p if n not in decayed]
    groups = [
        {"params": [p[n] for n in decayed], "weight_decay": spec["weight_decay"]},
        {"params": [p[n] for n in plain], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.98), eps=1e-8, fused=True)
    for name, tensor in p.items():
        optimizer.state[tensor] = {
            "step": torch.tensor(float(step)),
            "exp_avg": moments[f"first.{name}"].clone(),
            "exp_avg_sq": moments[f"second.{name}"].clone(),
        }
    return optimizer


def main(out):
    torch.set_num_threads(THREADS)
    ours = json.load(open(f"{out}/ours.json"))
    spec, config = ours["spec"], json.load(open(f"{out}/state/config.json"))
    tokenizer = Tokenizer.from_file(f"{out}/state/tokenizer.json")
    pairs = [tuple(tokenizer.encode(t).ids for t in pair) for pair in ours["pairs"]]
    numbers = {}
    same = [numbers.setdefault(passage, len(numbers)) for _, passage in ours["pairs"]]
    p = {n: t.requires_grad_() for n, t in load_file(f"{out}/state/model.safetensors").items()}
    step = json.load(open(f"{out}/state/state.json"))["step"]
    optimizer = optimizer_of(p, load_file(f"{out}/state/optimizer.safetensors"), spec, step)
    losses, times = [], []
    for batch, rate in zip(ours["batches"], ours["learning_rates"]):
        started = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = rate
        q = encode(p, config, *pad([pairs[i][0] for i in batch]))
        d = encode(p, config, *pad([pairs[i][1] for i in batch]))
        loss = info_nce(q, d, torch.tensor([same[i] for i in batch]), spec["temperature"])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(p.values(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        times.append((time.perf_counter() - started) * 1e3)
    a, b = median(ours["milliseconds"]), median(times)
    difference = max(abs(x - y) for x, y in zip(ours["losses"], losses))
    print(f"model: hidden {spec['hidden']}, {spec['layers']} layers, {spec['heads']} heads, "
          f"batch {spec['batch']}, at most {spec['max_tokens']} tokens, {len(pairs)} pairs")
    print(f"sextant  {a:8.1f} ms/step")
    print(f"pytorch  {b:8.1f} ms/step   torch {torch.__version__}, {THREADS} threads, "
          f"python {platform.python_version()}")
    print(f"ratio    {a / b:8.2f}   (below 1: sextant is faster)")
    print(f"largest difference of the loss over {len(losses)} steps: {difference:.2e} "
          f"(last: {ours['losses'][-1]:.5f} and {losses[-1]:.5f})")


main(sys.argv[1])
