"""The matching loss and its gradient: unrolled, by an exact reverse sweep, and as published.

L = ||theta_T - target||^2 / ||start - target||^2, where theta_{i+1} = theta_i - beta g_i and g_i
is the gradient of the cross-entropy of batch i at theta_i.

`unrolled` is MTT: autograd through all T steps, whose activations are alive at once.
`exact` gives the same gradient with the graph of one step alive: with lambda_T = dL/dtheta_T,
for i = T - 1, ..., 0
    dL/dbeta    += -<lambda_{i+1}, g_i>
    dL/dS[b_i]  += -beta d/dS <lambda_{i+1}, g_i>
    lambda_i     = lambda_{i+1} - beta H_i lambda_{i+1}
`tesla` is the formula of the official code: the same sweep with every lambda_i replaced by
lambda_T. The paper calls it exact; it is so for T = 1 only, since theta_i depends on the batches
before. Measured on digits in float64 (10 pictures, one hidden layer, target 2 epochs ahead), the
relative error of its image gradient is 0.04 (T = 5, beta = 0.1), 0.11 (20, 0.1), 0.34 (20, 0.5)
and 0.53 (50, 0.5), that of the sweep below 1e-15.
Our reading of its factor: the formula's own; the code applies half of it to the images.

T parameter vectors are kept in all three; "constant memory" means activations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from attacks.errors import DataError
from auditor.methods.tesla.config import Gradient
from auditor.methods.tesla.students import FlatNetwork


class Match(NamedTuple):
    """One matching problem: get from start to target in T student steps."""

    start: Tensor
    """(P,) expert parameters to start from."""
    target: Tensor
    """(P,) expert parameters some epochs later."""
    labels: Tensor
    """(N, k) class probabilities of the distilled pictures; no gradient flows into them."""
    batches: Sequence[Tensor]
    """T index vectors into the pictures."""
    augment: Callable[[Tensor, int], Tensor]
    """Pictures of a batch as the student sees them at step i: the same on every call."""


class MatchGradient(NamedTuple):
    """The loss with its gradients."""

    loss: float
    """Squared distance to the target as a share of that at the start."""
    images: Tensor
    """(N, c, h, w) dL/dS."""
    step_size: float
    """dL/dbeta."""


def distance(match: Match) -> Tensor:
    """Squared distance from start to target; raises DataError if the expert did not move."""
    total = (match.start - match.target).square().sum()
    if not total > 0:
        raise DataError(
            "an expert has the same parameters at both ends of a stretch, so nothing can be "
            "matched; train experts with a larger rate or for more epochs"
        )
    return total


def student_gradient(
    network: FlatNetwork, theta: Tensor, seen: Tensor, labels: Tensor, *, differentiable: bool
) -> Tensor:
    """(P,) gradient g of the cross-entropy with respect to theta."""
    loss = functional.cross_entropy(network(theta, seen), labels)
    return torch.autograd.grad(loss, theta, create_graph=differentiable)[0]


class Rollout(NamedTuple):
    """A student's steps, without any graph."""

    thetas: list[Tensor]
    """theta_0 ... theta_T."""
    gradients: list[Tensor]
    """g_0 ... g_{T-1}."""


def roll_out(network: FlatNetwork, images: Tensor, step_size: float, match: Match) -> Rollout:
    """Pass 1: T steps of plain SGD."""
    thetas, gradients = [match.start.detach()], []
    for i, batch in enumerate(match.batches):
        theta = thetas[-1].clone().requires_grad_()
        seen = match.augment(images.detach()[batch], i)
        g = student_gradient(network, theta, seen, match.labels[batch], differentiable=False)
        gradients.append(g)
        thetas.append(torch.add(thetas[-1], g, alpha=-step_size))
    return Rollout(thetas, gradients)


def sweep(
    network: FlatNetwork, images: Tensor, step_size: float, match: Match, *, exact: bool = True
) -> MatchGradient:
    """Loss and gradients with one step's graph alive at a time.

    exact: carry the Hessian products back; otherwise the official code's approximation.
    """
    total = distance(match)
    thetas, gradients = roll_out(network, images, step_size, match)
    gap = thetas[-1] - match.target
    adjoint = 2 / total * gap
    image_gradient, step_gradient = torch.zeros_like(images), 0.0
    for i in reversed(range(len(match.batches))):
        batch = match.batches[i]
        step_gradient -= float(adjoint @ gradients[i])
        pieces = images.detach()[batch].requires_grad_()
        theta = thetas[i].clone().requires_grad_()
        seen = match.augment(pieces, i)
        g = student_gradient(network, theta, seen, match.labels[batch], differentiable=True)
        by_image, by_theta = torch.autograd.grad(adjoint @ g, (pieces, theta))
        image_gradient.index_add_(0, batch, by_image, alpha=-step_size)
        if exact:
            adjoint = adjoint - step_size * by_theta
    return MatchGradient(float(gap.square().sum() / total), image_gradient, step_gradient)


def unrolled(network: FlatNetwork, images: Tensor, step_size: float, match: Match) -> MatchGradient:
    """Loss and gradients by autograd through all steps: MTT, and the reference of the sweep."""
    total = distance(match)
    pictures = images.detach().clone().requires_grad_()
    beta = torch.tensor(step_size, dtype=images.dtype, device=images.device, requires_grad=True)
    theta = match.start.detach().clone().requires_grad_()
    for i, batch in enumerate(match.batches):
        seen = match.augment(pictures[batch], i)
        g = student_gradient(network, theta, seen, match.labels[batch], differentiable=True)
        theta = theta - beta * g
    loss = (theta - match.target).square().sum() / total
    if not match.batches:
        return MatchGradient(float(loss.detach()), torch.zeros_like(images), 0.0)
    by_image, by_step = torch.autograd.grad(loss, (pictures, beta))
    return MatchGradient(float(loss.detach()), by_image, float(by_step))


def match_gradient(
    network: FlatNetwork, images: Tensor, step_size: float, match: Match, how: Gradient
) -> MatchGradient:
    """Loss and gradients in the mode that a configuration names."""
    if how == "unrolled":
        return unrolled(network, images, step_size, match)
    return sweep(network, images, step_size, match, exact=how == "exact")


def soft_labels(network: FlatNetwork, images: Tensor, target: Tensor) -> Tensor:
    """(N, k) probabilities that the target expert gives to the pictures (SLA), detached."""
    with torch.no_grad():
        return network(target, images).softmax(dim=1)
