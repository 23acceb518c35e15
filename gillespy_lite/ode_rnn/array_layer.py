"""A recurrence as a function of arrays with any batch axes: the base of the layers for others.

Other frameworks hand over arrays whose leading axes are batch axes, of length 1 or missing where
nothing varies. Here they become the one batch axis of `Recurrence.unroll`, and gradients go back to
the shapes that were given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..errors import MethodError, NetworkError
from ..names import did_you_mean, shown
from ..run_plan import check_times
from .recurrence import Recurrence
from .unrolled import Unrolled

__all__ = ["N_AXES", "Arguments", "ArrayLayer", "Run", "make_array_layer", "summed"]


class Arguments(NamedTuple):
    """What a recurrence is run with. None stands for the network's own values."""

    parameters: np.ndarray | None  # (..., n_parameters)
    initial: np.ndarray | None  # (..., n_given), of the states named in `Run.given`
    inputs: np.ndarray | None  # (..., n_times, n_inputs)


# Axes of parameters, initial state and inputs that are not batch axes.
N_AXES = (1, 1, 2)


class Run(NamedTuple):
    """A recurrence that has been run, and what the way back needs."""

    path: Unrolled
    given: tuple[str, ...]  # states whose initial value was given
    batch: tuple[int, ...]  # lengths of the batch axes
    values: np.ndarray  # (*batch, n_times, n_outputs) float64


@dataclass(frozen=True)
class ArrayLayer:
    """A recurrence on a fixed grid, from arrays to arrays."""

    recurrence: Recurrence
    times: np.ndarray  # (n_times,)
    outputs: tuple[str, ...]
    options: Mapping[str, Any]  # of Recurrence.unroll

    def run(self, arguments: Arguments, given: tuple[str, ...], **options: Any) -> Run:
        """Run forwards. `options` are further ones of `Recurrence.unroll`."""
        batch = self.batch_of(arguments)
        rows = [self._flat(value, n, batch) for value, n in zip(arguments, N_AXES, strict=True)]
        initial = rows[1]
        path = self.recurrence.unroll(
            self.times,
            parameters=rows[0],
            initial=None
            if initial is None
            else {name: initial[..., i] for i, name in enumerate(given)},
            inputs=rows[2],
            **{**self.options, **options},
        )
        if options.get("n") is not None:
            batch = (options["n"],)
        values = self._read(path).reshape((*batch, self.times.size, len(self.outputs)))
        return Run(path, given, batch, values)

    def pull_back(self, run: Run, adjoint: np.ndarray, arguments: Arguments) -> Arguments:
        """Return the gradients, each in the shape of its argument; None where that is None.

        `adjoint` has the shape of the values of the run.
        """
        path = run.path
        shape = path.states.shape[:-1]
        adjoint = np.asarray(adjoint, dtype=np.float64).reshape(*shape, len(self.outputs))
        states = self.recurrence.state_names
        if set(self.outputs) <= set(states):
            whole = np.zeros(path.states.shape)
            for i, name in enumerate(self.outputs):
                whole[..., states.index(name)] = adjoint[..., i]
            gradient = path.pull_back(whole)
        else:
            gradient = path.pull_back({n: adjoint[..., i] for i, n in enumerate(self.outputs)})
        columns = [states.index(name) for name in run.given]
        found = (gradient.parameters, gradient.initial[..., columns], gradient.inputs)
        return Arguments(
            *(
                None if value is None else summed(by, n, run.batch, value.shape)
                for by, n, value in zip(found, N_AXES, arguments, strict=True)
            )
        )

    def batch_of(self, arguments: Arguments) -> tuple[int, ...]:
        """Return the lengths of the batch axes that the arguments make together.

        Raises
        ------
        ValueError
            If a shape does not fit.
        """
        n = self.recurrence
        wanted = (
            ("parameters", (len(n.parameter_names),), "n_parameters"),
            ("initial", (), ""),
            ("inputs", (self.times.size, len(n.input_names)), "n_times, n_inputs"),
        )
        batches = {}
        for value, n_axes, (name, core, axes) in zip(arguments, N_AXES, wanted, strict=True):
            if value is None:
                continue
            if value.ndim < n_axes or (core and value.shape[-n_axes:] != core):
                raise ValueError(
                    f"{name} must have shape (..., {axes}) = (..., {', '.join(map(str, core))}), "
                    f"not {value.shape}"
                )
            batches[name] = value.shape[: value.ndim - n_axes]
        try:
            batch = np.broadcast_shapes(*batches.values())
        except ValueError as error:
            found = ", ".join(f"{name} {shape}" for name, shape in batches.items())
            raise ValueError(f"the batch axes do not fit together: {found}") from error
        if 0 in batch:
            raise ValueError(f"a batch axis is empty: {batch}; leave such a batch out")
        return batch

    def _flat(
        self, value: np.ndarray | None, n_axes: int, batch: tuple[int, ...]
    ) -> np.ndarray | None:
        """Return an argument with one batch axis, or with none where nothing varies."""
        if value is None:
            return None
        value = np.asarray(value, dtype=np.float64)
        own, core = value.shape[: value.ndim - n_axes], value.shape[value.ndim - n_axes :]
        if math.prod(own) == 1:
            return value.reshape(core)
        return np.broadcast_to(value, (*batch, *core)).reshape(-1, *core)

    def _read(self, path: Unrolled) -> np.ndarray:
        if self.outputs == self.recurrence.state_names:
            return path.states
        return np.asarray(path.outputs(self.outputs))


def make_array_layer(
    recurrence: Recurrence, t: Any, outputs: Sequence[str] | None, options: Mapping[str, Any]
) -> ArrayLayer:
    """Check the arguments that both frameworks' layers have in common.

    Raises
    ------
    TypeError, ValueError
        If the recurrence or the times are none.
    NetworkError
        If an output is unknown.
    MethodError
        If the cell has no gradient.
    """
    if not isinstance(recurrence, Recurrence):
        raise TypeError(f"a Recurrence is wanted, not {recurrence!r}; see Recurrence(network)")
    if not recurrence.cell.has_gradient:
        raise MethodError(
            f"the cell '{recurrence.cell.name}' has no gradient, so it cannot be a layer; take "
            "'rk4', another deterministic cell, or 'langevin'"
        )
    if isinstance(outputs, str):
        raise TypeError(f"outputs must be a list of names, as in outputs=[{outputs!r}]")
    names = recurrence.state_names if outputs is None else tuple(outputs)
    for name in names:
        if name not in recurrence.output_names:
            raise NetworkError(
                f"the network has no species, variable or observable {shown(str(name))}"
                f"{did_you_mean(str(name), recurrence.output_names)}"
            )
    return ArrayLayer(recurrence, check_times(t), names, dict(options))


def summed(
    gradient: np.ndarray, n_axes: int, batch: tuple[int, ...], shape: tuple[int, ...]
) -> np.ndarray:
    """Return the gradient of an argument of this shape: summed over where it was repeated."""
    core = gradient.shape[gradient.ndim - n_axes :]
    if gradient.ndim == n_axes:
        return gradient.reshape(shape)
    whole = gradient.reshape((*batch, *core))
    own = shape[: len(shape) - n_axes]
    missing = len(batch) - len(own)
    repeated = [axis for axis, n in enumerate(batch) if axis < missing or own[axis - missing] != n]
    total: np.ndarray = whole.sum(axis=tuple(repeated))
    return total.reshape(shape)
