"""Sets of shadow models: kept, resumed, extended, repaired; and what they show."""

import stat

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from attacks.errors import DataError, ShapeError, TargetError, UsageError
from auditor.observe.cache import purge
from auditor.shadows import (
    Pool,
    ShadowStore,
    SklearnRecipe,
    paired_halves,
    random_subsets,
    train_shadows,
)
from auditor.shadows.stacked import StackedRun
from auditor.shadows.store import Trained
from tests.auditor.shadows.samples import Interrupted, Watched, small_pool, small_recipe

FOREST = SklearnRecipe(RandomForestClassifier(3))
RECIPES = {"torch": small_recipe(), "sklearn": FOREST}


@pytest.fixture
def store(tmp_path):
    return ShadowStore(tmp_path / "cache")


def train(recipe, m, store, progress=None, pool=None, **options):
    options = {"device": "cpu", "processes": 1} | options
    return train_shadows(recipe, pool or small_pool(), m, 0, store, progress, **options)


def same(one, other):
    return one.logits.tobytes() == other.logits.tobytes() and (one.keep == other.keep).all()


@pytest.mark.parametrize("kind", RECIPES)
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(kind, tmp_path):
    pool = small_pool()
    sets = [
        train_shadows(
            RECIPES[kind], pool, 4, seed, ShadowStore(tmp_path / name), device="cpu", processes=1
        )
        for seed, name in ((0, "a"), (0, "b"), (1, "c"))
    ]
    assert same(sets[0], sets[1])
    assert not same(sets[0], sets[2])
    assert (sets[0].keep == paired_halves(pool.record_ids, 4, 0)).all()
    assert sets[0].logits.shape == (4, 41, 3)
    assert sets[0].logits.dtype == np.float32
    assert sets[0].record_ids == tuple(pool.record_ids)
    assert sets[0].seconds > 0
    assert len(set(sets[0].seeds)) == 4


@pytest.mark.parametrize("kind", RECIPES)
def test_what_is_stored_is_not_trained_again(kind, store):
    first = train(RECIPES[kind], 4, store)
    progress = Watched()
    again = train(RECIPES[kind], 4, store, progress)
    assert same(first, again)
    assert progress.stages == []
    assert (first.n_reused, again.n_reused) == (0, 4)
    assert again.seconds == pytest.approx(first.seconds)
    assert again.notes == first.notes
    fresh = Watched()
    train(RECIPES[kind], 4, ShadowStore(store.root, is_fresh=True), fresh)
    assert fresh.stages == [("training shadow models", 4, "models")]


