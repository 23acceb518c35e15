"""Handing a group of arrays on by its address, so that kernels with many arrays compile quickly.

Numba hands a NamedTuple on as all the fields of all its arrays, seven each. A kernel of a hundred
arrays that consists of twenty parts spends most of its compilation on moving these about: the
first kernel of `jump_loop` took 106 s to compile without references and 64 s with them (processor
time, before its parts were kept apart, see `jit.apart`). In Python, a reference is the group
itself.
"""

from __future__ import annotations

from typing import Any, TypeVar

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import impl_ret_borrowed, lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import lower_builtin, models, register_model, type_callable

__all__ = ["Reference", "refer"]

Group = TypeVar("Group")

_ADDRESS = ir.IntType(8).as_pointer()


class Reference(types.Type):
    """The type of the address of a NamedTuple."""

    def __init__(self, group: Any) -> None:
        self.group = group
        super().__init__(name=f"Reference({group})")


@register_model(Reference)
class _Model(models.OpaqueModel):
    """An address."""


@infer_getattr
class _Fields(AttributeTemplate):
    key = Reference

    def generic_resolve(self, reference: Any, name: str) -> Any:  # type: ignore[override]
        group = reference.group
        if name not in group.fields:
            return None
        field = group.types[group.fields.index(name)]
        return Reference(field) if isinstance(field, types.BaseNamedTuple) else field


@lower_getattr_generic(Reference)
def _load_field(context: Any, builder: Any, reference: Any, address: Any, name: str) -> Any:
    group = reference.group
    place = group.fields.index(name)
    whole = builder.bitcast(address, context.get_value_type(group).as_pointer())
    field = cgutils.gep_inbounds(builder, whole, 0, place)
    kind = group.types[place]
    if isinstance(kind, types.BaseNamedTuple):
        return builder.bitcast(field, _ADDRESS)
    return impl_ret_borrowed(context, builder, kind, builder.load(field))


def refer(group: Group) -> Group:
    """Return the group; in compiled code its address, valid until the calling function returns."""
    return group


@type_callable(refer)
def _type_of_reference(typing_context: Any) -> Any:
    return lambda group: Reference(group) if isinstance(group, types.BaseNamedTuple) else None


@lower_builtin(refer, types.BaseNamedTuple)
def _address_of(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    # On the stack of the function that calls `refer`.
    return builder.bitcast(cgutils.alloca_once_value(builder, arguments[0]), _ADDRESS)
