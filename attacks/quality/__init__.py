"""Quality of generated images: distances between sets of features, without any reference model."""

from attacks.quality.amd import average_minimum_distance, mifid
from attacks.quality.features import PixelFeatures, fit_pixel_features
from attacks.quality.fid import Fid, fid
from attacks.quality.kid import Kid, kid
from attacks.quality.paired import kid_change

__all__ = [
    "Fid",
    "Kid",
    "PixelFeatures",
    "average_minimum_distance",
    "fid",
    "fit_pixel_features",
    "kid",
    "kid_change",
    "mifid",
]
