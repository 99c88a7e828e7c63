"""Early stopping: fine-tune until the model shows that it begins to memorize.

Idea: every few steps the mean loss of held-out records minus that of trained ones is taken at fixed
timesteps and noises. Training ends once this gap has stayed above a limit for three looks in a row,
and the weights are those from before the first of them.
Needs: members to train on, and nonmembers as the held-out side.
A stop rule computed on private data is not private. `canary_share` sets a part of the members aside
as the trained side of the rule: they are trained on like the others, and only they are looked at;
make them public records for a rule that reads nothing private.
Not a guarantee: a small gap on average says nothing of single records.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from attacks.errors import UsageError
from attacks.manifest import Capabilities, DiffusionCapabilities
from mitigations import _fine_tuning as common
from mitigations.manifest import Guarantee, Manifest, Need
from mitigations.material import Change, Examples, Material
from mitigations.training import Practice, Recipe

MANIFEST = Manifest(
    id="MIT021",
    name="early_stopping",
    title="Early stopping on the gap of losses",
    guarantee=Guarantee.TRAINING,
    references=(),
    needs=(Need.MEMBERS, Need.NONMEMBERS),
    limits="It bounds no attack, and a stop rule computed on private data is not private.",
)
CURVE = "early_stopping.json"
"""File with the whole curve."""


@dataclass(frozen=True, slots=True)
class EarlyStoppingConfig:
    """When it looks, and when it stops."""

    steps: int = 2000
    """Most gradient steps."""
    every: int = 25
    """Steps between two looks."""
    limit: float = 0.1
    """Gap that counts as memorizing, as a share of the held-out loss before training."""
    patience: int = 3
    """Looks above the limit in a row that end the training."""
    canary_share: float = 1.0
    """Share of the members that the rule looks at, chosen by the seed."""
    batch_size: int = 16
    learning_rate: float = 1e-5
    caption_dropout: float = 0.1
    """Share of records shown with the empty text."""
    timesteps: tuple[int, ...] = (100, 300, 500, 700)
    """Where the losses are taken."""

    def __post_init__(self) -> None:
        if self.every < 1 or self.patience < 1 or not self.timesteps:
            raise UsageError(
                f"every and patience must be at least 1, got {self.every} and {self.patience}, and "
                "timesteps must not be empty"
            )
        if not 0 < self.canary_share <= 1 or not math.isfinite(self.limit):
            raise UsageError(
                f"canary_share lies in (0, 1] and limit is a number, got {self.canary_share} and "
                f"{self.limit}"
            )
        self.recipe  # noqa: B018 - checks what they share

    @property
    def recipe(self) -> Recipe:
        """How it trains."""
        return Recipe(
            self.steps,
            self.batch_size,
            self.learning_rate,
            caption_dropout=self.caption_dropout,
        )


class GapWatch(Practice):
    """Looks at the gap, keeps the weights from before it grew, and says when to stop."""

    def __init__(
        self,
        config: EarlyStoppingConfig,
        canaries: Examples,
        held_out: Examples,
        seed: int,
        batch_size: int,
    ):
        self.config, self.canaries, self.held_out = config, canaries, held_out
        self.seed, self.batch_size = seed, batch_size
        self.curve: list[dict[str, float]] = []
        self.kept: dict[str, Any] = {}
        self.kept_step = 0
        self._scale = 1.0

    def begin(self, view: Any) -> None:
        """Look before the first step."""
        self._look(view, 0)
        self._scale = self.curve[0]["held_out"]
        self._keep(view, 0)

    def stops(self, tuned: Any, steps: int) -> bool:
        """Whether the last looks all lay above the limit."""
        if steps % self.config.every and steps != self.config.steps:
            return False
        self._look(tuned, steps)
        if not self.is_above(self.curve[-1]):
            self._keep(tuned, steps)
        last = self.curve[-self.config.patience :]
        return len(last) == self.config.patience and all(map(self.is_above, last))

    def is_above(self, point: dict[str, float]) -> bool:
        """Whether the gap of a look counts as memorizing."""
        return point["gap"] - self.curve[0]["gap"] > self.config.limit * self._scale

    def _look(self, view: Any, step: int) -> None:
        means = [
            float(
                common.noise_losses(
                    view, part, self.config.timesteps, self.seed, self.batch_size
                ).mean()
            )
            for part in (self.canaries, self.held_out)
        ]
        point = {"step": step, "trained": means[0], "held_out": means[1]}
        self.curve.append(point | {"gap": means[1] - means[0]})

    def _keep(self, view: Any, step: int) -> None:
        self.kept = {name: value.clone() for name, value in view.unet.state_dict().items()}
        self.kept_step = step


def default_config(capabilities: Capabilities) -> EarlyStoppingConfig:
    """The usual learning rate for the model's size, timesteps on its own schedule."""
    assert isinstance(capabilities, DiffusionCapabilities)
    n = capabilities.n_timesteps
    timesteps = tuple(t * n // common.SCHEDULE for t in (100, 300, 500, 700))
    rate = common.usual_rate(capabilities)
    return EarlyStoppingConfig(learning_rate=rate, timesteps=timesteps)


applicable = common.is_diffusion


def apply(material: Material, config: EarlyStoppingConfig) -> Change:
    """Fine-tune, and give the weights from before the gap passed the limit for good."""
    members = common.members_of(material)
    if material.nonmembers is None:
        raise UsageError("early_stopping needs --nonmembers as its held-out records; pass it")
    rows = np.random.default_rng([material.seed, 0xCA]).permutation(len(members))
    rows = np.sort(rows[: max(1, round(config.canary_share * len(members)))])
    canaries = Examples(
        members.inputs[rows.tolist()],
        tuple(members.captions[row] for row in rows),
        tuple(members.repeats[row] for row in rows),
    )
    watch = GapWatch(config, canaries, material.nonmembers, material.seed, material.batch_size)
    watch.begin(material.target)
    tuned, fitted = common.fine_tuned(
        material, config.recipe, watch, "training until the gap grows"
    )
    tuned.unet.load_state_dict(watch.kept)
    last = watch.curve[-1]
    did_stop = fitted.steps < config.steps
    notes = ["A stop rule computed on private data is not private."]
    if not did_stop:
        notes.append("The gap never stayed above the limit: training ran to its last step.")
    if watch.kept_step == 0:
        notes.append("The weights are those of the base model: the first look was above the limit.")
    return Change(
        weights=common.weights_of(material, tuned),
        files={CURVE: (json.dumps(watch.curve, indent=1) + "\n").encode()},
        facts={
            "steps_trained": fitted.steps,
            "steps_kept": watch.kept_step,
            "gap_before": round(watch.curve[0]["gap"], 6),
            "gap_kept": round(
                next(p["gap"] for p in watch.curve if p["step"] == watch.kept_step), 6
            ),
            "gap_last": round(last["gap"], 6),
            "looks": len(watch.curve),
            "canaries": len(canaries),
        },
        notes=tuple(notes),
    )
