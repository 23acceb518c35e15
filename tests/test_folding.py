"""Operations on numbers alone are done when a network is compiled, with the bits of kernels."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import gillespy_lite as gl
from gillespy_lite import compilation
from gillespy_lite.compilation import compile_expressions
from gillespy_lite.kernels.programs import evaluate_program


def value_and_steps(text: str) -> tuple[float, int]:
    """Return the value of an expression at X = 3, and how many steps its program has."""
    observed = gl.Network.parse(f"species X = 3\nparam k = 0.7\nobserve f = {text}\nX -> 0 @ k")
    programs, depth = compile_expressions(observed, [observed.observables[0].expression])
    state, parameters = np.array([3, 1]), observed.parameter_values
    value = evaluate_program(programs, np.int64(0), state, parameters, 0.0, np.zeros(depth))
    return float(value), int(programs.operation.size)


def random_text(rng: np.random.Generator, size: int) -> str:
    if size == 1:
        return str(rng.choice(["0", "1", "2", "3", "2.5", "0.1", "12", "1e-3", "7e200", "k", "X"]))
    left = int(rng.integers(1, size))
    parts = random_text(rng, left), random_text(rng, size - left)
    return f"({parts[0]} {rng.choice(list('+-*/^'))} {parts[1]})"


def test_what_is_folded_has_the_bits_of_what_is_not(monkeypatch):
    rng = np.random.default_rng(2)
    texts, folded = [], []
    for n in rng.integers(2, 9, 2500):
        text = random_text(rng, int(n))
        # Numbers that make no number, such as 1/0, are refused before.
        with contextlib.suppress(gl.ParseError):
            folded.append(value_and_steps(text))
            texts.append(text)
    assert len(texts) > 1500
    monkeypatch.setattr(compilation, "_FOLDED", {})
    plain = [value_and_steps(text) for text in texts]
    for text, (found, _), (expected, _) in zip(texts, folded, plain, strict=True):
        assert np.float64(found).tobytes() == np.float64(expected).tobytes() or (
            np.isnan(found) and np.isnan(expected)
        ), text
    fewer = sum(a < b for (_, a), (_, b) in zip(folded, plain, strict=True))
    assert fewer > 300
    assert not any(a > b for (_, a), (_, b) in zip(folded, plain, strict=True))


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("30*12^2/(12^2 + X^2)", 7),  # 4320 / (144 + X^2)
        ("2*3 + 4*5", 1),
        ("1 + 2*k", 5),
        ("X + 1 + 2", 5),  # (X + 1) + 2: another order would be another number
        ("X/(2 - 2)", 5),
    ],
)
def test_numbers_are_folded_and_nothing_else(text, steps):
    assert value_and_steps(text)[1] == steps


def test_relatives_with_other_parameters_share_what_is_folded():
    network = gl.Network.parse("species X\nparam k = 2\n0 => X @ k*(3 + 4)\nX -> 0 @ 1")
    for k in (2.0, 5.0):
        runs = gl.ensemble(network.with_parameters(k=k), [0.0, 20.0], 2000, rng=1)
        assert runs.mean()[-1, 0] == pytest.approx(7 * k, abs=5 * (7 * k / 2000) ** 0.5)
