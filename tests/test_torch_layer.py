"""The layer for PyTorch: gradcheck, torch's own gradients, batches, training, refusals."""

from __future__ import annotations

import copy
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gillespy_lite as gl
from gillespy_lite.errors import MethodError, NetworkError, SimulationError
from gillespy_lite.ode_rnn import Recurrence

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install gillespy_lite[torch]")

DOCS = Path(__file__).resolve().parent.parent / "docs"
sys.path.insert(0, str(DOCS))

from pages import run_page  # noqa: E402

from gillespy_lite.ode_rnn.torch_layer import RecurrenceModule  # noqa: E402

TEXT = """
species S = 30, E = 12, ES = 1, P = 2
param kf = 0.05, kr = 0.1, kcat = 0.4, feed = 1
observe total = S + ES + kr*P
0 -> S       @ feed
S + E -> ES  @ kf
ES -> S + E  @ kr
ES -> E + P  @ kcat
"""
NETWORK = gl.Network.parse(TEXT)
TIMES = np.array([0.0, 0.5, 0.8, 2.0])
RATES = torch.tensor([0.05, 0.1, 0.4], dtype=torch.float64)
START = torch.tensor([30.0, 12.0, 1.0, 2.0], dtype=torch.float64)
FEED = torch.tensor([[1.0], [2.0], [0.5], [3.0]], dtype=torch.float64)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def driven(cell="rk4", **options):
    return Recurrence(NETWORK, cell, inputs=["feed"], **options)


def by_hand(rates, start, feed, steps):
    """Return the outputs S, total by classical RK4, in torch alone; the driver is held."""

    def slope(y, drive):
        s, e, es, _ = y.unbind(-1)
        kf, kr, kcat = rates.unbind(-1)
        caught, freed, made = kf * s * e, kr * es, kcat * es
        return torch.stack(
            [drive - caught + freed, freed + made - caught, caught - freed - made, made], -1
        )

    y, found = start, [start]
    for k, length in enumerate(np.diff(TIMES)):
        h, drive = length / steps, feed[..., k, 0]
        for _ in range(steps):
            k1 = slope(y, drive)
            k2 = slope(y + h / 2 * k1, drive)
            k3 = slope(y + h / 2 * k2, drive)
            k4 = slope(y + h * k3, drive)
            y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        found.append(y)
    y = torch.stack(torch.broadcast_tensors(*found), -2)
    total = y[..., 0] + y[..., 2] + rates[..., None, 1] * y[..., 3]
    return torch.stack([y[..., 0], total], -1)


def leaves(*tensors):
    return [tensor.detach().clone().requires_grad_() for tensor in tensors]


# ---- Gradients ----------------------------------------------------------------------------------


@pytest.mark.parametrize("outputs", [None, ["P", "S"], ["total", "E"]])
@pytest.mark.parametrize("cell", ["euler", "rk4", "dopri5", "implicit_euler", "rodas4"])
def test_gradcheck_accepts_the_gradient_by_every_argument(cell, outputs):
    # A recorded step is not differentiated, so the adaptive cell needs steps that the finite
    # differences of gradcheck do not change: all as long as the limit on them.
    options = {"max_step": 0.01, "first_step": 0.01} if cell == "dopri5" else {}
    steps = None if cell == "dopri5" else 2
    module = RecurrenceModule(driven(cell, **options), TIMES, outputs=outputs, steps=steps)
    assert torch.autograd.gradcheck(module, leaves(RATES, START, FEED), rtol=1e-5, atol=1e-6)


def test_values_and_gradients_are_those_of_the_same_loop_in_torch():
    module = RecurrenceModule(driven(), TIMES, outputs=["S", "total"], steps=3)
    mine, theirs = leaves(RATES, START, FEED), leaves(RATES, START, FEED)
    found, expected = module(*mine), by_hand(*theirs, steps=3)
    assert_allclose(found.detach(), expected.detach(), rtol=1e-13)
    for states in (found, expected):
        torch.log1p(states**2).sum().backward()
    for one, other in zip(mine, theirs, strict=True):
        assert_allclose(one.grad, other.grad, rtol=1e-10)


