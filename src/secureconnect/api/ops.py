"""Health and metrics: what a load balancer, an orchestrator and Prometheus ask."""

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec

from secureconnect.api.dependencies import HealthOf, MetricsOf
from secureconnect.api.problems import OPEN_TO_ALL
from secureconnect.ops.health import HealthReport
from secureconnect.ops.metrics import CONTENT_TYPE

NOT_WELL = {503: ResponseSpec(HealthReport, description="Degraded or draining, and why", generate_examples=False)}


def _answer(report: HealthReport) -> Response[HealthReport]:
    return Response(report, status_code=200 if report.is_good else 503, headers={"cache-control": "no-store"})


@get(
    ["/health", "/v1/calls/health"],
    tags=["operation"],
    security=OPEN_TO_ALL,
    summary="Every dependency",
    responses=NOT_WELL,
)
async def health(health_of: HealthOf) -> Response[HealthReport]:
    return _answer(await health_of.report())


@get("/health/live", tags=["operation"], security=OPEN_TO_ALL, summary="The process runs")
async def live() -> dict[str, str]:
    return {"status": "healthy"}


@get("/health/ready", tags=["operation"], security=OPEN_TO_ALL, summary="Send new work here, or not", responses=NOT_WELL)
async def ready(health_of: HealthOf) -> Response[HealthReport]:
    return _answer(await health_of.report(ready=True))


@get("/metrics", tags=["operation"], security=OPEN_TO_ALL, summary="For Prometheus", media_type=CONTENT_TYPE)
async def metrics(metrics_of: MetricsOf) -> bytes:
    return await metrics_of.page()


routes: list[HTTPRouteHandler] = [health, live, ready, metrics]
