"""A binary heap of reactions by firing time that knows where each reaction stands."""

from __future__ import annotations

from .jit import inlined, part

__all__ = ["build_heap", "move_to_place"]


@inlined
def _put(heap, place, slot, reaction):
    heap[slot] = reaction
    place[reaction] = slot


@inlined
def _sift_down(heap, place, key, slot, reaction):
    # Put `reaction` at `slot` or, while a child is earlier, below it.
    n, value = heap.size, key[reaction]
    while True:
        child = 2 * slot + 1
        if child + 1 < n and key[heap[child + 1]] < key[heap[child]]:
            child += 1
        if child >= n or key[heap[child]] >= value:
            break
        _put(heap, place, slot, heap[child])
        slot = child
    _put(heap, place, slot, reaction)


@part
def move_to_place(heap, place, key, reaction):
    """Restore the order of the heap after `key[reaction]` changed.

    `heap` (n,) holds the reactions, earliest first; `place` (n,) says where each stands.
    """
    slot, value = place[reaction], key[reaction]
    while slot > 0:
        parent = (slot - 1) // 2
        if key[heap[parent]] <= value:
            break
        _put(heap, place, slot, heap[parent])
        slot = parent
    _sift_down(heap, place, key, slot, reaction)


@part
def build_heap(heap, place, key):
    """Order all reactions by `key` (n,)."""
    for reaction in range(heap.size):
        _put(heap, place, reaction, reaction)
    # Only downwards: what is above a slot is not in order yet, so nothing may rise into it.
    for slot in range(heap.size // 2 - 1, -1, -1):
        _sift_down(heap, place, key, slot, heap[slot])
