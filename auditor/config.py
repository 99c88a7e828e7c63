"""The configuration file of a scan: what the command line leaves out, and per-attack settings."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from attacks.errors import DataError, PolicyError, did_you_mean
from auditor.records import ReadOptions


class EncoderConfig(BaseModel):
    """The image-text encoder (CLIP) of attacks that compare meanings: the attacker's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """A directory with a CLIP model, an architecture of open_clip, or `hf-hub:` and a hub id."""
    checkpoint: Path | None = None
    """File with the weights of an architecture."""


class ScanConfig(BaseModel):
    """The configuration of a scan, as written by `auditor init`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attacks: tuple[str, ...] | None = None
    """Names of the attacks to run; the default is the shared bundle."""
    attack_options: dict[str, dict[str, Any]] = {}
    """Attack name -> settings that differ from the paper's defaults."""
    encoder: EncoderConfig | None = None
    """Diffusion models: image-text encoder of the attacks that compare meanings."""
    classes: tuple[str | int, ...] | None = None
    """Classifiers: labels in the order of the model's outputs, where its file does not name them."""
    records: ReadOptions = ReadOptions()
    """Columns and limits of reading."""
    sensitive: tuple[str, ...] = ()
    """Classifiers: columns of a table whose values attribute inference tries to guess."""
    n_train: Annotated[int, Field(ge=1)] | None = None
    """Records that the model was trained on, to extrapolate a bound to all of them."""
    tester: str | None = None
    """Name to print in the report's signature field."""


TEMPLATE = """\
# auditor configuration. Every line is optional; what is commented out is the default or, where
# the default is to look for it, an example.

# attacks: [loss, pia, pian, sima, secmi]   # `auditor list` shows all of them

# attack_options:            # settings that differ from the published defaults
#   pia:
#     t: 200

# encoder:                   # image-text encoder of attacks that compare meanings (CLIP)
#   name: ViT-B-32           # of open_clip, or a directory with a CLIP model
#   checkpoint: weights.safetensors

# records:
#   image_column: image      # column with the image (Parquet) or its path (JSONL, CSV)
#   text_column: text        # column with the caption
#   guess_column: blip       # column with what a captioner says, for attacks without captions
#   captions: true           # false reads no captions
#   subject_column: person   # one person, several records: the unit becomes the person
#   split_column: split      # one data set with both splits
#   member_split: train
#   nonmember_split: test
#   label_column: label      # classifiers: column with the class
#   group_column: region     # data scans: column of the groups that figures are broken down by
#   feature_columns: [a, b]  # classifiers: the columns that the model takes, or else ...
#   drop_columns: [row_id]   # classifiers: ... the columns that it does not take
#   header: true             # classifiers: false if a CSV file has none; columns are 0, 1, 2 ...
#   picture_mode: auto       # classifiers: grey or rgb; auto: grey if every picture is stored so
#   max_unreadable_share: 0.01         # more unreadable records of a side are an error
#   max_cross_split_share: 0.1         # more nonmembers that occur among the members are one, too
#   near_duplicate_rms: 0.02           # how far apart pictures are near-duplicates; 0 seeks none
#   max_near_pairs: 10000000000        # more pairs of pictures are not compared
#   max_pixels: 89478485               # larger pictures are refused

# classes: [cat, dog]        # classifiers: labels in the order of the outputs, if the file has none

# sensitive: [income]        # classifiers: columns that attribute inference tries to guess

# n_train: 50000             # all training records, to extrapolate a bound to them
# tester: ...                # name printed in the report's signature field
"""


def load_config(path: Path | None) -> ScanConfig:
    """Read a configuration file; None gives the defaults.

    Raises PolicyError that names the file, the key and the nearest known key.
    """
    if path is None:
        return ScanConfig()
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PolicyError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path} is not valid YAML: {str(error).splitlines()[0]}") from error
    if found is not None and not (
        isinstance(found, dict) and all(isinstance(k, str) for k in found)
    ):
        raise PolicyError(f"{path} must hold keys and values; `auditor init` writes an example")
    try:
        return ScanConfig(**(found or {}))
    except DataError as error:
        raise PolicyError(f"{path}: records: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            known = [f.name for f in dataclasses.fields(ReadOptions)]
            if len(first["loc"]) == 1:
                known = list(ScanConfig.model_fields)
            hint = did_you_mean(str(first["loc"][-1]), known)
            raise PolicyError(f"{path}: unknown key '{where}'; {hint}") from None
        raise PolicyError(f"{path}: '{where}': {first['msg']}") from None
