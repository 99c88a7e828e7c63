"""Networks as targets: torch programs and weights, ONNX models, and what is refused."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from attacks.errors import DataError, TargetError
from auditor.targets.classifier import open_classifier
from tests.auditor.targets import classifier_models

DIGITS = load_digits()
X = (DIGITS.images / 16).astype(np.float32)
WINE = load_wine(as_frame=True)
FACTORY = "tests.auditor.targets.classifier_models:"


@pytest.fixture(scope="module")
def trained():
    """An MLP after a few epochs on 1,000 digits, in eval mode."""
    torch.manual_seed(0)
    model = classifier_models.mlp()
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    x, y = torch.from_numpy(X[:1000]), torch.from_numpy(DIGITS.target[:1000])
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    return model.eval()


def direct(model, x=X):
    with torch.no_grad():
        return model(torch.from_numpy(x)).double().numpy()


def exported(model, path, *, n=2, is_dynamic=True):
    shapes = ({0: torch.export.Dim("batch")},) if is_dynamic else None
    program = torch.export.export(model, (torch.from_numpy(X[:n]),), dynamic_shapes=shapes)
    torch.export.save(program, path)
    return path


def weights(model, path):
    save_file(model.state_dict(), path)
    return path


def test_weights_with_a_factory(tmp_path, trained):
    path = weights(trained, tmp_path / "m.safetensors")
    target = open_classifier(path, example=X, device="cpu", factory=FACTORY + "mlp")
    np.testing.assert_allclose(target.logits(X), direct(trained), atol=1e-5)
    assert np.mean(target.logits(X).argmax(axis=1) == target.class_indices(DIGITS.target)) > 0.85
    assert target.capabilities.gives == "logits"
    assert target.capabilities.architecture == "Sequential"
    assert target.capabilities.n_classes == 10
    assert target.n_parameters == sum(p.numel() for p in trained.parameters())
    assert set(target.hashes) == {
        "m.safetensors",
        "factory/tests/auditor/targets/classifier_models.py",
    }
    assert target.clipped_share(target.logits(X), DIGITS.target) is None


@pytest.mark.parametrize(("is_dynamic", "n"), [(True, 2), (False, 1), (False, 7)])
def test_an_exported_program(tmp_path, trained, is_dynamic, n):
    path = exported(trained, tmp_path / "m.pt2", n=n, is_dynamic=is_dynamic)
    x = X[:40]
    target = open_classifier(path, example=x, device="cpu", allow_pickle=True)
    np.testing.assert_allclose(target.logits(x), direct(trained, x), atol=1e-5)
    assert target.n_parameters == sum(p.numel() for p in trained.parameters())
    assert target.logits(x[:3]).shape == (3, 10)


def test_an_exported_program_is_refused_unasked(tmp_path, trained):
    path = exported(trained, tmp_path / "m.pt2")
    with pytest.raises(TargetError, match=r"can run code.*safetensors.*ONNX.*--allow-pickle"):
        open_classifier(path, example=X, device="cpu")
    path.write_bytes(b"junk")
    with pytest.raises(TargetError, match=r"m.pt2 cannot be loaded"):
        open_classifier(path, example=X, device="cpu", allow_pickle=True)


def test_training_mode_is_found_out(tmp_path, trained):
    torch.manual_seed(0)
    noisy = classifier_models.mlp()
    noisy.load_state_dict(trained.state_dict())
    path = exported(noisy.train(), tmp_path / "m.pt2", n=8)
    with pytest.raises(TargetError, match=r"answers differently .*model.eval\(\)"):
        open_classifier(path, example=X[:50], device="cpu", allow_pickle=True)


@pytest.mark.parametrize("last", ["log_softmax", "softmax"])
def test_what_the_last_layer_gives_is_found_out(tmp_path, trained, last):
    layer = nn.LogSoftmax(dim=1) if last == "log_softmax" else nn.Softmax(dim=1)
    path = exported(nn.Sequential(trained, layer).eval(), tmp_path / "m.pt2")
    target = open_classifier(path, example=X, device="cpu", allow_pickle=True)
    assert target.capabilities.gives == ("logits" if last == "log_softmax" else "probabilities")
    wanted = torch.log_softmax(torch.from_numpy(direct(trained)), dim=1).numpy()
    np.testing.assert_allclose(target.logits(X), wanted, atol=1e-4)


def test_objects_with_logits(tmp_path, trained):
    wrapped = classifier_models.Wrapped()
    wrapped.net.load_state_dict(trained.state_dict())
    path = weights(wrapped.eval(), tmp_path / "m.safetensors")
    target = open_classifier(path, example=X, device="cpu", factory=FACTORY + "Wrapped")
    np.testing.assert_allclose(target.logits(X), direct(trained), atol=1e-5)


def test_one_output_is_a_model_of_two_classes(tmp_path):
    cancer = load_breast_cancer(as_frame=True)
    x = ((cancer.data - cancer.data.mean()) / cancer.data.std()).astype(np.float32)
    reference = LogisticRegression().fit(x, cancer.target)
    linear = nn.Linear(30, 1)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(reference.coef_))
        linear.bias.copy_(torch.from_numpy(reference.intercept_))
    for name, model in (("l", linear), ("p", nn.Sequential(linear, nn.Sigmoid()))):
        path = tmp_path / f"{name}.pt2"
        shapes = ({0: torch.export.Dim("b")},)
        program = torch.export.export(model, (torch.zeros(2, 30),), dynamic_shapes=shapes)
        torch.export.save(program, path)
        target = open_classifier(path, example=x, device="cpu", allow_pickle=True)
        logits = target.logits(x)
        assert logits.shape == (569, 2)
        margin = reference.decision_function(x)
        is_moderate = np.abs(margin) < 8
        np.testing.assert_allclose(
            (logits[:, 1] - logits[:, 0])[is_moderate], margin[is_moderate], rtol=1e-2, atol=1e-3
        )
        assert target.capabilities.gives == ("logits" if name == "l" else "probabilities")


def test_batches_do_not_change_answers(tmp_path, trained, monkeypatch):
    from auditor.targets.classifier import numbers

    path = weights(trained, tmp_path / "m.safetensors")
    target = open_classifier(path, example=X, device="cpu", factory=FACTORY + "mlp")
    whole = target.logits(X)
    monkeypatch.setattr(numbers, "MAX_BATCH", 13)
    np.testing.assert_allclose(target.logits(X), whole, atol=1e-5)


def test_running_out_of_memory_halves_the_batch(tmp_path, trained):
    path = weights(trained, tmp_path / "m.safetensors")
    target = open_classifier(path, example=X, device="cpu", factory=FACTORY + "mlp")
    whole = target.logits(X)
    network = target._model._module

    def limited(x):
        if len(x) > 100:
            raise torch.OutOfMemoryError("out of memory")
        return network(x)

    target._model._module = limited
    np.testing.assert_allclose(target.logits(X), whole, atol=1e-5)

    def never(x):
        raise torch.OutOfMemoryError("out of memory")

    target._model._module = never
    with pytest.raises(TargetError, match="needs more memory"):
        target.logits(X)


def test_a_factory_beside_the_current_directory(tmp_path, trained, monkeypatch):
    (tmp_path / "my_digits_net.py").write_text(
        "from tests.auditor.targets.classifier_models import mlp as build\n"
    )
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    path = weights(trained, tmp_path / "m.safetensors")
    target = open_classifier(path, example=X, device="cpu", factory="my_digits_net:build")
    assert target.capabilities.n_classes == 10
    assert sys.path == before


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (None, r"no architecture; name the function .*--factory package.module:function"),
        ("mlp", "must have the form package.module:function"),
        ("nowhere_at_all:mlp", "module nowhere_at_all of the factory cannot be imported"),
        (FACTORY + "gone", "has no function gone"),
        (FACTORY + "broken", "failed: out of order"),
        (FACTORY + "not_a_module", "returns a int, not a torch.nn.Module"),
        (FACTORY + "narrow", "does not fit the module"),
        (FACTORY + "Wrapped", "does not fit .* it lacks net.1.weight"),
        (FACTORY + "Pooled", "it lacks scale"),
    ],
)
def test_factories_that_do_not_fit(tmp_path, trained, factory, message):
    path = weights(trained, tmp_path / "m.safetensors")
    with pytest.raises(TargetError, match=message):
        open_classifier(path, example=X, device="cpu", factory=factory)


def test_inputs_and_outputs_that_do_not_fit(tmp_path, trained):
    path = weights(trained, tmp_path / "m.safetensors")
    options = {"device": "cpu", "factory": FACTORY + "mlp"}
    table = pd.DataFrame(X.reshape(len(X), 64)).rename(columns=str)
    cases = [
        (X[:, :4], r"cannot be asked with a batch of shape \(256, 4, 8\)"),
        (table.assign(city="Springfield"), "these columns hold something else: city"),
        (X[:0], "opened with a few records"),
        (np.full_like(X, np.nan), "NaN or infinity about 256 of 256 records"),
        (X.astype(str), "takes numbers"),
    ]
    for example, message in cases:
        with pytest.raises(TargetError, match=message) as caught:
            open_classifier(path, example=example, **options)
        assert "Springfield" not in str(caught.value)
    fits = open_classifier(path, example=table, **options)
    np.testing.assert_allclose(fits.logits(table), direct(trained), atol=1e-5)
    with pytest.raises(TargetError, match="10 columns, but 3 classes are listed"):
        open_classifier(path, example=X, classes=["a", "b", "c"], **options)
    with pytest.raises(TargetError, match="not distinct"):
        open_classifier(path, example=X, classes=["a"] * 10, **options)
    with pytest.raises(DataError, match="list the labels in their order with `classes`"):
        fits.class_indices([f"digit {i}" for i in DIGITS.target])
    named = open_classifier(path, example=X, classes=[f"digit {i}" for i in range(10)], **options)
    assert (named.class_indices([f"digit {i}" for i in DIGITS.target]) == DIGITS.target).all()
    assert named.key != fits.key
    holes = X.copy()
    holes[5] = np.nan
    with pytest.raises(TargetError, match="about 1 of 1797 records"):
        fits.logits(holes)
    path = weights(classifier_models.Pooled(), tmp_path / "p.safetensors")
    with pytest.raises(TargetError, match=r"shape \(256, 64, 2\); a classifier must give \(n, k\)"):
        open_classifier(path, example=X, device="cpu", factory=FACTORY + "Pooled")


# --- ONNX -----------------------------------------------------------------------------------


def onnx_file(path, model):
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("zipmap", [True, False])
def test_onnx_of_a_pipeline(tmp_path, zipmap):
    x = WINE.data.to_numpy(np.float32)
    words = np.array(["red", "white", "rose"])[WINE.target]
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, words)
    converted = to_onnx(model, x[:1], options={"zipmap": zipmap}, target_opset=17)
    path = onnx_file(tmp_path / "m.onnx", converted)
    classes = None if zipmap else ["red", "rose", "white"]
    target = open_classifier(path, example=WINE.data, classes=classes)
    assert target.classes == ("red", "rose", "white")
    assert target.capabilities.gives == "probabilities"
    np.testing.assert_allclose(np.exp(target.logits(WINE.data)), model.predict_proba(x), atol=1e-5)
    truth = target.class_indices(words)
    assert np.mean(target.logits(WINE.data).argmax(axis=1) == truth) > 0.95
    with pytest.raises(TargetError, match=r"cannot be asked with inputs of shape"):
        target.logits(WINE.data.iloc[:, :5])


def test_onnx_of_a_forest_is_clipped(tmp_path):
    x = WINE.data.to_numpy(np.float32)
    forest = RandomForestClassifier(10, random_state=0).fit(x, WINE.target)
    path = onnx_file(tmp_path / "m.onnx", to_onnx(forest, x[:1], options={"zipmap": False}))
    target = open_classifier(path, example=x)
    assert target.eps == 1e-6
    logits = target.logits(x)
    assert target.clipped_share(logits, target.class_indices(WINE.target)) > 0.3
    np.testing.assert_allclose(np.exp(logits), forest.predict_proba(x), atol=2e-6)


def test_onnx_with_an_input_for_each_column(tmp_path):
    from sklearn.compose import make_column_transformer
    from sklearn.preprocessing import OneHotEncoder

    frame = WINE.data[["alcohol", "hue"]].astype(np.float32)
    frame["cellar"] = np.array(["north", "south"])[np.arange(len(frame)) % 2]
    frame = frame.astype({"cellar": object})
    model = make_pipeline(
        make_column_transformer(
            (OneHotEncoder(), ["cellar"]), (StandardScaler(), ["alcohol", "hue"])
        ),
        LogisticRegression(),
    ).fit(frame, WINE.target)
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    inputs = [
        ("alcohol", FloatTensorType([None, 1])),
        ("hue", FloatTensorType([None, 1])),
        ("cellar", StringTensorType([None, 1])),
    ]
    from skl2onnx import convert_sklearn

    path = onnx_file(tmp_path / "m.onnx", convert_sklearn(model, initial_types=inputs))
    target = open_classifier(path, example=frame)
    np.testing.assert_allclose(np.exp(target.logits(frame)), model.predict_proba(frame), atol=1e-5)
    for changed, message in (
        (frame.drop(columns="hue"), "data lack hue"),
        (frame.assign(row=1), "have, beyond its inputs, row"),
        (X, "takes 3 inputs"),
    ):
        with pytest.raises(TargetError, match=message):
            open_classifier(path, example=changed)


def linear_onnx(folder, *, batch="n", outputs=("logits",), beside=None):
    """Ten logits of 64 pixels by one matrix product; several outputs are copies of it."""
    rng = np.random.default_rng(0)
    matrix = numpy_helper.from_array(rng.normal(size=(64, 10)).astype(np.float32), "matrix")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 64])
    ys = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [batch, 10]) for n in outputs]
    nodes = [helper.make_node("MatMul", ["x", "matrix"], [n]) for n in outputs]
    graph = helper.make_graph(nodes, "linear", [x], ys, [matrix])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = folder / "m.onnx"
    if beside:
        onnx.save_model(model, path, save_as_external_data=True, location=beside, size_threshold=0)
    else:
        onnx.save_model(model, path)
    return path, numpy_helper.to_array(matrix) if not beside else None


def test_onnx_logits_of_pictures_and_fixed_batches(tmp_path):
    for batch in ("n", 5):
        path, matrix = linear_onnx(tmp_path, batch=batch)
        target = open_classifier(path, example=X)
        assert target.capabilities.gives == "logits"
        assert target.n_parameters is None
        np.testing.assert_allclose(
            target.logits(X), X.reshape(len(X), 64) @ matrix, rtol=1e-4, atol=1e-4
        )


def test_onnx_with_several_outputs(tmp_path):
    path, _ = linear_onnx(tmp_path, outputs=("hidden", "logits"))
    assert open_classifier(path, example=X).capabilities.n_classes == 10
    path, _ = linear_onnx(tmp_path, outputs=("one", "two"))
    with pytest.raises(TargetError, match="outputs one, two, of which 2 could be the scores"):
        open_classifier(path, example=X)


def test_weights_beside_an_onnx_file_are_part_of_the_key(tmp_path):
    path, _ = linear_onnx(tmp_path, beside="m.onnx.data")
    (tmp_path / "unrelated.txt").write_text("x")
    first = open_classifier(path, example=X)
    assert set(first.hashes) == {"m.onnx", "m.onnx.data"}
    weights = np.fromfile(tmp_path / "m.onnx.data", np.float32)
    (2 * weights).tofile(tmp_path / "m.onnx.data")
    changed = open_classifier(path, example=X)
    assert changed.key != first.key
    np.testing.assert_allclose(changed.logits(X), 2 * first.logits(X), rtol=1e-5, atol=1e-5)


def test_onnx_files_that_are_refused(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"junk")
    with pytest.raises(TargetError, match="m.onnx cannot be loaded"):
        open_classifier(path, example=X)
    x = (WINE.data / WINE.data.std()).to_numpy(np.float32)
    model = LogisticRegression().fit(x, WINE.target)
    converted = to_onnx(model, x[:1], options={"zipmap": False})
    del converted.graph.output[1]
    onnx_file(path, converted)
    with pytest.raises(TargetError, match="of which 0 could be the scores"):
        open_classifier(path, example=x)


def test_without_onnxruntime_the_extra_is_named(tmp_path, monkeypatch):
    path, _ = linear_onnx(tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(TargetError, match=r'pip install "memorization-auditor\[tabular\]"'):
        open_classifier(path, example=X)
