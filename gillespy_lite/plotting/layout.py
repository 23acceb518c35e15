"""Places for boxes joined by lines: a small layout for the picture of a network.

First the distances in the plane are made proportional to the distances in the graph (stress
majorisation: Gansner, Koren, North 2005, doi:10.1007/978-3-540-31843-9_25). Then every box in turn
moves to the best of a few tried places, where good means no overlapping boxes, no line through a
box, few crossing lines, and little stress. Everything is drawn from a fixed seed, so the same
network always has the same picture.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Boxes", "arrange_boxes", "boxes_overlap"]

FloatArray = NDArray[np.float64]

_N_STARTS = 12  # random starts of the stress reduction
_N_IMPROVED = 3  # the best of them, improved box by box
_N_STRESS_STEPS = 60
_N_SWEEPS = 24
_N_CANDIDATES = 16
# Prices of what makes a picture bad, in units of the stress of one badly placed pair.
_OVERLAP_PRICE = 12.0
_PIERCED_PRICE = 4.0
_CROSSING_PRICE = 1.5
# Free space kept between two boxes, and between two that a line joins (for the arrow), in inches.
_GAP = 0.10
_JOINED_GAP = 0.30
# Longer lines, in inches, are not wanted, and what is spread to fill its frame stops at these.
_MAX_LENGTH, _MAX_STRETCHED_LENGTH = 1.5, 2.2
# A line this close to a foreign box, in inches, counts as going through it.
_CLEARANCE = 0.05


class Boxes(NamedTuple):
    """What is to be placed, in inches."""

    half_sizes: FloatArray  # (n_boxes, 2) half width and half height
    lines: NDArray[np.int64]  # (n_lines, 2) the two boxes that a line joins
    frame: FloatArray  # (2,) width and height of the picture


def arrange_boxes(boxes: Boxes) -> FloatArray:
    """Return the centre of every box.

    Parameters
    ----------
    boxes : Boxes
        Sizes, lines and frame.

    Returns
    -------
    ndarray, shape (n_boxes, 2), float64
        Centres in inches from the lower left corner, with all boxes inside the frame if they fit.
    """
    n_boxes = len(boxes.half_sizes)
    if n_boxes == 1:
        return boxes.frame[None, :] / 2.0
    random = np.random.default_rng(20_240_229)
    distances = _graph_distances(n_boxes, boxes.lines)
    # Large pictures have many boxes to move in each sweep; spend about the same time on them.
    effort = min(1.0, 40.0 / n_boxes)

    def badness(centres: FloatArray) -> float:
        return _total_badness(centres, distances, boxes)

    starts = []
    for _ in range(_N_STARTS):
        places = _reduce_stress(random.normal(size=(n_boxes, 2)), distances)
        starts.append(_fit_into_frame(places, boxes))
    starts.sort(key=badness)
    n_sweeps = max(8, round(_N_SWEEPS * effort))
    improved = [
        _improve(start, distances, boxes, random, n_sweeps)
        for start in starts[: max(1, round(_N_IMPROVED * effort))]
    ]
    return _stretched(min(improved, key=badness), boxes)


def boxes_overlap(centres: FloatArray, half_sizes: FloatArray, gap: float = 0.0) -> bool:
    """Whether any two boxes are nearer than `gap` (in inches) in both directions."""
    separation = np.abs(centres[:, None, :] - centres[None, :, :])
    needed = half_sizes[:, None, :] + half_sizes[None, :, :] + gap
    overlapping = np.all(separation < needed, axis=-1)
    np.fill_diagonal(overlapping, False)
    return bool(overlapping.any())


def _graph_distances(n_boxes: int, lines: NDArray[np.int64]) -> FloatArray:
    """Return the number of lines on the shortest way between any two boxes."""
    distances = np.full((n_boxes, n_boxes), np.inf)
    np.fill_diagonal(distances, 0.0)
    distances[lines[:, 0], lines[:, 1]] = 1.0
    distances[lines[:, 1], lines[:, 0]] = 1.0
    for k in range(n_boxes):  # Floyd and Warshall
        np.minimum(distances, distances[:, k, None] + distances[None, k, :], out=distances)
    np.fill_diagonal(distances, 0.0)
    # Parts that are not connected stand side by side.
    reachable = distances[np.isfinite(distances)]
    distances[np.isinf(distances)] = 0.5 * reachable.max() + 1.5
    return distances


def _reduce_stress(places: FloatArray, distances: FloatArray) -> FloatArray:
    """Move all places at once towards the wanted distances (Guttman's transform)."""
    weights = np.zeros_like(distances)
    np.divide(1.0, distances**2, out=weights, where=distances > 0.0)
    laplacian = np.diag(weights.sum(axis=1)) - weights
    inverse = np.linalg.pinv(laplacian)
    for _ in range(_N_STRESS_STEPS):
        offsets = places[:, None, :] - places[None, :, :]
        lengths = np.sqrt((offsets**2).sum(axis=-1))
        ratios = np.zeros_like(lengths)
        np.divide(weights * distances, lengths, out=ratios, where=lengths > 1e-9)
        transform = np.diag(ratios.sum(axis=1)) - ratios
        places = inverse @ (transform @ places)
    return places


def _fit_into_frame(places: FloatArray, boxes: Boxes) -> FloatArray:
    """Turn the long axis across the page and stretch the places to fill the frame."""
    centred = places - places.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    turned = centred @ axes.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    span = np.where(high - low > 1e-9, high - low, 1.0)
    margin = boxes.half_sizes.max(axis=0)
    room = np.maximum(boxes.frame - 2.0 * margin, 0.1)
    # Something straight stays in the middle instead of being stretched from edge to edge.
    share = np.where(high - low > 1e-9, (turned - low) / span, 0.5)
    return _inside(margin + share * room, boxes.half_sizes, boxes.frame)


def _stretched(centres: FloatArray, boxes: Boxes) -> FloatArray:
    """Stretch the finished picture to the frame, which moves no two boxes closer together."""
    low = (centres - boxes.half_sizes).min(axis=0)
    high = (centres + boxes.half_sizes).max(axis=0)
    # Boxes keep their size, so it is the centres that are spread.
    spread = centres.max(axis=0) - centres.min(axis=0)
    room = boxes.frame - (high - low) + spread
    factor = np.ones(2)
    np.divide(room, spread, out=factor, where=spread > 1e-9)
    lines = np.abs(centres[boxes.lines[:, 0]] - centres[boxes.lines[:, 1]])
    longest = float(np.hypot(lines[:, 0], lines[:, 1]).max(initial=0.1))
    factor = np.clip(factor, 1.0, max(1.0, _MAX_STRETCHED_LENGTH / longest))
    middle = 0.5 * (centres.max(axis=0) + centres.min(axis=0))
    spread_out = (centres - middle) * factor
    low = (spread_out - boxes.half_sizes).min(axis=0)
    high = (spread_out + boxes.half_sizes).max(axis=0)
    return _inside(
        spread_out - 0.5 * (low + high) + 0.5 * boxes.frame, boxes.half_sizes, boxes.frame
    )


def _inside(centres: FloatArray, half_sizes: FloatArray, frame: FloatArray) -> FloatArray:
    low = np.minimum(half_sizes, frame / 2.0)
    return np.clip(centres, low, frame - low)


def _improve(
    centres: FloatArray,
    distances: FloatArray,
    boxes: Boxes,
    random: np.random.Generator,
    n_sweeps: int,
) -> FloatArray:
    """Move each box in turn to the best of some tried places, in ever smaller steps."""
    centres = centres.copy()
    n_boxes = len(centres)
    neighbours: list[list[int]] = [[] for _ in range(n_boxes)]
    for a, b in boxes.lines.tolist():
        neighbours[a].append(b)
        neighbours[b].append(a)
    for sweep in range(n_sweeps):
        step = 0.35 * boxes.frame * (1.0 - sweep / n_sweeps) ** 2 + 0.03
        for moved in random.permutation(n_boxes):
            places = centres[moved] + random.normal(size=(_N_CANDIDATES, 2)) * step
            if neighbours[moved]:
                middle = centres[neighbours[moved]].mean(axis=0)
                near_middle = random.normal(size=(_N_CANDIDATES // 4, 2)) * step
                places[: _N_CANDIDATES // 4] = middle + near_middle
            places[-1] = centres[moved]
            places = _inside(places, boxes.half_sizes[moved], boxes.frame)
            badness = _badness_of_box(int(moved), places, centres, distances, boxes)
            centres[moved] = places[np.argmin(badness)]
    return centres


def _line_length(distances: FloatArray, boxes: Boxes) -> float:
    """Return the wanted length of a line, in inches, such that the longest way spans the frame."""
    return min(_MAX_LENGTH, float(np.hypot(*boxes.frame)) / (float(distances.max()) + 1.0))


def _total_badness(centres: FloatArray, distances: FloatArray, boxes: Boxes) -> float:
    return sum(
        float(_badness_of_box(i, centres[i : i + 1], centres, distances, boxes)[0])
        for i in range(len(centres))
    )


def _badness_of_box(
    moved: int, places: FloatArray, centres: FloatArray, distances: FloatArray, boxes: Boxes
) -> FloatArray:
    """Return how bad each of `places`, (n_places, 2), is for one box if the others stay."""
    others = np.arange(len(centres)) != moved
    offsets = np.abs(places[:, None, :] - centres[None, others, :])
    wanted = distances[moved, others]
    unit = _line_length(distances, boxes)
    lengths = np.hypot(offsets[..., 0], offsets[..., 1]) / unit
    badness: FloatArray = ((lengths / wanted - 1.0) ** 2).sum(axis=1)

    gaps = np.where(wanted == 1.0, _JOINED_GAP, _GAP)
    needed = boxes.half_sizes[moved] + boxes.half_sizes[others] + gaps[:, None]
    short = needed - offsets
    shortfall = np.minimum(short[..., 0], short[..., 1])
    badness += _OVERLAP_PRICE * (np.where(shortfall > 0.0, 0.2 + shortfall, 0.0)).sum(axis=1)

    touches = (boxes.lines == moved).any(axis=1)
    own, foreign = boxes.lines[touches], boxes.lines[~touches]
    far_ends = np.where(own[:, 0] == moved, own[:, 1], own[:, 0])
    if len(foreign):
        starts, ends = centres[foreign[:, 0]], centres[foreign[:, 1]]
        pierced = _line_meets_box(
            starts[None], ends[None], places[:, None, :], boxes.half_sizes[moved] + _CLEARANCE
        )
        badness += _PIERCED_PRICE * pierced.sum(axis=1)
    if not len(own):
        return badness
    tips = centres[far_ends]
    pierced = _line_meets_box(
        places[:, None, None, :],
        tips[None, :, None, :],
        centres[None, None, :, :],
        boxes.half_sizes + _CLEARANCE,
    )
    pierced[:, :, moved] = False
    pierced[:, np.arange(len(own)), far_ends] = False
    badness += _PIERCED_PRICE * pierced.sum(axis=(1, 2))
    if len(foreign):
        crossed = _lines_cross(
            places[:, None, None, :], tips[None, :, None, :], starts[None, None], ends[None, None]
        )
        shares_end = (foreign[None, :, :] == far_ends[:, None, None]).any(axis=-1)
        badness += _CROSSING_PRICE * (crossed & ~shares_end[None]).sum(axis=(1, 2))
    return badness


def _line_meets_box(
    starts: FloatArray, ends: FloatArray, centres: FloatArray, half_sizes: FloatArray
) -> NDArray[np.bool_]:
    """Whether a line enters a box, by cutting it at the box's two pairs of parallel sides."""
    direction = ends - starts
    # A line that is exactly upright or level is tilted by a hair, to avoid dividing by zero.
    direction = np.where(np.abs(direction) < 1e-12, 1e-12, direction)
    first = (centres - half_sizes - starts) / direction
    second = (centres + half_sizes - starts) / direction
    near, far = np.minimum(first, second), np.maximum(first, second)
    # Written out, because NumPy reduces an axis of length two slowly.
    enters = np.maximum(near[..., 0], near[..., 1])
    leaves = np.minimum(far[..., 0], far[..., 1])
    meets: NDArray[np.bool_] = (enters < leaves) & (leaves > 0.0) & (enters < 1.0)
    return meets


def _lines_cross(a: FloatArray, b: FloatArray, c: FloatArray, d: FloatArray) -> NDArray[np.bool_]:
    """Whether line a-b crosses line c-d: each separates the two ends of the other."""

    def side(p: FloatArray, q: FloatArray, r: FloatArray) -> FloatArray:
        area: FloatArray = (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1]) - (
            q[..., 1] - p[..., 1]
        ) * (r[..., 0] - p[..., 0])
        return area

    crosses: NDArray[np.bool_] = (side(a, b, c) * side(a, b, d) < 0.0) & (
        side(c, d, a) * side(c, d, b) < 0.0
    )
    return crosses
