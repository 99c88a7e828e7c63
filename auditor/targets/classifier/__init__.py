"""Classifiers as audit targets: scikit-learn, torch, ONNX, or nothing but saved predictions."""

from auditor.targets.classifier.answers import log_probabilities
from auditor.targets.classifier.estimators import probability_floor
from auditor.targets.classifier.formats import PREDICTIONS, recognise
from auditor.targets.classifier.opening import open_classifier, open_predictions
from auditor.targets.classifier.target import ClassifierTarget

__all__ = [
    "PREDICTIONS",
    "ClassifierTarget",
    "log_probabilities",
    "open_classifier",
    "open_predictions",
    "probability_floor",
    "recognise",
]
