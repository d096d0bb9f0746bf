"""The web client, its library at /sdk/ and the API's page at /docs: files of ours, with the headers that keep them safe.

Content policy: nothing from elsewhere, nothing inline, no frames. The API's page needs inline styles, and only it may have them.
"""

from html import escape
from pathlib import Path
from typing import Any

from litestar import MediaType, Response, Router, get
from litestar.datastructures import CacheControlHeader
from litestar.handlers import HTTPRouteHandler
from litestar.static_files import create_static_files_router

from secureconnect.errors import all_errors

WEB = Path(__file__).parent.parent / "web"
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'"
)
DOCS_POLICY = POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
HEADERS = {
    "content-security-policy": POLICY,
    "permissions-policy": "camera=(self), microphone=(self), display-capture=(self), speaker-selection=(self), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
}


def _with_headers(headers: dict[str, str]) -> Any:
    async def add(response: Response[Any]) -> Response[Any]:
        response.headers.update(headers)
        return response

    return add


def _files(path: str, folder: Path, headers: dict[str, str]) -> Router:
    return create_static_files_router(
        path,
        [folder],
        name=path,
        html_mode=folder.joinpath("index.html").is_file(),
        after_request=_with_headers(headers),
        # Revalidated each time by its ETag: a deployment is seen at the next load, and an unchanged file costs a 304.
        cache_control=CacheControlHeader(no_cache=True),
    )


@get("/docs/errors", include_in_schema=False, media_type=MediaType.HTML, sync_to_thread=False)
def errors_page() -> Response[str]:
    """Where the `type` of a problem leads: every code and what to do about it."""
    rows = "".join(
        f'<h2 id="{error.code}">{error.code} <small>{error.status}</small></h2><p>{escape(error().detail)}</p>'
        for error in sorted(all_errors(), key=lambda one: (one.status, one.code))
    )
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Errors</title><h1>Errors</h1>{rows}</html>'
    return Response(page, headers=HEADERS)


def make_pages(*, client: bool) -> list[Router | HTTPRouteHandler]:
    """Everything a browser loads; without `client`, only what explains the API."""
    static = WEB / "static"
    explained: list[Router | HTTPRouteHandler] = [
        errors_page,
        _files("/docs", WEB / "swagger", HEADERS | {"content-security-policy": DOCS_POLICY}),
    ]
    if not client:
        return explained
    return [_files("/static", static, HEADERS), _files("/sdk", static / "sdk", HEADERS), *explained, _files("/", static, HEADERS)]
