"""docs/limits.md and the code say the same, both ways: rate limits, routes, frames, and every bound that a module names."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import secureconnect
from secureconnect.api.asyncapi import client_messages, device_reports
from secureconnect.api.limits import ROUTE_LIMITS
from secureconnect.api.metrics_page import PATH
from secureconnect.api.pages import read_pages
from secureconnect.app import Application
from secureconnect.config import load_settings
from secureconnect.ops.ratelimit import LIMITS
from secureconnect.signaling.protocol import type_of
from tests.test_docs import page, rows, section, words

CLIENTS = ("robot", "load", "doctor", "store.migrations")
"""What runs at the clients' side, or for an operator."""
BOUND = re.compile(
    r"(^|_)(MAX|BYTES|CHARS|QUEUE|WAITING|KEPT|ENTRIES|BURST|CAPACITY|ONCE|HELD|REMEMBERED|COUNTERS|KEYS|MEMBERS|PER_SECOND)(_|$)"
)
"""Names of numbers that bound what a client can make the server hold or do. Times are not among them."""


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Application:
    """Made and never started: nothing is opened."""
    return Application(load_settings(data_dir=tmp_path_factory.mktemp("data")))


def routes(application: Application) -> set[str]:
    methods = {(method, route.path_format) for route in application.api.routes for method in getattr(route, "methods", ())}
    pages = {f"GET {file.route}" for file in read_pages(client=True, public_url=None).values()} | {f"GET {PATH}"}
    return pages | {f"{method} {path}" for method, path in methods if method not in ("OPTIONS", "HEAD")}


def test_every_route_has_a_limit(application: Application) -> None:
    assert set(ROUTE_LIMITS) == routes(application), "give a new route a row in api/limits.py and in docs/limits.md"
    assert {name for names in ROUTE_LIMITS.values() for name in names} | {"socket"} == set(LIMITS)


def test_the_limit_of_a_route_is_counted_by_what_its_handler_knows(application: Application) -> None:
    by_dependency = {"user": {"principal", "rung"}, "application": {"webhooks"}, "network": set[str]()}
    for route in application.api.routes:
        for handler in getattr(route, "route_handlers", ()):
            asked = set(handler.parsed_fn_signature.parameters) & {"principal", "rung", "webhooks"}
            for method in handler.http_methods - {"OPTIONS", "HEAD"}:
                first = ROUTE_LIMITS[f"{method} {route.path_format}"][0]
                expected = by_dependency[LIMITS[first].by]
                assert asked <= expected, f"{method} {route.path_format}: {first}"
                assert bool(asked) == bool(expected), f"{method} {route.path_format}: {first} would never be counted"


def test_every_rate_limit_is_on_the_page() -> None:
    written = {words(row[0])[0]: row for row in rows(section(page("limits.md"), "Rate limits")) if words(row[0])}
    assert written.keys() == LIMITS.keys()
    for name, limit in LIMITS.items():
        _, count, by, where, _ = written[name]
        assert count == f"{limit.count} in {limit.seconds:g} s", name
        assert by == limit.by, name
        assert where == ("all nodes" if limit.shared else "each node"), name


def test_every_route_is_on_the_page() -> None:
    written = {words(row[0])[0]: tuple(words(row[1])) for row in rows(section(page("limits.md"), "Routes")) if words(row[0])}
    assert written == ROUTE_LIMITS


def test_every_frame_is_on_the_page() -> None:
    text = section(page("limits.md"), "Frames")
    written = {(words(row[0])[0], row[1]) for row in rows(text) if words(row[0])}
    expected = {(type_of(kind), "signaling") for kind in client_messages()} | {
        (type_of(kind), "events") for kind in device_reports()
    }
    assert written == expected


def bounds() -> Iterator[tuple[str, float]]:
    """Every number of a module of the server that is named as a bound."""
    for found in pkgutil.walk_packages(secureconnect.__path__, "secureconnect."):
        short = found.name.removeprefix("secureconnect.")
        if short.startswith(CLIENTS) or short.startswith("__"):
            continue
        module = importlib.import_module(found.name)
        source = Path(str(module.__file__)).read_text()
        named: dict[str, object] = vars(module)
        for name, value in named.items():
            if (
                BOUND.search(name)
                and not name.endswith("_SECONDS")
                and isinstance(value, int | float)
                and re.search(rf"^{name}\b.*=", source, re.M)
            ):
                yield f"{short}.{name}", value


def test_every_bound_is_on_the_page_with_its_value() -> None:
    written = {words(row[0])[0]: row[1] for row in rows(section(page("limits.md"), "Bytes, queues and tables")) if words(row[0])}
    expected = {name: f"{value:.10g}" for name, value in bounds()}
    assert written == expected, "a bound of its own needs a row in docs/limits.md"
