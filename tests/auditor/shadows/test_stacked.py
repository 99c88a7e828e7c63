"""Stacked training equals training each model alone; what cannot be stacked is found."""

import functools

import numpy as np
import pytest
import torch
from torch import nn

from attacks.errors import DataError, TargetError
from auditor.shadows.batches import Batches
from auditor.shadows.halves import model_seeds, paired_halves
from auditor.shadows.job import make_job
from auditor.shadows.one_by_one import OneByOneRun
from auditor.shadows.stacked import (
    ELEMENTWISE,
    StackedRun,
    stack_size,
    stacked_optimiser,
    stacking,
)
from auditor.shadows.torch_models import built, mixed_seed
from auditor.shadows.torch_training import TorchTraining
from tests.auditor.shadows.samples import mlp, small_pool, small_recipe

CPU = torch.device("cpu")


class Net(nn.Module):
    """A few layers after one another, in double precision if asked."""

    def __init__(self, *layers, dtype=torch.float32):
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.to(dtype)

    def forward(self, x):
        return self.layers(x)


def cnn(dtype=torch.float32):
    return Net(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 3), dtype=dtype
    )


def deep(dtype=torch.float32):
    return Net(nn.Linear(6, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 3), dtype=dtype)


def job_of(recipe, pool=None, m=4, seed=0):
    pool = pool or small_pool()
    keep = paired_halves(pool.record_ids, m, seed)
    return make_job(recipe, pool, keep, model_seeds(seed, m).tolist(), 20, CPU)


def trained(run):
    for number in range(run.n_steps):
        run.step(number)
    return run


def assert_same_weights(one, other, **tolerance):
    theirs = other.state_dict()
    for name, value in one.state_dict().items():
        torch.testing.assert_close(value, theirs[name], **tolerance)


def by_hand(job, model):
    """One model of a job in an ordinary loop that shares nothing with the code but the seeds."""
    torch.manual_seed(job.seeds[model])
    net = job.recipe.model()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    members = np.flatnonzero(job.keep[model])
    stream = []
    for epoch in range(10):
        generator = torch.Generator().manual_seed(mixed_seed(job.seeds[model], epoch))
        stream += members[torch.randperm(len(members), generator=generator).numpy()].tolist()
    for step in range(job.n_steps):
        rows = stream[step * job.rows : (step + 1) * job.rows]
        loss = nn.functional.cross_entropy(net(job.inputs[rows]), job.classes[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net


SGD = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}


@pytest.mark.parametrize(
    ("model", "shape"), [(deep, (6,)), (cnn, (1, 6, 6))], ids=["perceptron", "convolutions"]
)
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, {"rtol": 1e-9, "atol": 1e-11}), (torch.float32, {"rtol": 1e-3, "atol": 1e-5})],
    ids=["double", "single"],
)
def test_three_models_together_are_three_models_alone(model, shape, dtype, tolerance):
    recipe = small_recipe(
        model=functools.partial(model, dtype), optimiser="sgd", optimiser_settings=SGD
    )
    job = job_of(recipe, small_pool(shape=shape))
    together = trained(StackedRun(job, (0, 1, 3), is_random=False))
    alone = trained(OneByOneRun(job, (0, 1, 3)))
    for position, number in enumerate((0, 1, 3)):
        expected = by_hand(job, number)
        assert_same_weights(together.module(position), expected, **tolerance)
        assert_same_weights(alone.module(position), expected, **tolerance)
        answers = expected.eval()(job.inputs).detach().numpy()
        np.testing.assert_allclose(together.logits()[position], answers, rtol=1e-3, atol=1e-5)
    assert not np.allclose(together.logits()[0], together.logits()[1], atol=0.01)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("sgd", {"lr": 0.1}),
        ("sgd", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
        ("sgd", {"lr": 0.1, "momentum": 0.5, "dampening": 0.1}),
        ("adam", {"lr": 0.01, "weight_decay": 0.1}),
        ("adam", {"lr": 0.01, "amsgrad": True}),
        ("adamw", {"lr": 0.01, "weight_decay": 0.1, "betas": (0.5, 0.9)}),
        ("adamax", {"weight_decay": 0.1}),
        ("nadam", {"momentum_decay": 0.01}),
        ("radam", {"decoupled_weight_decay": True, "weight_decay": 0.1}),
        ("rmsprop", {"centered": True, "momentum": 0.5}),
        ("adagrad", {"initial_accumulator_value": 0.1}),
        ("adadelta", {"rho": 0.8}),
    ],
)
def test_the_optimiser_of_a_stack_of_one_is_torchs_own_to_the_bit(name, settings):
    job = job_of(small_recipe(optimiser=name, optimiser_settings=settings))
    alone = {n: p.detach().clone() for n, p in job.prototype.named_parameters()}
    stack = {n: p.detach().clone()[None] for n, p in job.prototype.named_parameters()}
    kind = next(c for c in ELEMENTWISE if c.__name__.lower() == name)
    theirs, ours = kind(alone.values(), **settings), stacked_optimiser(job, stack)
    generator = torch.Generator().manual_seed(0)
    for _ in range(7):
        for n, p in alone.items():
            p.grad = torch.randn(p.shape, generator=generator)
            stack[n].grad = p.grad[None].clone()
        theirs.step()
        ours.step()
    for n, p in alone.items():
        assert torch.equal(p, stack[n][0]), n
    assert not torch.equal(alone["0.weight"], job.prototype.get_parameter("0.weight"))