@pytest.mark.parametrize("kind", RECIPES)
def test_more_models_train_only_the_new_ones(kind, store, tmp_path):
    few = train(RECIPES[kind], 4, store)
    progress = Watched()
    many = train(RECIPES[kind], 10, store, progress)
    assert progress.stages == [("training shadow models", 6, "models")]
    assert progress.done == 6
    assert many.n_reused == 4
    assert many.logits[:4].tobytes() == few.logits.tobytes()
    assert (many.keep[:4] == few.keep).all()
    at_once = train(RECIPES[kind], 10, ShadowStore(tmp_path / "other"))
    np.testing.assert_allclose(many.logits, at_once.logits, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("stop_after", [1, 3, 4])
def test_an_interruption_loses_at_most_the_pair_under_way(store, tmp_path, stop_after):
    with pytest.raises(Interrupted):
        train(FOREST, 6, store, Watched(stop_after))
    progress = Watched()
    resumed = train(FOREST, 6, store, progress)
    n_kept = -(-stop_after // 2) * 2  # told once the pair is stored
    assert progress.stages == [("training shadow models", 6 - n_kept, "models")]
    assert same(resumed, train(FOREST, 6, ShadowStore(tmp_path / "whole")))


@pytest.mark.parametrize("stop_after", [1, 5])
def test_an_interrupted_stack_goes_on_at_its_last_checkpoint(
    store, tmp_path, monkeypatch, stop_after
):
    taken = []
    step = StackedRun.step

    def counted(run, number):
        taken.append(number)
        step(run, number)

    recipe = RECIPES["torch"]
    monkeypatch.setattr(StackedRun, "step", counted)
    whole = train(recipe, 6, ShadowStore(tmp_path / "whole"))
    n_whole = len(taken)
    with pytest.raises(Interrupted):
        train(recipe, 6, store, Watched(stop_after), checkpoint_seconds=0)
    n_before = len(taken) - n_whole
    resumed = train(recipe, 6, store, checkpoint_seconds=0)
    n_after = len(taken) - n_whole - n_before
    assert same(resumed, whole)
    assert n_before + n_after == n_whole + 1  # every run tries one step first
    assert list(store.root.rglob("state.shadow")) == []


def test_a_stack_under_way_goes_on_though_more_models_are_asked_for(store, tmp_path):
    recipe = RECIPES["torch"]
    with pytest.raises(Interrupted):
        train(recipe, 4, store, Watched(2), checkpoint_seconds=0)
    progress = Watched()
    more = train(recipe, 8, store, progress, checkpoint_seconds=0)
    assert progress.done == 8
    first = train(recipe, 4, ShadowStore(tmp_path / "four"))
    assert more.logits[:4].tobytes() == first.logits.tobytes()
    fewer = ShadowStore(tmp_path / "fewer")
    with pytest.raises(Interrupted):
        train(recipe, 8, fewer, Watched(2), checkpoint_seconds=0)
    progress = Watched()
    assert train(recipe, 4, fewer, progress).logits.tobytes() == first.logits.tobytes()
    assert progress.done == 4


@pytest.mark.parametrize("kind", RECIPES)
@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied"])
def test_a_damaged_file_is_trained_again(kind, damage, store):
    whole = train(RECIPES[kind], 4, store)
    (path,) = store.root.rglob("00001.shadow")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"cut": content[:-5], "flipped": content, "emptied": b""}[damage])
    progress = Watched()
    repaired = train(RECIPES[kind], 4, store, progress)
    assert progress.stages == [("training shadow models", 2, "models")]
    np.testing.assert_allclose(repaired.logits, whole.logits, rtol=1e-3, atol=1e-5)


def test_a_damaged_checkpoint_is_forgotten(store, tmp_path):
    with pytest.raises(Interrupted):
        train(RECIPES["torch"], 4, store, Watched(2), checkpoint_seconds=0)
    (path,) = store.root.rglob("state.shadow")
    path.write_bytes(path.read_bytes()[:-1])
    resumed = train(RECIPES["torch"], 4, store)
    assert same(resumed, train(RECIPES["torch"], 4, ShadowStore(tmp_path / "whole")))


def test_a_pair_of_other_halves_seeds_or_classes_is_not_taken(tmp_path):
    folder = ShadowStore(tmp_path).folder("some", "identity")
    keep, seeds = paired_halves([str(i) for i in range(9)], 2, 0), np.array([1, 2])
    pair = Trained((0, 1), np.ones((2, 9, 3), dtype=np.float32), 1.5, 0.25, 1)
    folder.store_pair(0, pair, keep, seeds)
    stored = folder.load_pair(0, keep, seeds, 3)
    assert stored._replace(logits=pair.logits) == pair
    assert (stored.logits == pair.logits).all()
    assert folder.load_pair(0, ~keep, seeds, 3) is None
    assert folder.load_pair(0, keep, seeds + 1, 3) is None
    assert folder.load_pair(0, keep, seeds, 4) is None
    assert folder.load_pair(1, keep, seeds, 3) is None