def test_leading_axes_are_batch_axes_and_broadcast():
    module = RecurrenceModule(driven(), TIMES, outputs=["S", "total"], steps=3)
    rates = RATES * torch.linspace(0.5, 1.5, 6, dtype=torch.float64).reshape(2, 3, 1)
    start = START + torch.arange(3.0, dtype=torch.float64).reshape(3, 1)
    mine, theirs = leaves(rates, start, FEED), leaves(rates, start, FEED)
    found, expected = module(*mine), by_hand(*theirs, steps=3)
    assert found.shape == expected.shape == (2, 3, 4, 2)
    assert_allclose(found.detach(), expected.detach(), rtol=1e-13)
    for states in (found, expected):
        torch.log1p(states**2).sum().backward()
    for one, other in zip(mine, theirs, strict=True):
        assert one.grad.shape == one.shape
        assert_allclose(one.grad, other.grad, rtol=1e-10)


def test_axes_of_length_one_stay():
    module = RecurrenceModule(driven(), TIMES)
    arguments = leaves(RATES[None, None], START[None], FEED)
    states = module(*arguments)
    assert states.shape == (1, 1, 4, 4)
    assert_allclose(states[0, 0].detach(), module(RATES, START, FEED))
    states.sum().backward()
    assert [one.grad.shape for one in arguments] == [(1, 1, 3), (1, 4), (4, 1)]


def test_initial_state_that_is_an_expression_of_a_parameter_gives_it_gradient():
    network = gl.Network.parse("param N = 50, k = 0.1\nspecies A = N, B = 3\nA -> B @ k")
    module = RecurrenceModule(Recurrence(network), [0.0, 2.0], trainable=["N"])
    module()[-1, 0].backward()
    assert_allclose(module.weights.grad, [np.exp(-0.2)], rtol=1e-7)
    # What is given takes the place of the expression, for that state alone.
    module.zero_grad()
    module(initial={"B": torch.tensor(0.0)})[-1].sum().backward()
    assert_allclose(module.weights.grad, [1.0], rtol=1e-7)


def test_gradient_can_be_taken_again_but_not_of_itself():
    module = RecurrenceModule(driven(), TIMES)
    rates, start, feed = leaves(RATES, START, FEED)
    loss = (module(rates, start, feed) ** 2).sum()
    (first,) = torch.autograd.grad(loss, rates, retain_graph=True)
    (second,) = torch.autograd.grad(loss, rates, create_graph=True)
    assert torch.equal(first, second.detach())
    with pytest.raises(RuntimeError, match="once_differentiable"):
        second.sum().backward()


def test_changing_an_argument_in_place_before_the_way_back_spoils_nothing():
    module = RecurrenceModule(driven(), TIMES)
    rates, moving = RATES.clone().requires_grad_(), RATES.clone().requires_grad_()
    module(rates).sum().backward()
    loss = module(moving).sum()
    with torch.no_grad():
        moving *= 2.0
    loss.backward()
    assert torch.equal(moving.grad, rates.grad)


@pytest.mark.parametrize("cell", ["rk4", "dopri5", "rodas4"])
@pytest.mark.parametrize("outputs", [None, ["S", "total"]])
def test_changing_the_result_in_place_spoils_nothing(cell, outputs):
    module = RecurrenceModule(driven(cell), TIMES, outputs=outputs)
    (rates,) = leaves(RATES)
    (expected,) = torch.autograd.grad((3.0 * module(rates)).sum(), rates)
    states = module(rates)
    states *= 3.0
    (found,) = torch.autograd.grad(states.sum(), rates)
    assert_allclose(found, expected, rtol=1e-14)


def test_checkpoints_give_the_same_gradient():
    (rates,) = leaves(RATES)
    found = []
    for checkpoints in (False, True):
        module = RecurrenceModule(driven(), TIMES, steps=50, checkpoints=checkpoints)
        found += torch.autograd.grad(module(rates).log().sum(), rates)
    assert_allclose(found[0], found[1], rtol=1e-13)


def test_path_with_noise_has_the_gradient_of_its_noise():
    recurrence = Recurrence(NETWORK, "langevin")
    module = RecurrenceModule(recurrence, TIMES, steps=4)
    values = torch.tensor(recurrence.parameter_values)
    (leaf,) = leaves(values)
    states = module(leaf, n=5, rng=3)
    assert states.shape == (5, 4, 4)
    direction = torch.tensor([0.01, -0.02, 0.1, 0.3], dtype=torch.float64)
    (by,) = torch.autograd.grad(states.sum(), leaf)
    ahead, behind = (module(values + e * direction, n=5, rng=3).sum() for e in (1e-4, -1e-4))
    assert_allclose(float(by @ direction), float(ahead - behind) / 2e-4, rtol=1e-6)


# ---- Types and devices --------------------------------------------------------------------------


