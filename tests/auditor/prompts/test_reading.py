"""Lists of prompts: formats, repeats, labels, faults that name no prompt."""

from __future__ import annotations

import json
import stat

import pandas as pd
import pytest

from attacks.errors import DataError
from auditor.prompts.reading import Prompt, drawn, read_prompts, shuffled, write_map
from auditor.records import load_or_create_project_key

PROMPTS = ["a red fox", "a blue fox", "a red fox"]


def write(folder, suffix, column="prompt", labels=None):
    path = folder / f"list{suffix}"
    rows = [{column: text} for text in PROMPTS]
    for row, label in zip(rows, labels or [], strict=False):
        row["label"] = label
    if suffix == ".txt":
        path.write_text("\n".join(["", *PROMPTS, " "]) + "\n")
    elif suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows))
    elif suffix == ".csv":
        pd.DataFrame(rows).to_csv(path, index=False)
    else:
        pd.DataFrame(rows).to_parquet(path)
    return path


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".jsonl", ".parquet"])
def test_every_format_gives_the_same_prompts(tmp_path, suffix):
    found = read_prompts(write(tmp_path, suffix, column="caption"))
    assert [p.text for p in found.suspects] == ["a red fox", "a blue fox"]
    assert [p.multiplicity for p in found.suspects] == [2, 1]
    assert found.references == ()


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_labels_split_the_list(tmp_path, suffix):
    found = read_prompts(write(tmp_path, suffix, labels=["suspect", "Reference", "suspect"]))
    assert [p.text for p in found.suspects] == ["a red fox"]
    assert [p.text for p in found.references] == ["a blue fox"]


def test_faults_name_the_place_and_never_a_prompt(tmp_path):
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "other.csv").write_text("title\na red fox\n")
    (tmp_path / "list.docx").write_text("a red fox")
    (tmp_path / "broken.parquet").write_text("a red fox")
    wrong = write(tmp_path, ".jsonl", labels=["suspect", "maybe a fox", "suspect"])
    both = write(tmp_path, ".csv", labels=["suspect", "suspect", "reference"])
    cases = {
        tmp_path / "absent.txt": "no file",
        tmp_path / "empty.txt": "no prompt",
        tmp_path / "other.csv": "no column of prompts",
        tmp_path / "list.docx": ".parquet",
        tmp_path / "broken.parquet": "Parquet",
        wrong: "row 2",
        both: "both suspect and reference",
    }
    for path, words in cases.items():
        with pytest.raises(DataError, match=words) as caught:
            read_prompts(path)
        assert "fox" not in str(caught.value)


def test_a_limit_draws_the_same_prompts_in_any_order():
    prompts = [Prompt(f"prompt {i}", i) for i in range(20)]
    kept = drawn(prompts, 5, 0)
    assert len(kept) == 5
    assert {p.text for p in drawn(prompts[::-1], 5, 0)} == {p.text for p in kept}
    assert drawn(prompts, 5, 1) != kept
    assert drawn(prompts, None, 0) == tuple(prompts)


def test_built_references_have_the_words_of_their_prompts():
    prompts = [Prompt("one two three four", 1), Prompt("five six seven", 2), Prompt("alone", 3)]
    built = shuffled(prompts, 12, 0)
    assert built == shuffled(prompts, 12, 0)
    texts = {p.text for p in built}
    assert not texts & {p.text for p in prompts}
    assert {tuple(sorted(t.split())) for t in texts} <= {
        tuple(sorted(p.text.split())) for p in prompts
    }
    assert len(texts) == len(built) > 3
    assert shuffled([Prompt("alone", 1)], 5, 0) == ()


def test_the_map_is_private(tmp_path):
    key = load_or_create_project_key(tmp_path / "key")
    prompt = Prompt("a red fox", 4)
    write_map(tmp_path / "map.jsonl", [prompt], key)
    assert stat.S_IMODE((tmp_path / "map.jsonl").stat().st_mode) == 0o600
    row = json.loads((tmp_path / "map.jsonl").read_text())
    assert row["record_id"] == key.publish(prompt.id) != prompt.id
    assert "fox" not in repr(prompt)
