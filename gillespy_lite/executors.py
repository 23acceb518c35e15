"""Portions of a job handed out to workers: in sizes by measured cost, again where one is lost.

Workers are what `worker_pools` offers: processes, any executor of `concurrent.futures`, Dask. What
a portion consists of changes no number, so sizes, losses and the order in which portions come back
never show in a result.
"""

from __future__ import annotations

import math
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass

from .errors import WorkerError
from .gathering import Gathering, Portion
from .interruption import interrupts_held
from .portion_jobs import Job
from .portion_tasks import PortionReport, PortionTask
from .version import STREAM_VERSION, __version__
from .worker_pools import Pool

__all__ = ["Dispatcher", "PortionSizes", "compute_elsewhere"]

# A portion that was lost so often is not given out again; before any came back, it must be the
# workers themselves that cannot live.
_MOST_TRIES, _MOST_FIRST_TRIES = 4, 2

_GOOD_SECONDS = 1.0  # of a portion: long beside the 1 to 10 ms of handing it out
_LEAST_SECONDS = 0.02  # of the last portions, which are short so that the workers end together
_MOST_BYTES = 2**25  # of a portion on its way
_MOST_TRAJECTORIES = 2**24


class PortionSizes:
    """How many trajectories, or sets, to hand out at a time.

    Parameters
    ----------
    unit : int
        A portion ends at a multiple of it, as a `Gathering` needs.
    bytes_each : int
        That each adds to a portion.
    chunk_size : int or None
        Asked for; None goes by the cost.
    """

    def __init__(self, unit: int, bytes_each: int, chunk_size: int | None) -> None:
        self._unit, self._chunk_size = unit, chunk_size
        self._most = min(_MOST_TRAJECTORIES, max(1, _MOST_BYTES // max(1, bytes_each)))
        self._seconds_each = math.nan
        self._largest = 1

    def learn(self, n: int, seconds: float) -> None:
        """Take note of what `n` of them took on a worker."""
        each = max(seconds, 1e-9) / n
        known = not math.isnan(self._seconds_each)
        # What a large portion says counts for more than what a small one does.
        weight = min(1.0, 2.0 * n / self._largest) if known else 1.0
        self._seconds_each = weight * each + (1.0 - weight) * (self._seconds_each if known else 0.0)
        self._largest = max(self._largest, n)

    def end_of(self, first: int, last: int, n_left: int, n_workers: int) -> int:
        """Return where a portion ends that begins with number `first`.

        Parameters
        ----------
        first, last : int
            first, ..., last - 1 are to be done.
        n_left : int
            How many are to be done in all.
        n_workers : int
        """
        unit, start = self._unit, first // self._unit
        if self._chunk_size is not None:
            return min(last, (start + math.ceil(self._chunk_size / unit)) * unit)
        n = 1.0
        if not math.isnan(self._seconds_each):
            fair = max(n_left / (2 * n_workers), _LEAST_SECONDS / self._seconds_each)
            # Growing by 8 at a time: the first ones may be no measure of the others.
            n = min(self._most, fair, _GOOD_SECONDS / self._seconds_each, 8 * self._largest)
        blocks = max(1, int(n) // unit)
        if unit > 1:
            # Whole nodes of the tree of blocks, so that the moments of each portion are one node.
            blocks = 1 << (blocks.bit_length() - 1)
            blocks = min(blocks, start & -start) if start else blocks
        return min(last, (start + blocks) * unit)


@dataclass
class _Portion:
    first: int
    last: int
    n_tries: int = 0


class Dispatcher:
    """Hands out the portions of a job and takes what comes back.

    Parameters
    ----------
    pool : Pool
    job : Job
    sizes : PortionSizes
    threads : int
        Of each task.

    Attributes
    ----------
    stopped : str or None
        What cut the work short: "timeout", "interrupt" or "error".
    """

    def __init__(self, pool: Pool, job: Job, sizes: PortionSizes, threads: int) -> None:
        self._pool, self._job = pool, job
        self._sizes, self._threads = sizes, threads
        self._run = uuid.uuid4().hex
        self._ranges: deque[tuple[int, int]] = deque()
        self._again: deque[_Portion] = deque()
        self._pending: dict[Future[PortionReport], _Portion] = {}
        self._n_left = 0
        self._n_done = 0
        self._deliver: Callable[[int, int, Portion], object] = lambda first, last, portion: None
        self._trouble: tuple[int, BaseException] | None = None
        self._deadline = math.inf
        self.stopped: str | None = None

    def work(
        self,
        ranges: Iterable[tuple[int, int]],
        deliver: Callable[[int, int, Portion], object],
        report: Callable[[float], None],
        timeout: float = math.inf,
    ) -> BaseException | None:
        """Do it all; return the error of the first trajectory, or portion, that could not go on.

        Parameters
        ----------
        ranges : iterable of (int, int)
            What is to be done, first and last + 1 of each range.
        deliver : callable
            Called in this thread as ``deliver(first, last, portion)`` with all that is finished of
            first, ..., last - 1. It is everything, unless the run is cut short.
        report : callable
            Told now and then how many are done.
        timeout : float
            Seconds, without those that compile a kernel on a worker.
        """
        self._deliver, self._ranges = deliver, deque(ranges)
        self._n_left = sum(last - first for first, last in self._ranges)
        try:
            try:
                # Also where others do the work: workers on the same disk find the kernel there.
                self._job.load_kernel()
                self._deadline = time.monotonic() + timeout
                self._hand_out()
                while self._pending and self.stopped is None:
                    self._take_finished(0.1)
                    report(self._n_done)
                    if self.stopped is None and time.monotonic() >= self._deadline:
                        self.stopped = "timeout"
                    if self.stopped is None:
                        self._hand_out()
            except KeyboardInterrupt:
                self.stopped = "interrupt"
            if self._pending:
                self._wind_up()
        finally:
            # Nothing is left, unless this is an error, of `report` for example.
            if self._pending:
                self._pool.end(self._run, list(self._pending))
                self._pool.abandon(list(self._pending))
            try:
                with interrupts_held():
                    self._pool.close()
            except KeyboardInterrupt:
                self.stopped = "interrupt"
        return None if self._trouble is None else self._trouble[1]

    def _hand_out(self) -> None:
        n_workers = self._pool.n_workers()
        while len(self._pending) < n_workers:
            with interrupts_held():
                portion = self._next(n_workers)
                if portion is None:
                    return
                task = PortionTask(
                    order=self._job.work_order(portion.first, portion.last),
                    engine=self._job.engine_name,
                    first=portion.first,
                    last=portion.last,
                    threads=self._threads,
                    seconds=max(0.0, self._deadline - time.monotonic()),
                    run=self._run,
                )
                try:
                    future = self._pool.submit(task)
                except Exception as error:
                    self._lose(portion, error)
                    if self.stopped is not None:
                        return
                    continue
                self._pending[future] = portion

    def _next(self, n_workers: int) -> _Portion | None:
        if self._again:
            return self._again.popleft()
        if not self._ranges:
            return None
        first, last = self._ranges.popleft()
        end = self._sizes.end_of(first, last, self._n_left, n_workers)
        self._n_left -= end - first
        if end < last:
            self._ranges.appendleft((end, last))
        return _Portion(first, end)

    def _take_finished(self, seconds: float) -> None:
        done, _ = wait(self._pending, timeout=seconds, return_when=FIRST_COMPLETED)
        # By number, so that of several errors the first is told.
        for future in sorted(done, key=lambda one: self._pending[one].first):
            with interrupts_held():
                self._take(future, self._pending.pop(future))

    def _take(self, future: Future[PortionReport], portion: _Portion) -> None:
        try:
            report = future.result(timeout=0)
        except (KeyboardInterrupt, SystemExit) as error:
            # Of the worker: Ctrl-C reaches all processes of a terminal.
            self._lose(portion, error)
            return
        except BaseException as error:
            if self._pool.is_loss(error):
                self._lose(portion, error)
            else:
                self._give_up(portion, self._explained(portion, error))
            return
        theirs = (report.package_version, report.stream_version)
        if theirs != (__version__, STREAM_VERSION):
            self._give_up(portion, WorkerError(_other_version(self._pool.name, *theirs)))
            return
        n = portion.last - portion.first
        if report.n_complete < n and report.failure is None and report.stopped != "timeout":
            if self.stopped is None:
                # Somebody else stopped the worker. What it has would leave gaps.
                self._lose(portion, InterruptedError("the worker was interrupted"))
                return
        elif report.n_complete == n:
            self._sizes.learn(n, report.seconds)
        self._deliver(portion.first, portion.last, report.portion)
        self._n_done += report.n_complete
        if report.failure is not None:
            self._give_up(portion, report.failure)
        elif report.stopped == "timeout":
            self.stopped = self.stopped or "timeout"

    def _lose(self, portion: _Portion, error: BaseException) -> None:
        """Give a portion out again, if that makes sense."""
        if self.stopped is not None:
            return
        portion.n_tries += 1
        where = self._named(portion)
        if portion.n_tries >= (_MOST_TRIES if self._n_done else _MOST_FIRST_TRIES):
            lost = WorkerError(
                f"{self._pool.name}: the workers of {where} were lost {portion.n_tries} times, the "
                f"last time by {type(error).__name__}: {error}. They may run out of memory, or die "
                "as they start: a script must start its work under `if __name__ == '__main__':`, "
                f"and workers must be able to import gillespy_lite. {_KEPT}"
            )
            lost.__cause__ = error
            self._give_up(portion, lost)
        elif not self._pool.renew():
            lost = WorkerError(
                f"{self._pool.name} takes no more work, after {type(error).__name__}: {error} "
                f"({where}). Make a new one and run again; executor='processes' and Dask replace "
                f"workers that die. {_KEPT}"
            )
            lost.__cause__ = error
            self._give_up(portion, lost)
        else:
            self._again.append(portion)

    def _give_up(self, portion: _Portion, error: BaseException) -> None:
        self.stopped = self.stopped or "error"
        if self._trouble is None or portion.first < self._trouble[0]:
            self._trouble = (portion.first, error)

    def _explained(self, portion: _Portion, error: BaseException) -> BaseException:
        if isinstance(error, ModuleNotFoundError) and "gillespy_lite" in str(error):
            found = WorkerError(
                f"{self._pool.name}: the workers have no gillespy_lite; install version "
                f"{__version__} where they run"
            )
            found.__cause__ = error
            return found
        error.add_note(f"on a worker ({self._pool.name}), in {self._named(portion)}")
        return error

    def _named(self, portion: _Portion) -> str:
        return f"{self._job.order.things} {portion.first} to {portion.last - 1}"

    def _wind_up(self) -> None:
        """Take what the workers have, if they give it soon."""
        try:
            self._pool.end(self._run, list(self._pending))
            until = time.monotonic() + self._pool.patience
            while self._pending and time.monotonic() < until:
                self._take_finished(0.1)
        except KeyboardInterrupt:
            self.stopped = "interrupt"
        self._pool.abandon(list(self._pending))
        self._pending.clear()


_KEPT = "The finished trajectories are in the error's .result"


def _other_version(name: str, package_version: str, stream_version: int) -> str:
    return (
        f"{name}: a worker has gillespy_lite {package_version} with random streams of version "
        f"{stream_version}, and this process {__version__} with version {STREAM_VERSION}; its "
        f"trajectories are not taken. Install the same version everywhere. {_KEPT}"
    )


def compute_elsewhere(
    pool: Pool,
    job: Job,
    gatherer: Gathering,
    *,
    n_threads: int,
    chunk_size: int | None,
    report: Callable[[float], None],
    timeout: float,
    ranges: Iterable[tuple[int, int]] | None = None,
    deliver: Callable[[int, int, Portion], object] | None = None,
) -> tuple[BaseException | None, str | None]:
    """Have what a gatherer takes computed by a pool; return what `Dispatcher` says.

    Parameters
    ----------
    pool : Pool
    job : Job
    gatherer : Gathering
        Of all of the job.
    n_threads : int
        Of each task.
    chunk_size, report, timeout
        As for `PortionSizes` and `Dispatcher.work`.
    ranges : iterable of (int, int), optional
        What is to be computed; all of it by default.
    deliver : callable, optional
        What takes the portions; by default the gatherer.

    Returns
    -------
    (error or None, str or None)
        What could not go on; what cut the work short.
    """
    sizes = PortionSizes(gatherer.unit, job.row_bytes, chunk_size)
    dispatcher = Dispatcher(pool, job, sizes, n_threads)
    failure = dispatcher.work(
        [(gatherer.first, gatherer.last)] if ranges is None else ranges,
        (lambda first, last, portion: gatherer.add(portion)) if deliver is None else deliver,
        report,
        timeout,
    )
    return failure, dispatcher.stopped