def test_single_precision_comes_back_as_single_precision():
    module = RecurrenceModule(driven(), TIMES)
    rates, start, feed = leaves(RATES.float(), START.float(), FEED.float())
    states = module(rates, start, feed)
    assert states.dtype == torch.float32
    # The work is done in double precision: the result is that of the doubles, rounded once.
    assert torch.equal(states, module(rates.double(), start.double(), feed.double()).float())
    states.sum().backward()
    assert rates.grad.dtype == start.grad.dtype == feed.grad.dtype == torch.float32
    assert module(rates.double(), start, feed).dtype == torch.float64
    assert module(initial={"S": torch.tensor(3)}).dtype == torch.float64


def test_strided_tensors_are_fine():
    module = RecurrenceModule(driven(), TIMES)
    rates = torch.stack([RATES, 2.0 * RATES], -1)
    expected = torch.stack([module(RATES), module(2.0 * RATES)])
    assert_allclose(module(rates.T), expected, rtol=1e-14)


def test_tensor_on_another_device_is_refused_with_advice():
    # The device "meta" stands in for "cuda": what counts is that it is not the CPU.
    module = RecurrenceModule(driven(), TIMES, trainable=["kf"])
    elsewhere = RATES.to("meta")
    with pytest.raises(ValueError, match=r"the parameters: .* device 'meta'.*\.cpu\(\)"):
        module(elsewhere)
    with pytest.raises(ValueError, match=r"the initial value 'E': .* device 'meta'"):
        module(initial={"E": elsewhere[0]})
    with pytest.raises(ValueError, match=r"the module's weights: .* device 'meta'"):
        module.to("meta")()


# ---- Modules ------------------------------------------------------------------------------------


def test_weights_are_the_networks_values_and_logarithms_of_the_positive_ones():
    module = RecurrenceModule(
        driven(), TIMES, trainable=["kcat", "P(0)", "kf"], positive=["kf", "kcat"]
    )
    assert_allclose(module.weights.detach(), [np.log(0.4), 2.0, np.log(0.05)])
    assert module.values == pytest.approx({"kcat": 0.4, "P(0)": 2.0, "kf": 0.05})
    assert "trainable kcat, P(0), kf" in repr(module)
    assert_allclose(module().detach(), RecurrenceModule(driven(), TIMES)())
    module().sum().backward()
    (kcat, kf, p0) = leaves(*torch.tensor([0.4, 0.05, 2.0], dtype=torch.float64))
    RecurrenceModule(driven(), TIMES)({"kf": kf, "kcat": kcat}, {"P": p0}).sum().backward()
    assert_allclose(module.weights.grad, [0.4 * kcat.grad, p0.grad, 0.05 * kf.grad], rtol=1e-12)


def test_large_weight_that_is_no_logarithm_has_a_gradient():
    network = gl.Network.parse("param N = 1e4, k = 0.1\nspecies A\n0 -> A @ N\nA -> 0 @ k")
    module = RecurrenceModule(Recurrence(network), [0.0, 1.0], trainable=["N", "k"], positive=["k"])
    module()[-1, 0].backward()
    assert torch.isfinite(module.weights.grad).all()


def test_what_is_given_takes_the_place_of_the_weights():
    module = RecurrenceModule(driven(), TIMES, trainable=["kf", "S(0)"])
    by_name = module({"kf": torch.tensor(0.2)}, {"S": torch.tensor(7.0)}, {"feed": FEED[:, 0]})
    rates, start = RATES.clone(), START.clone()
    rates[0], start[0] = 0.2, 7.0
    assert_allclose(by_name.detach(), module(rates, start, FEED).detach(), rtol=1e-6)
    assert module().requires_grad
    assert not by_name.requires_grad


def test_states_and_copies_keep_the_weights():
    module = RecurrenceModule(driven(), TIMES, trainable=["kf"], positive=["kf"])
    with torch.no_grad():
        module.weights += 0.3
    other = RecurrenceModule(driven(), TIMES, trainable=["kf"], positive=["kf"])
    other.load_state_dict(module.state_dict())
    assert other.values == module.values == copy.deepcopy(module).values
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    assert isinstance(loaded, RecurrenceModule)
    assert torch.equal(loaded(), module())


