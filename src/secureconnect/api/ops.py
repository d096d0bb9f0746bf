"""Health: what a load balancer and an orchestrator ask. Metrics are in metrics_page."""

from typing import Any

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from msgspec.structs import replace

from secureconnect.api.dependencies import HealthOf
from secureconnect.api.limits import address_of
from secureconnect.api.problems import OPEN_TO_ALL
from secureconnect.ops.health import HealthReport
from secureconnect.ops.networks import is_inside

NOT_WELL = {503: ResponseSpec(HealthReport, description="Degraded or draining, and why", generate_examples=False)}


def _answer(request: Request[Any, Any, Any], report: HealthReport) -> Response[HealthReport]:
    """The whole report inside; outside, whether it is well: what stands behind it helps an attacker only."""
    if not is_inside(address_of(request)):
        report = replace(report, dependencies={})
    return Response(report, status_code=200 if report.is_good else 503, headers={"cache-control": "no-store"})


@get(
    ["/health", "/v1/calls/health"],
    tags=["operation"],
    security=OPEN_TO_ALL,
    summary="Every dependency",
    description="As asked within the last second. `dependencies` is empty for clients with a public address.",
    responses=NOT_WELL,
)
async def health(request: Request[Any, Any, Any], health_of: HealthOf) -> Response[HealthReport]:
    return _answer(request, await health_of.report())


@get("/health/live", tags=["operation"], security=OPEN_TO_ALL, summary="The process runs")
async def live() -> dict[str, str]:
    return {"status": "healthy"}


@get("/health/ready", tags=["operation"], security=OPEN_TO_ALL, summary="Send new work here, or not", responses=NOT_WELL)
async def ready(request: Request[Any, Any, Any], health_of: HealthOf) -> Response[HealthReport]:
    return _answer(request, await health_of.report(ready=True))


routes: list[HTTPRouteHandler] = [health, live, ready]
