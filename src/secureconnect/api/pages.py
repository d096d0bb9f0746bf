"""The web client, its library at /sdk/ and the API's page at /docs: files of ours, with the headers that keep them safe.

Content policy: nothing from elsewhere, nothing inline, no frames. The API's page needs inline styles, and only it may have them.
The client's page has an import map, named in its policy by its hash: it gives every module an address with its version, which
browsers keep, so a second load asks for the page alone.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path

from secureconnect.api.files import StoredFile, media_type_of, read_folder, store
from secureconnect.errors import all_errors
from secureconnect.http.origins import parse_origin

WEB = Path(__file__).parent.parent / "web"
HEADERS = {
    "permissions-policy": "camera=(self), microphone=(self), display-capture=(self), speaker-selection=(self), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
}
OURS = re.compile(r'((?:href|src)=")(/(?:static|sdk)/[^"?]+)(")')
"""Addresses in the page that may carry a version."""


def content_policy(public_url: str | None, *, scripts: str = "", styles: str = "") -> str:
    """Return the Content-Security-Policy of our pages.

    `'self'` covers sockets of the page's own origin (CSP3); the origin of `public_url` is named for browsers that think otherwise.

    Args:
        public_url: How clients reach this server; None when only they know.
        scripts: What may run besides our files, such as a hash.
        styles: The same of styles.
    """
    origin = parse_origin(public_url.rstrip("/")) if public_url else None
    sockets = f" {re.sub('^http', 'ws', public_url.rstrip('/'))}" if public_url and origin is not None else ""
    script, style = f"'self' {scripts}".strip(), f"'self' {styles}".strip()
    return (
        f"default-src 'self'; script-src {script}; style-src {style}; img-src 'self' data: blob:; media-src 'self' blob:; "
        f"connect-src 'self'{sockets}; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'"
    )


def read_pages(*, client: bool, public_url: str | None) -> dict[str, StoredFile]:
    """Return everything a browser loads, by path; without `client`, only what explains the API."""
    headers = HEADERS | {"content-security-policy": content_policy(public_url)}
    docs = HEADERS | {"content-security-policy": content_policy(public_url, styles="'unsafe-inline'")}
    pages = read_folder(WEB / "swagger", "/docs", docs)
    pages |= {"/docs": pages.pop("/docs/index.html"), "/docs/errors": store(_errors_page(), "text/html", "/docs", headers)}
    if not client:
        return pages
    static = WEB / "static"
    files = read_folder(static, "/static", headers) | read_folder(static / "sdk", "/sdk", headers)
    index, policy = _with_versions((static / "index.html").read_text(), files)
    page = HEADERS | {"content-security-policy": content_policy(public_url, scripts=policy)}
    home = store(index.encode(), media_type_of("index.html"), "/", page)
    # A service worker rules over what is below its own path.
    return pages | files | {"/": home, "/index.html": home, "/sw.js": files["/static/sw.js"]}


def _with_versions(page: str, files: Mapping[str, StoredFile]) -> tuple[str, str]:
    """Return the page with the versions of what it loads, and the policy's word for its import map.

    Modules import each other by plain addresses; the map of the page adds the version to each. Older browsers, and nodes of another
    version, pass it over and are asked again each time.
    """

    def versioned(path: str) -> str:
        return f"{path}?v={files[path].version}"

    imports = {path: versioned(path) for path in files if path.endswith(".js") and not path.startswith("/static/sdk/")}
    imports = {path: address for path, address in imports.items() if path != "/static/sw.js"}
    text = json.dumps({"imports": imports}, separators=(",", ":"))
    page = OURS.sub(lambda match: f"{match[1]}{versioned(match[2])}{match[3]}", page)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return page.replace("</title>", f'</title>\n  <script type="importmap">{text}</script>', 1), f"'sha256-{digest}'"


def _errors_page() -> bytes:
    """Where the `type` of a problem leads: every code and what to do about it."""
    rows = "".join(
        f'<h2 id="{error.code}">{error.code} <small>{error.status}</small></h2><p>{escape(error().detail)}</p>'
        for error in sorted(all_errors(), key=lambda error: (error.status, error.code))
    )
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Errors</title><h1>Errors</h1>{rows}</html>'.encode()
