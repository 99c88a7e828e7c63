"""MemControl: fine-tune only the attention blocks that memorize least, found by a search.

Idea: memorization is a question of capacity. A mask says which attention blocks a
parameter-efficient fine-tuning may change; masks and learning rates are searched with memorization
and quality as two objectives, and the pick is the one that memorizes least among those whose
quality is within 5 % of the best.
Citation: Dutt et al., WACV 2025, arXiv:2405.19458; parameter-efficient fine-tuning alone already
memorizes less: arXiv:2410.22149.
Needs: the base model, the members to fine-tune on, nonmembers that are never trained on.
Otherwise than in the authors' code: every attention has a bit; a bit of 0 freezes its block
(`rest=true` gives their layout); the sampler has more generations than a first random one, and is
compared with random search at equal budget; metrics are taken at fixed timesteps, noises and seeds
without caption dropout; what is reported was measured on records and seeds that the search never
measured.
Invalid when: full fine-tuning does not memorize either (the record says so): there was nothing to
prevent.
Not a guarantee, and not private: every trial reads the members once more, and a model that copies
less may still tell members apart.
"""

from __future__ import annotations

from attacks.manifest import Capabilities, DiffusionCapabilities
from mitigations.manifest import Guarantee, Manifest, Need
from mitigations.material import Change, Material
from mitigations.memcontrol.config import MemControlConfig
from mitigations.memcontrol.config import default_config as _default_config

MANIFEST = Manifest(
    id="MIT020",
    name="memcontrol",
    title="MemControl: search of what to fine-tune",
    guarantee=Guarantee.TRAINING,
    references=("arXiv:2405.19458", "arXiv:2410.22149"),
    needs=(Need.MEMBERS, Need.NONMEMBERS),
    limits=(
        "It lowers how much a fine-tuning memorizes and bounds no attack; membership can still "
        "show where nothing is copied."
    ),
)


def default_config(capabilities: Capabilities) -> MemControlConfig:
    """The paper's learning rates for large models, higher ones for small ones."""
    assert isinstance(capabilities, DiffusionCapabilities)
    return _default_config(capabilities)


def applicable(capabilities: Capabilities) -> str | None:
    """None for diffusion models, else the reason."""
    if not isinstance(capabilities, DiffusionCapabilities):
        return "it fine-tunes the attention blocks of a diffusion model's U-Net"
    return None


def apply(material: Material, config: MemControlConfig) -> Change:
    """Fine-tune under the best mask that a search finds, or under a given one."""
    from mitigations.memcontrol.masks import FILE as MASK_FILE
    from mitigations.memcontrol.masks import mask_json
    from mitigations.memcontrol.result import FILE
    from mitigations.memcontrol.search import search
    from mitigations.memcontrol.wording import REPORT, facts_of, notes_of, report_of

    found = search(material, config)
    return Change(
        weights=found.weights,
        files={
            FILE: found.result.to_json(),
            MASK_FILE: mask_json(found.mask),
            REPORT: report_of(found.result),
        },
        facts=facts_of(found.result),
        notes=notes_of(found.result),
    )
