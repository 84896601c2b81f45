"""Work for the executors of others: few tasks at a time, results in order, and one sentence where workers fail."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any, Callable, Iterable, Iterator

from snnrepro.errors import ModelError, SnnReproError, one_line

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

MOST_TASKS = 64
"""Tasks that wait or run at a time: enough for as many cores."""
MOST_BYTES = 2**30
"""Bytes of what was sent with the tasks that wait or run."""


def in_order(
    executor: Executor, function: Callable[..., Any], tasks: Iterable[tuple[Any, ...]], task_bytes: int
) -> Iterator[Any]:
    """Yield what `function` gives for the arguments of each task, in the order of the tasks.

    Parameters
    ----------
    executor : concurrent.futures.Executor
        What calls it: processes, threads, or other machines.
    function : callable
        Importable by its name.
    tasks : iterable of tuple
        The arguments; taken one by one, as results come back.
    task_bytes : int
        About what is sent with each: not more than `MOST_TASKS` tasks and `MOST_BYTES` are sent ahead (but two tasks).

    Raises
    ------
    ModelError
        It is no executor.
    SnnReproError
        A call failed, or what should make it is gone.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> from snnrepro.executors import in_order
    >>> with ThreadPoolExecutor(2) as executor:
    ...     list(in_order(executor, divmod, [(7, 2), (9, 4)], task_bytes=16))
    [(3, 1), (2, 1)]
    """
    if not callable(getattr(executor, "submit", None)):
        raise ModelError(f"executor must be one of concurrent.futures, or like one, got {type(executor).__name__}")
    most = max(2, min(MOST_TASKS, MOST_BYTES // max(1, task_bytes)))
    sent: deque[Future[Any]] = deque()
    try:
        for task in tasks:
            if len(sent) == most:
                yield result(sent.popleft())
            with _in_one_sentence():
                sent.append(executor.submit(function, *task))
        while sent:
            yield result(sent.popleft())
    finally:
        for future in sent:
            future.cancel()


def result(future: Future[Any]) -> Any:
    """Return what a call gave, or raise one sentence."""
    with _in_one_sentence():
        return future.result()


@contextlib.contextmanager
def _in_one_sentence() -> Iterator[None]:
    try:
        yield
    except SnnReproError:
        raise
    except Exception as error:  # whatever executors, networks and workers raise
        raise SnnReproError(
            f"a worker failed ({one_line(error)}); have all of them this snnrepro, and memory enough?"
        ) from error
