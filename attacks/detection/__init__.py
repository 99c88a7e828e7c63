"""Detectors of memorized prompts: does a prompt make the model emit an image that it memorized?

They need no training record. Each is one file with a label, the recordings that it needs, and a
score for each prompt.
"""

from attacks.detection._common import Recordings, Setting

__all__ = ["Recordings", "Setting"]
