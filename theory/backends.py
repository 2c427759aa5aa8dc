"""Where the cells of an experiment run: processes here, or a cluster, by name."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from joblib import Parallel, parallel_config

from theory import checks
from theory.errors import InputError
from theory.first_contact import install
from theory.stopping import Pool, stoppable

BACKENDS = ("loky", "threading", "dask", "ray")


@contextmanager
def connected(backend: str, workers: int, address: str | None = None) -> Iterator[Pool]:
    """A pool for joblib's tasks, with outcomes in order, once there (ray: at the end).

    loky:      `workers` processes of one thread each, that stop as in `theory.stopping.stoppable`;
               one worker is this process. 'threading': as many threads.
    dask, ray: the cluster at `address`, or one of `workers` processes on this machine, which is
               closed at the end. Both are optional packages.

    Raises `InputError` for an unknown name, an address without a cluster backend, workers < 1, or
    a package that is not installed.
    """
    checks.one_of("backend", backend, BACKENDS)
    checks.positive("workers", workers)
    if backend not in ("dask", "ray"):
        if address is not None:
            raise InputError("address", "unset", repr(address), "use backend 'dask' or 'ray'")
        processes = backend == "loky" and workers > 1
        with parallel_config(backend, inner_max_num_threads=1 if processes else None):
            pool = Parallel(workers, return_as="generator")
            yield stoppable(pool) if processes else pool
        return
    with ExitStack() as stack:
        if backend == "dask":
            distributed = _optional("dask.distributed")
            if address is None:
                address = stack.enter_context(
                    distributed.LocalCluster(
                        n_workers=workers, threads_per_worker=1, dashboard_address=None
                    )
                )
            stack.enter_context(_reached(distributed.Client, address))
        else:
            ray = _optional("ray")
            ray.init(address, num_cpus=None if address else workers, include_dashboard=False)
            stack.callback(ray.shutdown)
            _optional("ray.util.joblib").register_ray()
        with parallel_config(backend):
            yield Parallel(-1, return_as="list" if backend == "ray" else "generator")


def _reached(client: Callable[..., Any], address: Any) -> Any:
    try:
        return client(address)
    except OSError as error:
        raise InputError("address", "of a cluster that answers", f"{address} ({error})") from None


def _optional(module: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError:
        package = module.split(".")[0]
        raise InputError(
            "backend", f"the package {package!r}", "not installed",
            f"{install('cluster')}, or pip install {package}",
        ) from None  # fmt: skip