def test_groups_of_parameters_keep_their_settings():
    def optimiser(parameters):
        weights = list(parameters)
        decayed = [p for p in weights if p.ndim > 1]
        rest = [p for p in weights if p.ndim < 2]
        return torch.optim.AdamW(
            [{"params": decayed, "weight_decay": 0.5}, {"params": rest, "lr": 0.0}], lr=0.01
        )

    recipe = small_recipe(optimiser=optimiser, optimiser_settings={})
    job = job_of(recipe)
    together, alone = trained(StackedRun(job, (0, 1), False)), trained(OneByOneRun(job, (0, 1)))
    for position in (0, 1):
        assert_same_weights(together.module(position), alone.module(position), rtol=1e-3, atol=1e-5)
        start = built(recipe, job.seeds[position])
        assert torch.equal(together.module(position)[0].bias, start[0].bias)


def test_frozen_and_tied_weights_and_a_loss_of_the_users():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
            self.second.weight = self.first.weight
            self.first.bias.requires_grad_(False)
            self.last = nn.Linear(6, 3)
            self.register_buffer("scale", torch.rand(6))

        def forward(self, x):
            return self.last(torch.tanh(self.second(torch.tanh(self.first(x * self.scale)))))

    def loss(logits, classes):
        wanted = (classes[:, None] == torch.arange(3)).float()
        return (torch.softmax(logits, dim=1) - wanted).square().mean()

    job = job_of(small_recipe(model=Tied, loss=loss))
    assert stacking(job) == (None, False)
    together, alone = trained(StackedRun(job, (2, 3), False)), trained(OneByOneRun(job, (2, 3)))
    for position in (0, 1):
        model = together.module(position)
        assert_same_weights(model, alone.module(position), rtol=1e-3, atol=1e-5)
        assert torch.equal(model.first.weight, model.second.weight)
        assert torch.equal(model.first.bias, built(job.recipe, job.seeds[2 + position]).first.bias)
    np.testing.assert_allclose(together.logits(), alone.logits(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("width", [None, 1])
def test_one_output_for_two_classes_is_the_second_logit(width):
    class Binary(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 1)

        def forward(self, x):
            return self.layer(x) if width else self.layer(x)[:, 0]

    job = job_of(small_recipe(model=Binary), small_pool(k=2))
    assert stacking(job).obstacle is None
    run = trained(StackedRun(job, (0, 1), False))
    logits = run.logits()
    assert logits.shape == (2, 41, 2)
    assert (logits[:, :, 0] == 0).all()
    scores = run.module(1)(job.inputs).detach().numpy().ravel()
    np.testing.assert_allclose(logits[1, :, 1], scores, rtol=1e-5, atol=1e-6)


def test_dropout_is_stacked_with_its_own_noise_for_each_model():
    def model():
        return nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.5), nn.Linear(16, 3))

    job = job_of(small_recipe(model=model))
    assert stacking(job) == (None, True)
    first, again = (trained(StackedRun(job, (0, 1), True)).logits() for _ in range(2))
    assert first.tobytes() == again.tobytes()
    plain = job_of(small_recipe(model=lambda: nn.Sequential(*[model()[i] for i in (0, 2)])))
    assert not np.allclose(first, trained(StackedRun(plain, (0, 1), False)).logits())


