"""Generate and filter: does the model draw its training images again?

Idea: prompts whose first denoising step depends most on the text are drawn with many seeds; an
image that is nearer to a training record than any record that was never trained on is to any
image is a copy, and it is drawn once more to confirm it.
Citation: Carlini et al., "Extracting Training Data from Diffusion Models", USENIX Security 2023,
arXiv:2301.13188 (generation, tiled distance); Webster, arXiv:2305.08694 (triage by one step);
Wen et al., ICLR 2024, arXiv:2407.21720 (the magnitude that the triage uses).
Result: members that came back out, each with prompt, seed and distance; no membership score.
Our reading: the threshold is set by the nonmembers of the scan (`attacks.extraction.evidence`),
not by a fixed distance; as many captions of nonmembers are drawn as of members, so that a caption
that merely describes its picture well has its counterpart on the other side; the prompts that come
nearest to a record are drawn with more seeds, as many on either side. Images are compared
with the records as the model's autoencoder passes them, at no more than 64 pixels a side. Small
models are drawn with guidance 3: at 7.5 the copies of the bundled model are twice as far away.
Cost: one forward call a distinct caption, and prompts x seeds x steps (twice with guidance) for
each side.
Invalid when: a nonmember was in truth trained on and comes back too: then no threshold is left,
and nothing is claimed.
"""

from __future__ import annotations

from dataclasses import dataclass

from attacks.errors import UsageError
from attacks.manifest import Access, Capabilities, DiffusionCapabilities, Manifest, Tier
from attacks.membership import _common
from attacks.observations import Request

MANIFEST = Manifest(
    id="EXT001",
    name="extraction",
    title="Extraction by generation (Carlini et al.)",
    goal="make the model draw its training images again",
    access=Access.BLACK_BOX,
    tags=("edpb:55(iii)", "atlas:AML.T0024", "owasp:ML03"),
    references=("arXiv:2301.13188", "arXiv:2305.08694"),
    tier=Tier.THOROUGH,
    kind="extraction",
)


@dataclass(frozen=True, slots=True)
class ExtractionConfig:
    """How much is drawn."""

    prompts: int = 128
    """Captions of each side that are drawn: those that the triage finds most suspicious."""
    triaged: int = 5_000
    """Captions of each side that the triage looks at, at random."""
    seeds: int = 4
    """Images for each prompt."""
    refined: int = 24
    """Records of each side whose nearest prompt is drawn again with further seeds."""
    refined_seeds: int = 8
    """Further images for each of these prompts."""
    steps: int = 30
    """Deterministic DDIM steps."""
    guidance: float = 7.5
    """Scale of classifier-free guidance; 1 for a model that takes no text."""
    alpha: float = 0.01
    """Probability that a model that knows neither side is accused."""

    def __post_init__(self) -> None:
        _common.check_positive(
            prompts=self.prompts, triaged=self.triaged, seeds=self.seeds, steps=self.steps
        )
        if min(self.refined, self.refined_seeds) < 0:
            raise UsageError("refined and refined_seeds must be at least 0")
        if not self.guidance >= 1:
            raise UsageError(f"guidance must be at least 1, got {self.guidance}")
        if not 0 < self.alpha < 0.5:
            raise UsageError(f"alpha must lie between 0 and 0.5, got {self.alpha}")

    @property
    def images(self) -> int:
        """Images that are drawn at most."""
        return 2 * (self.prompts * self.seeds + self.refined * self.refined_seeds)

    @property
    def calls_per_image(self) -> int:
        """Forward calls for one image."""
        return self.steps * (2 if self.guidance > 1 else 1)


def default_config(capabilities: Capabilities) -> ExtractionConfig:
    """128 prompts a side with 4 seeds; no guidance for a model that takes no text."""
    assert isinstance(capabilities, DiffusionCapabilities)
    usual = 7.5 if capabilities.is_large else 3.0
    return ExtractionConfig(
        steps=min(30, capabilities.n_timesteps),
        guidance=usual if capabilities.is_text_conditional else 1.0,
    )


def applicable(capabilities: Capabilities) -> str | None:
    """None for a diffusion model that can be drawn from, else the reason."""
    if reason := _common.needs_diffusion(capabilities):
        return reason
    assert isinstance(capabilities, DiffusionCapabilities)
    if capabilities.is_text_conditional and not capabilities.has_captions:
        return "needs captions to prompt the model with, and the records have none"
    return None


def requests(config: ExtractionConfig) -> tuple[Request, ...]:
    """Nothing of the shared pass: the attack draws images of its own."""
    return ()
