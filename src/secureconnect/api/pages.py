"""The web client, its library at /sdk/ and the API's page at /docs: files of ours, with the headers that keep them safe.

Content policy: nothing from elsewhere, nothing inline, no frames. The API's page needs inline styles, and only it may have them.
"""

from pathlib import Path
from typing import Any

from litestar import Response, Router
from litestar.datastructures import CacheControlHeader
from litestar.static_files import create_static_files_router

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


def make_pages() -> list[Router]:
    """Everything a browser loads."""
    static = WEB / "static"
    return [
        _files("/static", static, HEADERS),
        _files("/sdk", static / "sdk", HEADERS),
        _files("/docs", WEB / "swagger", HEADERS | {"content-security-policy": DOCS_POLICY}),
        _files("/", static, HEADERS),
    ]