@pytest.mark.parametrize("is_stack", [True, False])
def test_models_are_asked_without_dropout(is_stack):
    job = job_of(
        small_recipe(model=lambda: nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.5), mlp_of(16)))
    )
    run = trained(StackedRun(job, (0, 1), True) if is_stack else OneByOneRun(job, (0, 1)))
    for position, logits in enumerate(run.logits()):
        layers = run.module(position)
        expected = layers[2](layers[0](job.inputs)).detach().numpy()
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def mlp_of(d):
    return nn.Sequential(nn.ReLU(), nn.Linear(d, 3))


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x):
        return self.layer(x) if x.sum() > 0 else self.layer(-x)


def normalised():
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))


def clipping(parameters):
    optimiser = torch.optim.SGD(parameters, lr=0.1)
    optimiser.register_step_pre_hook(lambda *_: None)
    return optimiser


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": normalised}, "running averages"),
        ({"model": Branching}, "cannot map over the training"),
        ({"optimiser": "lbfgs", "optimiser_settings": {}, "epochs": 1}, "LBFGS does not treat"),
        ({"loss": lambda z, y: (z - nn.functional.one_hot(y, 3)).square().mean()}, "cannot map"),
        ({"optimiser": clipping, "optimiser_settings": {}}, "SGD has hooks"),
    ],
)
def test_what_cannot_be_stacked_is_trained_one_by_one_and_said(changes, words):
    notes = []
    job = job_of(small_recipe(**changes))
    training = TorchTraining(job, notes.append)
    assert training.size == 1
    assert len(notes) == 1
    assert "one by one" in notes[0]
    assert words in notes[0]
    parts = list(training.chunks(range(4)))
    assert [part.models for part in parts] == [(0, 1), (2, 3)]
    again = trained(OneByOneRun(job, (2, 3))).logits()
    assert parts[1].logits.tobytes() == again.tobytes()
    assert np.isfinite(again).all()


def test_batch_normalisation_without_running_averages_is_stacked():
    def model():
        return nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, 3)
        )

    assert stacking(job_of(small_recipe(model=model))).obstacle is None


