"""Where trials run: in this process, in several on this machine, or on a cluster.

All three take the same calls and yield results in the order of the calls, so that
nothing depends on how many workers there are.
"""

import gc
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

import kisbt
from kisbt.bt.engine.garbage import rare_collections
from kisbt.errors import InputError, KisbtError
from kisbt.optimize.needs import require
from kisbt.text import _

Work = Callable[..., Any]

# Worker processes lost in a row, without a result in between, before giving up.
_MOST_LOSSES = 3
# How long a cluster may have no worker at all.
_WAIT_FOR_WORKERS_S = 30


class Pool(Protocol):
    """Runs calls of one function.

    Attributes:
        workers: how many run at the same time.
    """

    workers: int

    def map(self, work: Work, calls: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        """Yield ``work(*call)`` for each call, in the order of `calls`."""
        ...


def in_worker(work: Work, *call: Any) -> Any:
    """Make a call in a worker process, and clear away what it leaves behind.

    A run leaves cycles of objects. They are looked for among the youngest objects
    only, where all of them are; else a worker grows until loky takes it for a leak
    and ends it.
    """
    with rare_collections():
        result = work(*call)
        gc.collect(0)
    return result


class Serial:
    """This process."""

    workers = 1

    def map(self, work: Work, calls: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        """Yield the results one after the other."""
        for call in calls:
            yield work(*call)


class Local:
    """Processes of this machine, by joblib and loky."""

    def __init__(self, workers: int) -> None:
        """Use as many processes; they start with the first call."""
        self._joblib = require("joblib")
        self.workers = workers

    def map(self, work: Work, calls: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        """Yield the results; calls lost with a process are made again."""
        joblib = self._joblib
        lost = joblib.externals.loky.process_executor.TerminatedWorkerError
        done = losses = 0
        while done < len(calls):
            # One call a task: workers then end at the same time.
            parallel = joblib.Parallel(
                n_jobs=self.workers,
                backend="loky",
                batch_size=1,
                pre_dispatch="4*n_jobs",
                return_as="generator",
            )
            results = parallel(
                joblib.delayed(in_worker)(work, *call) for call in calls[done:]
            )
            try:
                for result in results:
                    done += 1
                    losses = 0
                    yield result
            except lost as error:
                losses += 1
                if losses >= _MOST_LOSSES:
                    raise KisbtError(
                        _(
                            "worker processes died {count} times in a row; is there "
                            "too little memory? try fewer with --workers"
                        ).format(count=losses)
                    ) from error
            finally:
                results.close()


class Cluster:
    """Workers of a Dask cluster, through joblib's dask backend."""

    def __init__(self, client: Any, shared: Any) -> None:
        """Use a connected client.

        Args:
            client: `distributed.Client`.
            shared: an argument of every call; it is sent once to each worker.
        """
        self._joblib, self._distributed = require("joblib"), require("distributed")
        self._client, self._shared = client, shared
        self._backend: Any = None
        self.workers = max(1, sum(client.nthreads().values()))

    def map(self, work: Work, calls: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        """Yield the results.

        Dask makes the calls of a lost worker again. Calls that fail because the
        shared argument or the connection was lost with it are made again here.
        """
        joblib, distributed = self._joblib, self._distributed
        gone = (OSError, distributed.client.FutureCancelledError)
        done = losses = 0
        while done < len(calls):
            try:
                self._connect()
                parallel = joblib.Parallel(
                    n_jobs=-1,
                    batch_size=1,
                    pre_dispatch="4*n_jobs",
                    return_as="generator",
                )
                results = parallel(
                    joblib.delayed(in_worker)(work, *call) for call in calls[done:]
                )
                try:
                    for result in results:
                        done += 1
                        losses = 0
                        yield result
                finally:
                    results.close()
            except distributed.scheduler.KilledWorker as error:
                raise KisbtError(
                    _(
                        "the same run killed several workers of the cluster; is there "
                        "too little memory on them?"
                    )
                ) from error
            except gone as error:
                self.close()
                losses += 1
                if losses >= _MOST_LOSSES:
                    raise KisbtError(
                        _("the connection to the cluster was lost: {error}").format(
                            error=error
                        )
                    ) from error

    def _connect(self) -> None:
        """Send the shared argument, unless the workers have it already."""
        if self._backend is None:
            self._client.wait_for_workers(1, timeout=_WAIT_FOR_WORKERS_S)
            self._backend = self._joblib.parallel_config(
                backend="dask",
                client=self._client,
                scatter=[self._shared],
                wait_for_workers_timeout=_WAIT_FOR_WORKERS_S,
            )

    def close(self) -> None:
        """Give joblib its own backend back."""
        if self._backend is not None:
            self._backend.unregister()
            self._backend = None


@contextmanager
def open_pool(
    workers: int, *, cluster: str | None = None, shared: Any = None
) -> Iterator[Pool]:
    """Open a pool for the context.

    Args:
        workers: processes of this machine; 1 means this process alone. A cluster
            uses all it has.
        cluster: address of a Dask scheduler, such as ``tcp://10.0.0.5:8786``.
        shared: the argument every call has in common.

    Raises:
        InputError: joblib or dask is not installed, the scheduler does not answer,
            or its workers have other versions.
    """
    if cluster is None:
        yield Serial() if workers <= 1 else Local(workers)
        return
    distributed = require("distributed")
    try:
        client = distributed.Client(cluster, timeout="10s", set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            _(
                "no Dask scheduler answers at {address}: {error}; start one with "
                "dask scheduler, and give the address it prints"
            ).format(address=cluster, error=error)
        ) from error
    with client:
        _check_workers(client, cluster)
        with closing(Cluster(client, shared)) as pool:
            yield pool


def versions() -> dict[str, str]:
    """Return the versions on which results depend."""
    found = {
        "kisbt": kisbt.__version__,
        "python": ".".join(platform.python_version_tuple()[:2]),
    }
    for name in ("backtrader", "numpy", "pandas", "joblib", "distributed"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "-"
    return found


def _check_workers(client: Any, address: str) -> None:
    """Refuse a cluster without workers, or with others than this machine's versions."""
    found = client.run(versions)
    if not found:
        raise InputError(
            _(
                "the cluster at {address} has no worker; start one on each machine: "
                "dask worker {address} --nthreads 1 --nworkers auto"
            ).format(address=address)
        )
    here = versions()
    for worker, there in found.items():
        check_versions(here, there, worker)


def check_versions(here: dict[str, str], there: dict[str, str], worker: str) -> None:
    """Refuse a worker whose versions differ.

    Raises:
        InputError: names worker, package and both versions.
    """
    for name, wanted in here.items():
        if there.get(name) != wanted:
            raise InputError(
                _(
                    "worker {worker} has {name} {found}, this machine {wanted}: "
                    "results could differ; install the same on both"
                ).format(worker=worker, name=name, found=there.get(name), wanted=wanted)
            )
