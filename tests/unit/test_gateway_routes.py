"""The gateway sends every route to the service that answers it: read from its configuration, as HAProxy reads it."""

import re
from pathlib import Path

import pytest

from secureconnect.api.http import ROUTES

CONFIGURATION = (Path(__file__).parents[2] / "deploy/haproxy.cfg").read_text()
BACKENDS: list[tuple[str, list[str]]] = [
    (backend, prefixes.split())
    for backend, prefixes in re.findall(r"^ *use_backend (\w+) if \{ path_beg ([^}]+) \}$", CONFIGURATION, re.MULTILINE)
]


def backend_of(path: str) -> str:
    """The first that fits."""
    return next(backend for backend, prefixes in BACKENDS if any(path.startswith(prefix) for prefix in prefixes))


@pytest.mark.parametrize("service", ROUTES)
def test_every_route_reaches_its_service(service: str) -> None:
    paths = {path for route in ROUTES[service] for path in route.paths}
    assert paths
    assert {path: backend_of(path) for path in paths} == dict.fromkeys(paths, service)


def test_without_a_ready_node_the_same_service_is_asked() -> None:
    alive = re.findall(
        r"^ *use_backend (\w+)_alive if \{ path_beg ([^}]+) \} \{ nbsrv\((\w+)\) eq 0 \}$", CONFIGURATION, re.MULTILINE
    )
    assert [(backend, prefixes.split()) for backend, prefixes, _ in alive] == BACKENDS
    assert all(backend == counted for backend, _, counted in alive)
