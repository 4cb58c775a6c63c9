"""What the ingest job needs of Ray, done in the driver's own process, one task after the other, the last one first."""

from types import SimpleNamespace

import ray


def inline_ray() -> SimpleNamespace:
    """To stand for `ray` in `ingest.job`."""

    def remote(function):
        def task(*arguments):
            return lambda: function(*arguments)

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=task))

    return SimpleNamespace(
        remote=remote,
        put=lambda value: value,
        get=lambda task: task(),
        wait=lambda tasks, **_: (tasks[-1:], tasks[:-1]),
        cancel=lambda *_, **__: None,
        exceptions=ray.exceptions,
    )
