"""The byte ledger: saved models and exemplars are charged to one budget.

Source: MEMO section 3, as counted by the official code (card, section 3.7): four bytes for every
parameter of the generalised block and of each specialised block, one byte for every channel of
every exemplar's pixels. Classifier, auxiliary head and running statistics of normalisation are
not counted unless asked for; labels and the optimiser's state never are.
"""

from __future__ import annotations

from dataclasses import dataclass

PARAMETER_BYTES = 4
"""Bytes of a float32 parameter."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What one model keeps between tasks."""

    shared_parameters: int
    """Parameters that exist once: the generalised block."""
    block_parameters: int
    """Parameters of one specialised block."""
    n_blocks: int
    """Specialised blocks."""
    n_exemplars: int
    """Records stored verbatim."""
    exemplar_size: int
    """Bytes of one exemplar: height x width x channels."""
    uncounted_parameters: int = 0
    """Parameters of the classifier and running statistics, outside the paper's count."""

    @property
    def parameters(self) -> int:
        """Parameters that the paper's count charges."""
        return self.shared_parameters + self.n_blocks * self.block_parameters

    @property
    def exemplar_bytes(self) -> int:
        """Bytes of the stored records."""
        return self.n_exemplars * self.exemplar_size

    def model_bytes(self, *, everything: bool = False) -> int:
        """Bytes of the saved model; everything: with classifier and running statistics."""
        extra = self.uncounted_parameters if everything else 0
        return PARAMETER_BYTES * (self.parameters + extra)

    def total_bytes(self, *, everything: bool = False) -> int:
        """Bytes of model and exemplars together."""
        return self.model_bytes(everything=everything) + self.exemplar_bytes


def worth_in_exemplars(parameters: int, exemplar_size: int) -> int:
    """How many whole exemplars fit into the bytes of a model."""
    return parameters * PARAMETER_BYTES // exemplar_size


def affordable_exemplars(budget: int, parameters: int, exemplar_size: int) -> int:
    """How many exemplars a budget in bytes leaves beside a model; 0 if the model is too large."""
    return max(0, (budget - parameters * PARAMETER_BYTES) // exemplar_size)
