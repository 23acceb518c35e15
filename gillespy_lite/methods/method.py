"""What every method declares: its name, its traits, its options and its kernel."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import MethodError

if TYPE_CHECKING:
    from ..compilation import CompiledNetwork

__all__ = ["Method", "StochasticMethod"]


@dataclasses.dataclass(frozen=True)
class Method:
    """One algorithm. Its dataclass fields are its options; its class attributes are its traits."""

    name: ClassVar[str]
    summary: ClassVar[str]
    citation: ClassVar[str]
    is_exact: ClassVar[bool]
    is_stochastic: ClassVar[bool]
    supports_time_dependence: ClassVar[bool]
    supports_variables: ClassVar[bool]
    supports_events: ClassVar[bool]
    supports_delays: ClassVar[bool]

    def options(self) -> dict[str, int | float | str | bool | None]:
        """Return the options by name."""
        return {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}

    def with_options(self, options: Mapping[str, Any]) -> Method:
        """Return the method with other options.

        Raises
        ------
        MethodError
            If the method has no option of that name; the message lists those it has.
        """
        known = [field.name for field in dataclasses.fields(self)]
        for name in options:
            if name not in known:
                has = f"its options are {', '.join(known)}" if known else "it has no options"
                raise MethodError(f"method '{self.name}' has no option '{name}'; {has}")
        return dataclasses.replace(self, **options)

    def check_options(
        self, requirements: Mapping[str, tuple[Callable[[float], bool], str]]
    ) -> None:
        """Refuse a numeric option that is not what it must be.

        Raises
        ------
        MethodError
            Naming the option, what it must be and what it is.
        """
        for option, (fits, must) in requirements.items():
            value = getattr(self, option)
            is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
            if not is_number or not fits(float(value)):
                raise MethodError(
                    f"option {option} of method '{self.name}' must be {must}, not {value!r}"
                )

    def refusal(self, compiled: CompiledNetwork) -> str | None:
        """Return why this method cannot do this network, or None if it can."""
        network = compiled.network
        if network.variable_names and not self.supports_variables:
            return (
                f"the variable {network.variable_names[0]!r} follows a differential equation, "
                f"which method '{self.name}' cannot solve"
            )
        if compiled.time_dependent and not self.supports_time_dependence:
            return (
                f"the rate of reaction {compiled.time_dependent[0]} depends explicitly on the "
                f"time t, which method '{self.name}' would have to treat as constant"
            )
        if network.events and not self.supports_events:
            event = network.events[0]
            name = f" '{event.name}'" if event.name else ""
            return (
                f"method '{self.name}' cannot make the assignments of events, such as event "
                f"1{name} (when {event.trigger})"
            )
        if compiled.delayed and not self.supports_delays:
            return (
                f"reaction {compiled.delayed[0]} has a delay, which method '{self.name}' cannot "
                "follow"
            )
        return None


@dataclasses.dataclass(frozen=True)
class StochasticMethod(Method):
    """A method that samples trajectories with a kernel of its own."""

    is_stochastic: ClassVar[bool] = True
    supports_time_dependence: ClassVar[bool] = False
    supports_variables: ClassVar[bool] = False
    supports_events: ClassVar[bool] = False
    supports_delays: ClassVar[bool] = False
    # (network, request, walker, output, first_index, budget) -> why it returned
    kernel: ClassVar[Any]
    # The same for a `JumpNetwork`; None for a method that cannot do one.
    jump_kernel: ClassVar[Any] = None

    def refusal(self, compiled: CompiledNetwork) -> str | None:
        """Return why this method cannot do this network, or None if it can."""
        if compiled.real_sided:
            return f"reaction {compiled.real_sided[0]} {compiled.why_real()}"
        return super().refusal(compiled)

    def kernel_for(self, compiled: CompiledNetwork) -> Any:
        """Return the kernel for a network in which nothing moves between events.

        All kernels of a method draw the same trajectories, bit by bit.
        """
        return self.kernel

    def workspace(self, n_species: int, n_reactions: int) -> tuple[int, int]:
        """Return how many float64 and int64 numbers the kernel needs as scratch."""
        raise NotImplementedError(f"method '{self.name}' does not say what workspace it needs")

    def workspace_for(self, compiled: CompiledNetwork) -> tuple[int, int]:
        """Return the same for a network in which nothing moves between events."""
        return self.workspace(compiled.network.n_species, compiled.arrays.form.size)

    def arrays(self, compiled: CompiledNetwork) -> Any:
        """Return what the kernel reads of a network that does not move between jumps."""
        return compiled.arrays

    def option_values(self) -> np.ndarray:
        """Return the options as the kernel reads them, (n_options,) float64."""
        return np.zeros(0)


@dataclasses.dataclass(frozen=True)
class ExactMethod(StochasticMethod):
    """A method that fires one reaction at a time, at its exact time.

    Rates that depend on t or on variables are bounded over windows of time by interval arithmetic;
    a reaction is proposed at the bound and accepted with the probability rate / bound, which leaves
    its law exact. Variables are integrated between the jumps by steps of Dormand and Prince.

    Parameters
    ----------
    look_ahead : float
        Length of the windows, in the unit of time; 0 (the default) adapts it to the rates. It
        changes the speed and the draws, and no law.
    rtol, atol : float
        Relative and absolute tolerance (in the unit of a variable) of each step in which variables
        are integrated. Networks without variables have no use for them.
    """

    look_ahead: float = 0.0
    rtol: float = 1e-8
    atol: float = 1e-8

    is_exact: ClassVar[bool] = True
    supports_time_dependence: ClassVar[bool] = True
    supports_variables: ClassVar[bool] = True
    supports_events: ClassVar[bool] = True
    supports_delays: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.check_options(
            {
                "look_ahead": (lambda x: 0.0 <= x < np.inf, "0 (adaptive) or a positive time"),
                "rtol": (lambda x: 1e-14 <= x < 1.0, "a number from 1e-14 to below 1"),
                "atol": (lambda x: 0.0 < x < np.inf, "a number above 0"),
            }
        )

    def option_values(self) -> np.ndarray:
        """Return the options in the order in which the kernel reads them."""
        return np.array([self.look_ahead, self.rtol, self.atol], dtype=np.float64)
