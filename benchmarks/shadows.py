"""Time of shadow models trained together against one by one.

    python benchmarks/shadows.py [--models 64] [--steps 100] [--batches 256,32] [--threads 1,2]
                                 [--device cpu|cuda]

Digits, perceptrons 64-128-10, Adam. One by one is a plain loop of torch, together
is a stack; both train the same models from the same weights on the same batches, and the shortest
of three alternating runs of each counts. Prints milliseconds per model and step, the ratio of the
two, and how far their logits are apart.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from auditor.assemble import device_name
from auditor.shadows import Pool, TorchRecipe, paired_halves
from auditor.shadows.halves import model_seeds
from auditor.shadows.job import Job, make_job
from auditor.shadows.one_by_one import module_logits
from auditor.shadows.stacked import StackedRun, stack_size
from auditor.shadows.torch_models import built

REPEATS = 3


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


def digits_job(n_models: int, n_steps: int, batch_size: int, device: str) -> Job:
    digits = load_digits()
    ids = [str(i) for i in range(len(digits.target))]
    pool = Pool(ids, (digits.data / 16).astype(np.float32), digits.target, 10)
    recipe = TorchRecipe(
        perceptron, optimiser_settings={"lr": 2e-3}, steps=n_steps, batch_size=batch_size
    )
    keep = paired_halves(ids, n_models, 0)
    seeds = model_seeds(0, n_models).tolist()
    return make_job(recipe, pool, keep, seeds, len(ids) // 2, torch.device(device))


def one_by_one(job: Job) -> tuple[float, np.ndarray]:
    """Seconds to build and train all models in a plain loop, and their logits."""
    began, models = time.perf_counter(), []
    for number, seed in enumerate(job.seeds):
        model = built(job.recipe, seed).to(job.device)
        optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
        batches = job.batches([number])
        for step in range(job.n_steps):
            rows = batches.at(step)[0]
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(job.inputs[rows]), job.classes[rows]).backward()
            optimiser.step()
        models.append(model)
    _synchronise(job.device)
    seconds = time.perf_counter() - began
    return seconds, np.stack([module_logits(model, job.inputs, 1024) for model in models])


def together(job: Job, size: int) -> tuple[float, np.ndarray]:
    """The same in stacks of `size`."""
    seconds, logits = 0.0, []
    for start in range(0, len(job.seeds), size):
        began = time.perf_counter()
        stack = range(start, min(start + size, len(job.seeds)))
        run = StackedRun(job, stack, is_random=False)
        for step in range(run.n_steps):
            run.step(step)
        _synchronise(job.device)
        seconds += time.perf_counter() - began
        logits.append(run.logits())
    return seconds, np.concatenate(logits)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def compare(job: Job) -> None:
    n_models, size = len(job.seeds), stack_size(job)
    stacked, single = [], []
    for _ in range(REPEATS):
        stacked.append(together(job, size))
        single.append(one_by_one(job))
    alone, stack = (min(t for t, _ in r) * 1e3 / n_models / job.n_steps for r in (single, stacked))
    apart = np.abs(stacked[0][1] - single[0][1]).max()
    print(
        f"{torch.get_num_threads()} threads, batches of {job.rows}, {n_models} models x "
        f"{job.n_steps} steps in stacks of {min(size, n_models)}: one by one {alone:.3f} ms, "
        f"together {stack:.3f} ms per model and step, ratio {alone / stack:.2f}; logits differ by "
        f"at most {apart:.1e}"
    )


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((n.split(":")[1].strip() for n in lines if n.startswith("model name")), "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=64)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batches", default="256,32", help="records of a step")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", default="1", help="such as 1,2")
    arguments = parser.parse_args()
    jobs = [
        digits_job(arguments.models, arguments.steps, int(batch_size), arguments.device)
        for batch_size in arguments.batches.split(",")
    ]
    print(
        f"{processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"torch {torch.__version__}, {device_name(jobs[0].device)}"
    )
    for threads in map(int, arguments.threads.split(",")):
        torch.set_num_threads(threads)
        for job in jobs:
            compare(job)


if __name__ == "__main__":
    main()
