"""Time of a whole scan against the bare forward passes that it planned.

    python benchmarks/scan_overhead.py [--device cpu|cuda] [--width 3] [--sd15]

Prints calls per image and the ratio for the bundled model. The bare time runs the same number of
rows through the same U-Net, in the same batches, on inputs that are already on the device, half
of them before the scan and half after it. With
`--width W` the U-Net is W times as wide and untrained: the scan does the same work on a model
whose forward passes weigh more beside what every scan costs. With `--sd15` (for a GPU) a Stable-Diffusion-1.5-sized U-Net built from its configuration is timed at
512x512 in fp32 and bf16: images/s and peak memory of the default bundle.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from auditor.assemble import device_name
from auditor.demo.assets import materialise
from auditor.demo.data import write_records
from auditor.memory import peak_memory_mb
from auditor.progress import Progress
from auditor.scan import ScanOptions, plan_scan, run_scan
from auditor.targets.diffusion import DiffusionTarget


def bare_seconds(target: DiffusionTarget, n_rows: int, batch_size: int) -> float:
    """Seconds of n_rows rows through the U-Net in full batches."""
    inputs = torch.randn((batch_size, *target.input_shape), device=target.device)
    timesteps = torch.full((batch_size,), 100, device=target.device)
    conditioning = target.embed([""])
    if conditioning is not None:
        conditioning = conditioning.rows(torch.zeros(batch_size, dtype=torch.long))
    for _ in range(16):  # the first passes of a process are slow
        target.predict(inputs, timesteps, conditioning)
    _synchronise(target.device)
    began = time.perf_counter()
    for _ in range(-(-n_rows // batch_size)):
        target.predict(inputs, timesteps, conditioning)
    _synchronise(target.device)
    return (time.perf_counter() - began) * n_rows / (-(-n_rows // batch_size) * batch_size)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def widen(model: Path, width: int) -> Path:
    """Put an untrained U-Net of several times the channels in the place of the model's own."""
    from diffusers import UNet2DConditionModel

    config = dict(UNet2DConditionModel.load_config(model / "unet"))
    config["block_out_channels"] = [width * c for c in config["block_out_channels"]]
    torch.manual_seed(0)
    UNet2DConditionModel.from_config(config).save_pretrained(model / "unet")
    return model


def whole_scan(device: str, width: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        records = write_records(root / "records")
        model = materialise("memorized", root / "model")
        scan = plan_scan(
            ScanOptions(
                model=str(widen(model, width) if width > 1 else model),
                members=records.members,
                nonmembers=records.nonmembers,
                out=root / "out",
                cache=root / "cache",
                device=device,
            ),
            Progress(),
        )
        sample = 64 * scan.executor.batch_size
        before = bare_seconds(scan.target, sample, scan.executor.batch_size)
        began = time.perf_counter()
        result = run_scan(scan, Progress())
        whole = time.perf_counter() - began
        environment = result.record.environment
        after = bare_seconds(scan.target, sample, scan.executor.batch_size)
        bare = (before + after) / (2 * sample) * environment.n_calls
    print(f"device                 {device_name(scan.target.device)}")
    print(f"U-Net                  {scan.target.n_parameters:,} parameters")
    print(f"records                {len(result.records)}")
    print(f"calls per image        {environment.calls_per_record}")
    print(f"forward calls          {environment.n_calls} (controls included)")
    print(f"scan                   {whole:.1f} s")
    for stage, seconds in environment.seconds.items():
        print(f"  {stage:20} {seconds:.1f} s")
    print(f"bare forward passes    {bare:.1f} s (timed before and after: {after / before:.2f})")
    print(f"scan / bare            {whole / bare:.2f}")


def stable_diffusion_size(device: str) -> None:
    """The default bundle on random records through an untrained U-Net of SD 1.5's size."""
    import numpy as np
    from diffusers import UNet2DConditionModel
    from PIL import Image

    from attacks.manifest import DiffusionCapabilities
    from auditor.observe.diffusion import ShardObserver
    from auditor.observe.executor import automatic_batch_size
    from auditor.observe.plan import make_plan
    from auditor.targets.conditioning import Conditioning

    class Latents:
        """An SD-sized U-Net on random latents; the autoencoder is left out of the timing."""

        capabilities = DiffusionCapabilities("diffusion", "SD 1.5 size", True, True, 1000, 512)
        input_shape = (4, 64, 64)
        alphas_cumprod = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)

        def __init__(self, dtype: torch.dtype):
            self.device = torch.device(device)
            self.unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
            self.unet = self.unet.to(self.device, dtype).eval().requires_grad_(False)

        def prepare(self, images, crop=1.0):
            generator = torch.Generator().manual_seed(0)
            shape = (len(images), *self.input_shape)
            return torch.randn(shape, generator=generator).to(self.device)

        def embed(self, captions):
            hidden = torch.randn(len(captions), 77, 768, device=self.device)
            return Conditioning(hidden)

        def predict(self, inputs, timesteps, conditioning):
            dtype = self.unet.dtype
            with torch.no_grad():
                given = conditioning.arguments(dtype)
                return self.unet(inputs.to(dtype), timesteps, **given).sample.float()

    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        predictor = Latents(dtype)
        batch = automatic_batch_size(predictor)
        plan = make_plan(("loss", "pia", "pian", "sima", "secmi"), predictor.capabilities)
        n = 2 * batch
        shard = ShardObserver(
            predictor=predictor,
            images=[Image.new("RGB", (8, 8))] * n,
            captions=["a photo"] * n,
            ids=[str(i) for i in range(n)],
            batch_size=batch,
            seed=0,
        )
        shard.observe(plan.requests[:1])
        _synchronise(predictor.device)
        began = time.perf_counter()
        shard.observe(plan.requests)
        _synchronise(predictor.device)
        seconds = time.perf_counter() - began
        peak = peak_memory_mb(predictor.device) / 2**10
        print(
            f"SD 1.5 size, 512x512, {name}: {n / seconds:.2f} images/s ({24 * n / seconds:.1f} "
            f"calls/s), batch {batch}, peak so far {peak:.1f} GiB, {device_name(predictor.device)}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--width", type=int, default=1)
    parser.add_argument("--sd15", action="store_true")
    arguments = parser.parse_args()
    whole_scan(arguments.device, arguments.width)
    if arguments.sd15:
        stable_diffusion_size(arguments.device)


if __name__ == "__main__":
    main()