def test_a_resumed_run_gives_the_same_bytes():
    job = job_of(small_recipe())
    for start in (
        lambda: StackedRun(job, (0, 1, 2, 3), False),
        lambda: OneByOneRun(job, (0, 1, 2, 3)),
    ):
        whole = trained(start()).logits()
        for stop in (0, 3, start().n_steps // 4, start().n_steps - 1, start().n_steps):
            first = start()
            for number in range(stop):
                first.step(number)
            state = first.state()
            if stop < first.n_steps:
                first.step(stop)  # what follows must not reach into the state
            second = start()
            second.restore(state)
            for number in range(stop, second.n_steps):
                second.step(number)
            assert second.logits().tobytes() == whole.tobytes()


def test_out_of_memory_halves_the_stack_and_goes_on(monkeypatch):
    notes = []
    job = job_of(small_recipe(), m=8)
    whole = list(TorchTraining(job, notes.append).chunks(range(8)))
    assert [part.models for part in whole] == [tuple(range(8))]
    assert notes == []
    step = StackedRun.step

    def small_machine(run, number):
        if len(run.models) > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        step(run, number)

    monkeypatch.setattr(StackedRun, "step", small_machine)
    training = TorchTraining(job, notes.append)
    training.size = 8
    parts = list(training.chunks(range(8)))
    assert [part.models for part in parts] == [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert len(notes) == 2
    np.testing.assert_allclose(
        np.concatenate([part.logits for part in parts]), whole[0].logits, rtol=1e-3, atol=1e-5
    )


def test_a_machine_too_small_for_one_model_is_an_error(monkeypatch):
    def no_machine(run, number):
        raise MemoryError

    job = job_of(small_recipe())
    training = TorchTraining(job, lambda text: None)
    monkeypatch.setattr(StackedRun, "step", no_machine)
    monkeypatch.setattr(OneByOneRun, "step", no_machine)
    with pytest.raises(TargetError, match="single shadow model"):
        list(training.chunks(range(4)))


def test_the_size_of_a_stack_follows_from_memory(monkeypatch):
    job = job_of(small_recipe())
    # 83 weights, 8 rows of 8 + 8 + 3 activations and 6 features, 4 bytes each
    each = 4 * (5 * 83 + 3 * 8 * 19 + 8 * 6)
    monkeypatch.setattr("auditor.shadows.stacked.CPU_BYTES", 7 * each + 1)
    assert stack_size(job) == 6
    monkeypatch.setattr("auditor.shadows.stacked.CPU_BYTES", 1)
    assert stack_size(job) == 2


def test_every_epoch_of_a_model_is_its_whole_training_set():
    members = [torch.tensor([1, 3, 5, 7, 9, 11, 13]), torch.tensor([0, 2, 4, 6, 8])]
    batches = Batches(members, [5, 6], 3, CPU)
    steps = torch.cat([batches.at(step) for step in range(35)], dim=1)
    for row, mine in zip(steps, members, strict=True):
        epochs = row[: 5 * len(mine)].reshape(5, len(mine))
        assert (epochs.sort(dim=1).values == mine).all()
        assert len({tuple(epoch.tolist()) for epoch in epochs}) > 1
    assert torch.equal(batches.at(17), steps[:, 51:54])
    alone = Batches(members[1:], [6], 3, CPU)
    assert torch.equal(alone.at(20)[0], steps[1, 60:63])


@pytest.mark.parametrize(
    ("changes", "pool", "error", "words"),
    [
        ({"model": lambda: nn.Linear(5, 3)}, {}, TargetError, "fails on inputs of shape"),
        ({"model": lambda: nn.Linear(6, 4)}, {}, TargetError, r"shape \(8, 3\)"),
        ({"model": lambda: nn.LSTM(6, 3)}, {}, TargetError, "got tuple"),
        ({"loss": lambda z, y: z.sum(dim=1)}, {}, TargetError, "mean over the batch"),
        ({}, {"features": np.full((41, 6), np.nan)}, DataError, "41 of 41 records"),
        ({}, {"features": np.full((41, 6), "secret")}, DataError, "numeric"),
    ],
)
def test_a_recipe_that_does_not_fit_the_pool_is_refused(changes, pool, error, words):
    with pytest.raises(error, match=words) as caught:
        job_of(small_recipe(**changes), small_pool(**pool))
    assert "secret" not in str(caught.value)


def test_divergence_is_an_error():
    job = job_of(small_recipe(optimiser="sgd", optimiser_settings={"lr": 1e30}))
    with pytest.raises(TargetError, match="4 of 4 shadow models diverged"):
        list(TorchTraining(job, lambda text: None).chunks(range(4)))


def test_integers_are_looked_up_or_counted():
    tokens = np.arange(41 * 6).reshape(41, 6) % 5
    table = small_recipe(
        model=lambda: nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(24, 3))
    )
    assert job_of(table, small_pool(features=tokens)).inputs.dtype == torch.int64
    assert job_of(small_recipe(), small_pool(features=tokens)).inputs.dtype == torch.float32


def test_models_start_from_their_own_weights():
    recipe = small_recipe(epochs=None, steps=0)
    job = job_of(recipe)
    (part,) = TorchTraining(job, lambda text: None).chunks(range(4))
    for i in range(4):
        torch.manual_seed(job.seeds[i])
        expected = mlp()(job.inputs).detach().numpy()
        np.testing.assert_allclose(part.logits[i], expected, rtol=1e-5, atol=1e-6)
