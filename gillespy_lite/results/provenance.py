"""Where a result comes from."""

from __future__ import annotations

from dataclasses import dataclass

from ..network import Network

__all__ = ["Provenance"]


@dataclass(frozen=True)
class Provenance:
    """Where a result comes from: enough to make it again.

    Attributes
    ----------
    network : Network
        What was run.
    method : str
        Name of the method that ran, from ``METHODS``.
    method_reason : str
        Why this method, for example the rule that ``method="auto"`` followed.
    options : dict
        Options of the run and of the method: numbers, text, booleans or None.
    entropy : int or None
        The seed of the random streams; given as ``rng=`` it repeats the result. None of results
        without random numbers, which repeat by themselves.
    stream_version : int
        Version of the random streams; another version draws other numbers.
    package_version : str
        Version of gillespy_lite that ran.
    elapsed : float
        Duration of the run, in seconds.
    engine : str
        Name of the engine that ran; it has no influence on the numbers.
    engine_reason : str
        Why this engine, for example the rule that ``engine="auto"`` followed.
    """

    network: Network
    method: str
    method_reason: str
    options: dict[str, int | float | str | bool | None]
    entropy: int | None
    stream_version: int
    package_version: str
    elapsed: float
    engine: str = "table"
    engine_reason: str = ""

    @property
    def network_text(self) -> str:
        """The network in the language, as it was run."""
        return self.network.text

    @property
    def network_digest(self) -> str:
        """SHA-256 of the network's text, in hexadecimal."""
        return self.network.digest

    def __str__(self) -> str:
        """Return the provenance as aligned lines of text, for printing."""
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        reason = f" ({self.method_reason})" if self.method_reason else ""
        entropy = (
            "none: no random numbers"
            if self.entropy is None
            else f"{self.entropy} (give it as rng= to repeat the run)"
        )
        engine = f" ({self.engine_reason})" if self.engine_reason else ""
        return (
            f"method    {self.method}{reason}\n"
            f"engine    {self.engine}{engine}\n"
            f"options   {options or 'none'}\n"
            f"entropy   {entropy}\n"
            f"versions  gillespy_lite {self.package_version}, "
            f"random streams {self.stream_version}\n"
            f"network   {self.network_digest}\n"
            f"elapsed   {self.elapsed:.3g} s"
        )