def test_another_pool_recipe_design_or_seed_is_another_entry(store):
    pool = small_pool()
    changed = pool.features.copy()
    changed[3, 2] += 1
    order = np.arange(41)[::-1]
    others = [
        small_pool(features=changed),
        small_pool(classes=(pool.classes + 1) % 3),
        small_pool(record_ids=[f"other {i}" for i in range(41)]),
        small_pool(groups=[str(i // 2) for i in range(41)]),
        Pool([pool.record_ids[i] for i in order], pool.features[order], pool.classes[order], 3),
    ]
    train(FOREST, 2, store)
    for other in others:
        assert train(FOREST, 2, store, pool=other).n_reused == 0
    assert train(FOREST, 2, store, share=0.5).n_reused == 0
    assert train(SklearnRecipe(RandomForestClassifier(4)), 2, store).n_reused == 0
    assert train(FOREST, 2, store).n_reused == 2


def test_the_order_of_rows_moves_no_record_to_another_half(store):
    pool = small_pool()
    order = np.random.default_rng(0).permutation(41)
    shuffled = Pool(
        [pool.record_ids[i] for i in order], pool.features[order], pool.classes[order], 3
    )
    assert (
        train(FOREST, 4, store, pool=shuffled).keep == train(FOREST, 4, store).keep[:, order]
    ).all()


def test_stored_models_are_private_and_purged_with_the_cache(store):
    train(RECIPES["torch"], 2, store)
    (folder,) = store.root.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = list(folder.iterdir())
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600]
    assert b"record 1" not in files[0].read_bytes()
    assert purge(store.root) > 0
    assert list(store.root.iterdir()) == []


def test_many_logits_are_mapped_from_a_file_without_a_name(store, monkeypatch, tmp_path):
    expected = train(FOREST, 4, ShadowStore(tmp_path / "memory"))
    monkeypatch.setattr("auditor.shadows.train.MOST_IN_MEMORY", 100)
    mapped = train(FOREST, 4, store)
    assert isinstance(mapped.logits, np.memmap)
    assert same(mapped, expected)
    assert [p.suffix for p in store.root.rglob("*") if p.is_file()] == [".shadow"] * 2


@pytest.mark.filterwarnings("error")
def test_processes_change_nothing_but_the_time(store, tmp_path):
    with pytest.raises(Interrupted):
        train(FOREST, 6, store, Watched(2), processes=2)
    progress = Watched()
    resumed = train(FOREST, 6, store, progress, processes=2)
    assert progress.done == 4
    assert same(resumed, train(FOREST, 6, ShadowStore(tmp_path / "alone")))


def test_an_error_in_a_process_is_told_without_records(store):
    pool = small_pool(features=np.array([[f"secret {i}"] for i in range(41)]))
    with pytest.raises(TargetError, match="could not be fitted on 2[01] records") as caught:
        train(SklearnRecipe(LogisticRegression()), 4, store, pool=pool, processes=2)
    assert "secret" not in str(caught.value)


def table():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"age": rng.normal(50, 10, 40), "town": rng.choice(list("abcd"), 40), "rare": "common"}
    )
    frame.loc[7, "rare"] = "only Anna"
    return frame


def pipeline(**encoder):
    columns = make_column_transformer(
        (StandardScaler(), ["age"]), (OneHotEncoder(**encoder), ["town", "rare"])
    )
    return SklearnRecipe(make_pipeline(columns, LogisticRegression()))


def test_tables_keep_the_names_of_their_columns(store):
    pool = small_pool(40, features=table())
    shadows = train(pipeline(handle_unknown="ignore"), 4, store, pool=pool)
    assert np.isfinite(shadows.logits).all()
    other = table()
    other.loc[3, "town"] = "e"
    key = small_pool(40, features=other).key
    assert key != pool.key == small_pool(40, features=table()).key


def test_an_encoder_that_fails_on_the_other_half_is_told_without_records(store):
    pool = small_pool(40, features=table())
    with pytest.raises(TargetError, match="handle_unknown='ignore'") as caught:
        train(pipeline(), 4, store, pool=pool)
    assert "Anna" not in str(caught.value)


