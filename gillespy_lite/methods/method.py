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

    def options(self) -> dict[str, int | float | str | bool | None]:
        """Return the options by name."""
        return dataclasses.asdict(self)

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
        variables = compiled.network.variable_names
        if variables and not self.supports_variables:
            return (
                f"the variable {variables[0]!r} follows a differential equation, which method "
                f"'{self.name}' cannot solve"
            )
        if compiled.time_dependent and not self.supports_time_dependence:
            return (
                f"the rate of reaction {compiled.time_dependent[0]} depends explicitly on the "
                f"time t, which method '{self.name}' would have to treat as constant"
            )
        return None


@dataclasses.dataclass(frozen=True)
class StochasticMethod(Method):
    """A method that samples trajectories with a kernel of its own."""

    is_stochastic: ClassVar[bool] = True
    supports_time_dependence: ClassVar[bool] = False
    supports_variables: ClassVar[bool] = False
    # (network, request, walker, output, first_index, budget) -> why it returned
    kernel: ClassVar[Any]

    def workspace(self, n_species: int, n_reactions: int) -> tuple[int, int]:
        """Return how many float64 and int64 numbers the kernel needs as scratch."""
        raise NotImplementedError(f"method '{self.name}' does not say what workspace it needs")

    def option_values(self) -> np.ndarray:
        """Return the options as the kernel reads them, (n_options,) float64."""
        return np.zeros(0)
