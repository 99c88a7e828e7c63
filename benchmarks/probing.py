"""What probing costs on top of plain sampling, and how its memory grows with the prompts.

    OMP_NUM_THREADS=1 python benchmarks/probing.py [--prompts 32] [--steps 10] [--device cpu]

The ratio is the median over rounds of two runs in turns. Peaks come from a process each.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from attacks.probing.wanda import WandaConfig
from auditor.demo.assets import materialise
from auditor.demo.digits import demo_splits
from auditor.memory import peak_memory_mb
from auditor.observe.generation import GenerationExecutor
from auditor.probing.measure import activity_of
from auditor.targets.loading import open_target
from auditor.targets.sampling import Draw, Sampling, Watcher, follow

ROUNDS = 9


def captions(n: int) -> list[str]:
    splits = demo_splits()
    known = dict.fromkeys((*splits.members.captions, *splits.nonmembers.captions))
    return [f"{caption} {i}" for i, caption in enumerate((list(known) * (1 + n // len(known)))[:n])]


def ratio(model: Path, n: int, steps: int, device: str) -> None:
    target = open_target(str(model), device=device)
    executor = GenerationExecutor(target, 32)
    sampling, prompts = Sampling(steps, 7.5), captions(n)
    draws = [Draw(prompt, 0) for prompt in prompts]
    clocks = (time.perf_counter, time.process_time)
    taken = []
    for _ in range(ROUNDS):
        marks = [[clock() for clock in clocks]]
        follow(target, draws, sampling, n_steps=steps, batch_size=32, watcher=Watcher())
        marks.append([clock() for clock in clocks])
        activity_of(executor, prompts, [0], sampling, WandaConfig())
        marks.append([clock() for clock in clocks])
        taken.append(np.diff(marks, axis=0))
    ratios = np.median([plain_probed[1] / plain_probed[0] for plain_probed in taken], axis=0)
    plain, probed = np.median(taken, axis=0)[:, 0]
    print(f"plain {plain:.2f} s, probed {probed:.2f} s, medians of {ROUNDS} rounds")
    print(f"probed / plain: {ratios[0]:.3f} by the wall, {ratios[1]:.3f} by the processor")


def peak(model: Path, n: int, device: str) -> None:
    executor = GenerationExecutor(open_target(str(model), device=device), 32)
    activity_of(executor, captions(n), [0], Sampling(2, 7.5), WandaConfig())
    print(f"{n} prompts: peak {_peak(executor):.1f} MiB")


def _peak(executor: GenerationExecutor) -> float:
    """MiB of this process alone: on Linux, what getrusage says includes that of its parent."""
    status = Path("/proc/self/status")
    if executor.target.device.type == "cpu" and status.is_file():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    return peak_memory_mb(executor.target.device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peak", type=int, help="measure the memory of so many prompts alone")
    parser.add_argument("--model", type=Path)
    given = parser.parse_args()
    if given.peak:
        peak(given.model, given.peak, given.device)
        return
    with tempfile.TemporaryDirectory() as folder:
        model = materialise("memorized", Path(folder) / "model")
        ratio(model, given.prompts, given.steps, given.device)
        for n in (10, 1000):
            command = [sys.executable, __file__, "--peak", str(n), "--model", str(model)]
            subprocess.run([*command, "--device", given.device], check=True)


if __name__ == "__main__":
    main()