def test_adam_finds_a_rate_constant_behind_noise_free_data():
    truth = RecurrenceModule(driven(), TIMES, outputs=["P", "total"])
    data = truth(inputs=FEED)
    network = NETWORK.with_parameters(kcat=1.0)
    module = RecurrenceModule(
        Recurrence(network, inputs=["feed"]),
        TIMES,
        outputs=["P", "total"],
        trainable=["kcat"],
        positive=["kcat"],
    )
    optimiser = torch.optim.Adam(module.parameters(), lr=0.1)
    losses = []
    for _ in range(150):
        optimiser.zero_grad()
        loss = ((module(inputs=FEED) - data) ** 2).mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 1e-6 * losses[0]
    assert module.values["kcat"] == pytest.approx(0.4, rel=1e-3)


def test_a_network_of_neurons_can_set_the_rates():
    torch.manual_seed(1)
    neurons = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    module = RecurrenceModule(driven(), TIMES, outputs=["P"])
    doses = torch.rand(10, 2)
    states = module({"kcat": torch.exp(neurons(doses)[:, 0])})
    assert states.shape == (10, 4, 1)
    states[:, -1].sum().backward()
    assert all((weights.grad != 0.0).any() for weights in neurons.parameters())


# ---- Refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"trainable": ["kff"]}, NetworkError, "no parameter or initial value 'kff'.*'kf'"),
        ({"trainable": ["feed"]}, NetworkError, "no parameter or initial value 'feed'"),
        ({"trainable": ["kf", "kf"]}, NetworkError, "named twice"),
        ({"trainable": "kf"}, TypeError, r"list of names, as in trainable=\['kf'\]"),
        ({"positive": ["kf"]}, ValueError, "'kf' is in positive= but not in trainable="),
        ({"outputs": ["Q"]}, NetworkError, "no species, variable or observable 'Q'"),
        ({"outputs": "P"}, TypeError, r"as in outputs=\['P'\]"),
    ],
)
def test_module_refuses_what_makes_no_sense(options, error, message):
    with pytest.raises(error, match=message):
        RecurrenceModule(driven(), TIMES, **options)


def test_module_refuses_a_positive_value_that_starts_at_zero():
    network = gl.Network.parse("species A\nparam k = 0\n0 -> A @ k")
    with pytest.raises(ValueError, match="'k' is to stay positive, but starts at 0"):
        RecurrenceModule(Recurrence(network), 1.0, trainable=["k"], positive=["k"])


def test_module_wants_a_recurrence_with_a_gradient():
    with pytest.raises(TypeError, match="a Recurrence is wanted"):
        RecurrenceModule(NETWORK, TIMES)
    with pytest.raises(MethodError, match="'leap' has no gradient"):
        RecurrenceModule(Recurrence(NETWORK, "leap"), TIMES)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((RATES[:2],), ValueError, r"parameters must have shape .* = \(\.\.\., 3\), not \(2,\)"),
        ((None, None, FEED[:3]), ValueError, r"inputs must have shape .*4, 1\), not \(3, 1\)"),
        (
            (RATES.expand(2, 3), START.expand(3, 4)),
            ValueError,
            r"parameters \(2,\), initial \(3,\)",
        ),
        ((RATES.expand(0, 3),), ValueError, "a batch axis is empty"),
        (({"kx": RATES[0]},), NetworkError, "no parameter 'kx'"),
        ((None, {"X": RATES[0]}), NetworkError, "no initial value 'X'"),
        ((None, None, {"kf": FEED[:, 0]}), NetworkError, "no input 'kf'"),
        ((1e9 * RATES,), SimulationError, "became infinite"),
    ],
)
def test_run_refuses_what_does_not_fit(arguments, error, message):
    with pytest.raises(error, match=message):
        RecurrenceModule(driven(), TIMES)(*arguments)


def test_without_torch_the_error_says_what_to_install():
    # None in sys.modules makes an import fail as if the package were not there.
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import gillespy_lite.ode_rnn.torch_layer as layer\n"
        "try:\n    layer.RecurrenceModule\n"
        "except layer.MissingExtraError as error:\n    print(error)\n"
        "try:\n    layer.Recurrent\nexcept AttributeError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert "pip install gillespy_lite[torch]" in done.stdout
    assert "no attribute 'Recurrent'" in done.stdout


def test_the_page_about_this_layer_prints_what_it_says(tmp_path):
    # The page's own test shows these blocks and does not run them, because it needs no PyTorch.
    text = (DOCS / "torch_and_jax.md").read_text("utf-8").split("## JAX")[0]
    page = tmp_path / "page.md"
    page.write_text(text.replace("```py\n", "```python\n"), "utf-8")
    assert page.read_text("utf-8").count("```python") == 4
    assert run_page(page, tmp_path) == []
