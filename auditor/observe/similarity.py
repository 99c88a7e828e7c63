"""Structural similarity of image batches."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d


def ssim(first: Tensor, second: Tensor, window: int = 7) -> NDArray[np.float64]:
    """(n,) mean SSIM of two batches (n, c, h, w) with values in [0, 1].

    Uniform windows, unbiased covariances, K1 = .01, K2 = .03 (Wang et al. 2004); windows shrink to
    the largest odd size that fits. 1 for equal images.
    """
    window = min(window, *first.shape[-2:])
    window -= 1 - window % 2
    first, second = first.double(), second.double()
    area = window**2
    unbiased = area / max(area - 1, 1)

    def mean(values: Tensor) -> Tensor:
        return avg_pool2d(values, window, stride=1)

    mu_1, mu_2 = mean(first), mean(second)
    var_1 = unbiased * (mean(first**2) - mu_1**2)
    var_2 = unbiased * (mean(second**2) - mu_2**2)
    covariance = unbiased * (mean(first * second) - mu_1 * mu_2)
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mu_1 * mu_2 + c1) / (mu_1**2 + mu_2**2 + c1)
    structure = (2 * covariance + c2) / (var_1 + var_2 + c2)
    return torch.flatten(luminance * structure, 1).mean(1).cpu().numpy()
