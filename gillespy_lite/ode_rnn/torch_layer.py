"""A recurrence as a layer of PyTorch, on the CPU.

`RecurrenceModule` is a `torch.nn.Module`. PyTorch is loaded when it is first asked for.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import MissingExtraError, NetworkError
from ..names import did_you_mean, shown
from .array_layer import Arguments, make_array_layer
from .recurrence import Recurrence

__all__ = ["RecurrenceModule"]  # noqa: F822


def __getattr__(name: str) -> Any:
    # The class needs PyTorch for its base, which only those who ask for the class must have.
    if name == "RecurrenceModule":
        return _classes()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@functools.cache
def _classes() -> dict[str, Any]:
    """Return the classes that have a base in PyTorch."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError(
            "this needs torch, which is not installed: pip install gillespy_lite[torch]"
        ) from error

    class RecurrenceFunction(torch.autograd.Function):
        """The recurrence from double-precision tensors to one, with back-propagation in time."""

        @staticmethod
        def forward(ctx: Any, layer: Any, given: Any, options: Any, *tensors: Any) -> Any:
            # Copies: the way back must not see what an optimiser does to the tensors meanwhile.
            arguments = Arguments(
                *(None if x is None else x.detach().numpy().copy() for x in tensors)
            )
            run = layer.run(arguments, given, **options)
            ctx.layer, ctx.run, ctx.arguments = layer, run._replace(values=None), arguments
            return torch.from_numpy(run.values)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, adjoint: Any) -> Any:
            by = ctx.layer.pull_back(ctx.run, adjoint.numpy(), ctx.arguments)
            gradients = [
                torch.from_numpy(np.ascontiguousarray(one)) if one is not None and needed else None
                for one, needed in zip(by, ctx.needs_input_grad[3:], strict=True)
            ]
            return None, None, None, *gradients

    class RecurrenceModule(torch.nn.Module):
        """A recurrence as a module of PyTorch: states on a grid, differentiable.

        The work is done by compiled code on the CPU in double precision. Gradients are exact for
        the discrete recurrence. They can be taken once, not twice (no Hessian).

        Parameters
        ----------
        recurrence : Recurrence
            Any cell with a gradient.
        t : float or array_like, shape (n_times,)
            End time (then 101 times from 0), or increasing times.
        trainable : sequence of str, optional
            Parameters ("k") and initial values ("X(0)") that become `weights` of the module, from
            the network's own values. All else stays as it is in the network.
        positive : sequence of str, optional
            Those of them whose logarithm is the weight, so that they stay above 0.
        outputs : sequence of str, optional
            States and observables that `forward` returns; all states by default.
        steps, threads, checkpoints
            See `Recurrence.unroll`.

        Attributes
        ----------
        weights : torch.nn.Parameter, shape (n_trainable,)
            Double precision; logarithms of the positive ones.
        trainable, outputs : tuple of str
            Names of the weights, and of the last axis of what `forward` returns.

        Raises
        ------
        NetworkError
            If a name is unknown.
        MethodError
            If the cell has no gradient.
        ValueError
            If a positive value starts at 0 or below, or a name of `positive` is not trainable.
        """

        def __init__(
            self,
            recurrence: Recurrence,
            t: Any,
            *,
            trainable: Sequence[str] = (),
            positive: Sequence[str] = (),
            outputs: Sequence[str] | None = None,
            steps: Any = None,
            threads: int | None = None,
            checkpoints: bool = False,
        ) -> None:
            super().__init__()
            options = {"steps": steps, "threads": threads, "checkpoints": checkpoints}
            self._layer = make_array_layer(recurrence, t, outputs, options)
            self.recurrence, self.outputs = recurrence, self._layer.outputs
            self.trainable = _names(trainable, "trainable")
            self.positive = _names(positive, "positive")
            start = _start(recurrence, self.trainable, self.positive)
            self.weights = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))

        def extra_repr(self) -> str:
            """Return what `repr` says between the brackets."""
            trainable = f", trainable {', '.join(self.trainable)}" if self.trainable else ""
            return f"cell {self.recurrence.cell.name}, {self._layer.times.size} times{trainable}"

        @property
        def values(self) -> dict[str, float]:
            """The present values of what is trained, by name."""
            with torch.no_grad():
                return dict(zip(self.trainable, self._natural().tolist(), strict=True))

        def _natural(self) -> Any:
            weights = self.weights.to(torch.float64)
            is_log = torch.tensor([name in self.positive for name in self.trainable])
            # The inner choice keeps a large weight that is no logarithm out of the exponential.
            return torch.where(is_log, torch.exp(torch.where(is_log, weights, 0.0)), weights)

        def forward(
            self,
            parameters: Any = None,
            initial: Any = None,
            inputs: Any = None,
            *,
            n: int | None = None,
            rng: Any = None,
        ) -> Any:
            """Run the recurrence.

            Leading axes of any argument are batch axes, which broadcast against each other. What is
            given takes the place of the network's values and of the module's weights.

            Parameters
            ----------
            parameters : Tensor or mapping of str to Tensor, optional
                All of `recurrence.parameter_names`, (..., n_parameters); or some by name, (...).
            initial : Tensor or mapping of str to Tensor, optional
                All of `recurrence.state_names`, (..., n_states); or some by name, (...).
            inputs : Tensor or mapping of str to Tensor, optional
                All of `recurrence.input_names`, (..., n_times, n_inputs); or some by name,
                (..., n_times).
            n, rng
                Number of paths and source of the noise, for the cell "langevin".

            Returns
            -------
            Tensor, shape (..., n_times, n_outputs)
                Of the type that the tensors given and the weights have together: double precision,
                unless all of them are single.

            Raises
            ------
            ValueError
                If a tensor is not on the CPU, or a shape does not fit.
            NetworkError
                If a name is unknown.
            SimulationError
                If a state becomes infinite or no number.
            """
            found = _Tensors(torch)
            weights: dict[str, Any] = {}
            if self.trainable:
                found.note(self.weights, "the module's weights")
                weights = dict(zip(self.trainable, self._natural().unbind(), strict=True))
            recurrence = self.recurrence
            own = {k: v for k, v in weights.items() if k in recurrence.parameter_names}
            started = {k[:-3]: v for k, v in weights.items() if k not in own}
            places = tuple(name for name in recurrence.state_names if name in started)
            if isinstance(initial, Mapping):
                found.check_names(initial, recurrence.state_names, "initial value")
                places = tuple(
                    name for name in recurrence.state_names if name in {**started, **initial}
                )
            elif initial is not None:
                places = recurrence.state_names
            network = recurrence.network
            values = dict(zip(network.parameter_names, network.parameter_values, strict=True))
            tensors = (
                found.join(parameters, own, recurrence.parameter_names, values, "parameter"),
                found.join(initial, started, places, {}, "initial value"),
                found.join(inputs, {}, recurrence.input_names, values, "input"),
            )
            is_needed = torch.is_grad_enabled() and any(
                x is not None and x.requires_grad for x in tensors
            )
            options = {"for_gradient": is_needed}
            if n is not None or rng is not None:
                options |= {"n": n, "rng": rng}
            states = RecurrenceFunction.apply(self._layer, places, options, *tensors)
            return states.to(found.type)

    # Where pickle and copy look for them.
    RecurrenceModule.__qualname__ = "RecurrenceModule"
    return {"RecurrenceModule": RecurrenceModule}


