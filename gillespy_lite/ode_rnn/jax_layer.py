"""A recurrence as a function for JAX, on the CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import MethodError, MissingExtraError, NetworkError
from ..names import did_you_mean, shown
from .array_layer import N_AXES, Arguments, ArrayLayer, make_array_layer, summed
from .recurrence import Recurrence

__all__ = ["jax_function"]


def jax_function(
    recurrence: Recurrence,
    t: Any,
    *,
    outputs: Sequence[str] | None = None,
    steps: Any = None,
    threads: int | None = None,
    checkpoints: bool = False,
) -> Callable[..., Any]:
    """Return a function of JAX arrays that runs a recurrence, differentiable in reverse mode.

    It works under ``jax.jit``, ``jax.grad``, ``jax.vjp`` and ``jax.vmap`` (also inside each other);
    forward mode (``jax.jvp``, ``jax.hessian``) is refused by JAX. The work is done by compiled code
    on the CPU in double precision. JAX itself keeps double precision only if ``jax_enable_x64`` is
    set. A trajectory that diverges gives nan, and so does its gradient.

    Parameters
    ----------
    recurrence : Recurrence
        Any deterministic cell.
    t : float or array_like, shape (n_times,)
        End time (then 101 times from 0), or increasing times.
    outputs : sequence of str, optional
        States and observables that are returned; all states by default.
    steps, threads, checkpoints
        See `Recurrence.unroll`.

    Returns
    -------
    callable
        ``f(parameters=None, initial=None, inputs=None)`` returns (n_times, n_outputs). `parameters`
        holds all of `recurrence.parameter_names`, (n_parameters,); `initial` all of
        `recurrence.state_names`, (n_states,); `inputs` all of `recurrence.input_names`,
        (n_times, n_inputs). The first two may be mappings from some of the names to numbers.
        Leading axes are batch axes.

    Raises
    ------
    NetworkError
        If a name is unknown.
    MethodError
        If the cell has noise, which JAX could not repeat on the way back.
    """
    try:
        import jax
    except ImportError as error:
        raise MissingExtraError(
            "this needs jax, which is not installed: pip install gillespy_lite[jax]"
        ) from error
    options = {
        "steps": steps,
        "threads": threads,
        "checkpoints": checkpoints,
        "keep_diverged": True,
    }
    layer = make_array_layer(recurrence, t, outputs, options)
    if recurrence.cell.is_stochastic:
        raise MethodError(
            f"the cell '{recurrence.cell.name}' draws random numbers, which a pure function of "
            "JAX may not; take a deterministic cell"
        )
    differentiable = _differentiable(jax, layer)
    values = dict(zip(recurrence.parameter_names, recurrence.parameter_values, strict=True))

    def run(parameters: Any = None, initial: Any = None, inputs: Any = None) -> Any:
        """Return the outputs at the times, (..., n_times, n_outputs)."""
        given = recurrence.state_names
        if isinstance(initial, Mapping):
            _check_names(initial, recurrence.state_names, "species or variable")
            given = tuple(name for name in recurrence.state_names if name in initial)
            columns = [initial[name] for name in given]
            initial = _stacked(jax, columns) if columns else None
        if isinstance(parameters, Mapping):
            _check_names(parameters, recurrence.parameter_names, "parameter")
            parameters = _stacked(jax, list({**values, **parameters}.values()))
        arguments = [
            None if one is None else jax.numpy.asarray(one, dtype=float)
            for one in (parameters, initial, inputs)
        ]
        layer.batch_of(Arguments(*arguments))
        return differentiable(given, *arguments)

    return run


def _check_names(given: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    for name in given:
        if name not in known:
            raise NetworkError(
                f"the network has no {what} {shown(str(name))}{did_you_mean(str(name), known)}"
            )


def _stacked(jax: Any, columns: list[Any]) -> Any:
    return jax.numpy.stack(jax.numpy.broadcast_arrays(*columns), axis=-1)


def _differentiable(jax: Any, layer: ArrayLayer) -> Callable[..., Any]:
    """Return f(given, parameters, initial, inputs) with its derivative, as calls of our kernels."""

    def promised(batch: tuple[int, ...], *core: int) -> Any:
        # float64, or float32 where JAX works in single precision.
        return jax.ShapeDtypeStruct((*batch, *core), jax.numpy.result_type(float))

    def forwards(given: tuple[str, ...], *arguments: Any) -> Any:
        def on_host(*arrays: Any) -> np.ndarray:
            found = layer.run(_arguments(arrays), given).values
            return found.astype(jax.numpy.result_type(float))

        batch = layer.batch_of(Arguments(*arguments))
        result = promised(batch, layer.times.size, len(layer.outputs))
        return jax.pure_callback(on_host, result, *arguments, vmap_method="expand_dims")

    def keep(given: tuple[str, ...], *arguments: Any) -> Any:
        return forwards(given, *arguments), arguments

    def backwards(given: tuple[str, ...], arguments: Any, adjoint: Any) -> Any:
        shapes = [None if one is None else one.shape for one in arguments]

        def on_host(adjoint: Any, *arrays: Any) -> Any:
            found = _gradients(layer, given, np.asarray(adjoint), _arguments(arrays), shapes)
            kind = jax.numpy.result_type(float)
            return tuple(None if one is None else one.astype(kind) for one in found)

        result = tuple(None if shape is None else promised((), *shape) for shape in shapes)
        return jax.pure_callback(on_host, result, adjoint, *arguments, vmap_method="expand_dims")

    run = jax.custom_vjp(forwards, nondiff_argnums=(0,))
    run.defvjp(keep, backwards)
    return run  # type: ignore[no-any-return]


def _arguments(arrays: Sequence[Any]) -> Arguments:
    return Arguments(
        *(None if one is None else np.asarray(one, dtype=np.float64) for one in arrays)
    )


def _gradients(
    layer: ArrayLayer,
    given: tuple[str, ...],
    adjoint: np.ndarray,
    arguments: Arguments,
    shapes: Sequence[tuple[int, ...] | None],
) -> Arguments:
    """Return the gradients; `shapes` are those of the arguments before `jax.vmap` added axes.

    The axes that it added, of length 1 where an argument does not vary, come first. Each of their
    places has a gradient of its own.
    """
    n_added = next(
        one.ndim - len(shape)
        for one, shape in zip(arguments, shapes, strict=True)
        if one is not None and shape is not None
    )
    every = [adjoint, *(one for one in arguments if one is not None)]
    added = np.broadcast_shapes(*(one.shape[:n_added] for one in every))
    batch = np.broadcast_shapes(adjoint.shape[:-2], layer.batch_of(arguments))
    n_rows = math.prod(batch)
    rows = Arguments(
        *(
            None
            if one is None
            else np.broadcast_to(one, (*batch, *one.shape[one.ndim - n :])).reshape(
                n_rows, *one.shape[one.ndim - n :]
            )
            for one, n in zip(arguments, N_AXES, strict=True)
        )
    )
    adjoint = np.broadcast_to(adjoint, (*batch, *adjoint.shape[-2:])).reshape(
        n_rows, *adjoint.shape[-2:]
    )
    run = layer.run(rows, given, for_gradient=True)
    if np.all(run.path.diverged):
        found = Arguments(*(None if one is None else np.full(one.shape, np.nan) for one in rows))
    else:
        found = layer.pull_back(run, adjoint, rows)
    return Arguments(
        *(
            None if one is None or shape is None else summed(one, n, batch, (*added, *shape))
            for one, n, shape in zip(found, N_AXES, shapes, strict=True)
        )
    )