def test_a_class_that_a_half_lacks_gets_the_least_probability(store):
    classes = np.zeros(40, dtype=int)
    classes[20:] = 1
    classes[7] = 2
    pool = small_pool(40, classes=classes)
    shadows = train(SklearnRecipe(DecisionTreeClassifier()), 4, store, pool=pool)
    lacking = shadows.logits[~shadows.keep[:, 7]]
    assert np.allclose(lacking[:, :, 2], np.log(1e-30))  # as a class without a vote
    having = shadows.logits[shadows.keep[:, 7]]
    assert np.allclose(having[:, 7, 2], 0)
    assert shadows.eps == 1e-6


def test_clipped_probabilities_and_warnings_are_reported(store):
    few_steps = SklearnRecipe(LogisticRegression(max_iter=1))
    progress = Watched()
    shadows = train(few_steps, 4, store, progress)
    assert any("4 of 4 shadow models gave warnings" in note for note in shadows.notes)
    assert list(shadows.notes) == progress.notes
    trees = train(SklearnRecipe(DecisionTreeClassifier()), 4, store)
    assert trees.clipped == 1
    assert trees.eps == train(SklearnRecipe(DecisionTreeClassifier()), 4, store).eps == 1e-6
    assert any("100.0% of" in note for note in trees.notes)
    assert train(SklearnRecipe(DecisionTreeClassifier()), 4, store).notes == trees.notes


def test_subjects_stay_together_and_all_models_take_the_same_steps(store):
    groups = [str(min(i // 3, 4)) for i in range(41)]  # one subject has most records
    shadows = train(RECIPES["torch"], 4, store, pool=small_pool(groups=groups))
    for subject in set(groups):
        mine = [i for i, group in enumerate(groups) if group == subject]
        assert (shadows.keep[:, mine] == shadows.keep[:, mine[:1]]).all()


def test_subsets_of_a_share(store):
    pool = small_pool()
    shadows = train(FOREST, 6, store, share=0.7)
    assert (shadows.keep == random_subsets(pool.record_ids, 6, 0.7, 0)).all()


def test_nearest_neighbours_remember_exactly_what_they_were_trained_on(store):
    """A model that answers from memory is right on every IN record: rows and masks fit together."""
    rng = np.random.default_rng(1)
    pool = small_pool(60, features=rng.normal(size=(60, 5)), classes=rng.integers(3, size=60))
    shadows = train(SklearnRecipe(KNeighborsClassifier(1)), 20, store, pool=pool)
    is_right = shadows.logits.argmax(axis=2) == pool.classes
    assert is_right[shadows.keep].all()
    assert is_right[~shadows.keep].mean() < 0.6
    for i in (0, 17, 59):  # equal to the nearest record of the training set, by a slow search
        for model in range(20):
            rows = np.flatnonzero(shadows.keep[model])
            distance = [np.linalg.norm(pool.features[i] - pool.features[j]) for j in rows]
            nearest = rows[int(np.argmin(distance))]
            assert shadows.logits[model, i].argmax() == pool.classes[nearest]


def test_torch_models_remember_what_they_were_trained_on(store):
    rng = np.random.default_rng(1)
    pool = small_pool(60, features=rng.normal(size=(60, 6)), classes=rng.integers(3, size=60))
    recipe = small_recipe(epochs=None, steps=200, optimiser_settings={"lr": 0.05})
    shadows = train(recipe, 8, store, pool=pool)
    is_right = shadows.logits.argmax(axis=2) == pool.classes
    assert is_right[shadows.keep].mean() > is_right[~shadows.keep].mean() + 0.2


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: train(FOREST, 3, None), UsageError, "pairs"),
        (lambda: small_pool(classes=np.zeros(3, dtype=int)), ShapeError, "expected 41 classes"),
        (lambda: small_pool(classes=np.zeros(41)), ShapeError, "integers"),
        (lambda: small_pool(classes=np.full(41, 3)), DataError, "from 3 to 3"),
        (lambda: small_pool(groups=["a"]), ShapeError, "expected 41 groups"),
    ],
)
def test_what_cannot_be_trained_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()