class _Tensors:
    """Brings what a user gives into double precision on the CPU, and knows the type to go back."""

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self._types: list[Any] = []

    @property
    def type(self) -> Any:
        """The floating type that all tensors have together; double if there was none."""
        if not self._types:
            return self._torch.float64
        return functools.reduce(self._torch.promote_types, self._types)

    def note(self, value: Any, what: str) -> Any:
        """Return a tensor in double precision, or say where it is instead of on the CPU."""
        torch = self._torch
        if not isinstance(value, torch.Tensor):
            return torch.as_tensor(value, dtype=torch.float64)
        if value.device.type != "cpu":
            raise ValueError(
                f"{what}: the tensor is on the device '{value.device}', and the recurrence runs "
                "on the CPU; copy it there with .cpu(), and the result back with .to(device)"
            )
        if value.is_floating_point():
            self._types.append(value.dtype)
        return value.to(torch.float64)

    def check_names(self, given: Iterable[str], known: Sequence[str], what: str) -> None:
        """Refuse a name that is not known."""
        for name in given:
            if name not in known:
                raise NetworkError(
                    f"there is no {what} {shown(str(name))}{did_you_mean(str(name), known)}"
                )

    def join(
        self,
        given: Any,
        own: Mapping[str, Any],
        names: Sequence[str],
        values: Mapping[str, float],
        what: str,
    ) -> Any:
        """Return one tensor with a last axis for `names`, or None if nothing is given.

        Each name takes what is given, else the module's own, else the value.
        """
        torch = self._torch
        if given is None and not own:
            return None
        if given is not None and not isinstance(given, Mapping):
            return self.note(given, f"the {what}s")
        given = given or {}
        self.check_names(given, names, what)
        columns = []
        for name in names:
            if name in given:
                columns.append(self.note(given[name], f"the {what} {name!r}"))
            else:
                value = own[name] if name in own else values[name]
                columns.append(torch.as_tensor(value, dtype=torch.float64))
        return torch.stack(torch.broadcast_tensors(*columns), dim=-1) if columns else None


def _names(names: Sequence[str], what: str) -> tuple[str, ...]:
    if isinstance(names, str):
        raise TypeError(f"{what} must be a list of names, as in {what}=[{names!r}]")
    for name in names:
        if list(names).count(name) > 1:
            raise NetworkError(f"{name!r} is named twice in {what}=")
    return tuple(names)


def _start(
    recurrence: Recurrence, trainable: tuple[str, ...], positive: tuple[str, ...]
) -> list[float]:
    """Return the first weights: the network's values, or their logarithms."""
    known = dict(zip(recurrence.parameter_names, recurrence.parameter_values, strict=True))
    known |= {
        f"{name}(0)": value
        for name, value in zip(recurrence.state_names, recurrence.initial_values, strict=True)
    }
    start = []
    for name in trainable:
        if name not in known:
            raise NetworkError(
                f"there is no parameter or initial value {shown(str(name))} to train"
                f"{did_you_mean(str(name), known)}"
            )
        value = float(known[name])
        if name in positive:
            if value <= 0.0:
                raise ValueError(
                    f"{name!r} is to stay positive, but starts at {value:g}; give the network a "
                    "value above 0, or leave it out of positive="
                )
            value = math.log(value)
        start.append(value)
    for name in positive:
        if name not in trainable:
            raise ValueError(f"{name!r} is in positive= but not in trainable=")
    return start
