"""How clients reach us: whether the port is to be had, or ours already, and whether the certificate is good."""

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
from cryptography import x509

from secureconnect.config import ConfigurationError, Settings
from secureconnect.doctor.finding import Finding, failed, ok, skipped
from secureconnect.server import listen, take_port

ANSWER_SECONDS = 5.0
RENEW_DAYS = 14
LOOPBACK = ("127.0.0.1", "::1", "localhost")
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (what is listened on, and where to ask then)


async def port(settings: Settings) -> Finding:
    """Free, or taken by a server of ours."""
    where = f"{settings.host}:{settings.port}"
    if settings.port == 0:
        return skipped("port", "a free one is taken at the start")
    try:
        listen(settings).close()
    except ConfigurationError as failure:
        health = await _our_health(settings)
        if health is None:
            return failed("port", str(failure).removeprefix("port: "), "stop what listens there, or set another port")
        return ok("port", f"{where} is ours: {health['service']} {health['version']}, {health['status']}")
    return ok("port", f"{where} is free")


async def metrics(settings: Settings) -> Finding:
    """Where Prometheus asks: free, ours already, or taken by something else."""
    place = settings.metrics_listener
    if place is None:
        return ok(
            "metrics", f"beside the API, at port {settings.port}", "keep that port from the public, or set another metrics_port"
        )
    host, number = place
    where = f"{host}:{number}"
    inside = "" if host in LOOPBACK else "other machines reach it: keep it in a network of your own"
    if number == 0:
        return skipped("metrics", "a free port is taken at the start")
    try:
        take_port(host, number, "").close()
    except ConfigurationError:
        asked = EVERYWHERE.get(host, host)
        if await _shows_metrics(f"http://{f'[{asked}]' if ':' in asked else asked}:{number}/metrics"):
            return ok("metrics", f"{where} is ours", inside)
        return failed("metrics", f"{where} is taken by something else", "stop what listens there, or set metrics_port")
    return ok("metrics", f"{where} is free", inside)


async def _shows_metrics(address: str) -> bool:
    try:
        async with httpx2.AsyncClient(trust_env=False, timeout=ANSWER_SECONDS) as client:
            return "secureconnect_build_info" in (await client.get(address)).text
    except httpx2.HTTPError:
        return False


async def _our_health(settings: Settings) -> dict[str, Any] | None:
    """What a server of ours at this port says of itself; None when there is none."""
    scheme = "https" if settings.tls_certificate else "http"
    host = EVERYWHERE.get(settings.host, settings.host)
    address = f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}/health"
    try:
        # Its certificate is for another name than this address.
        async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=ANSWER_SECONDS) as client:
            report = (await client.get(address)).json()
    except (httpx2.HTTPError, ValueError):
        return None
    return report if isinstance(report, dict) and {"service", "version", "status"} <= report.keys() else None


def tls(settings: Settings) -> Finding:
    """Certificate and key can be read, belong together, and are in their time."""
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None and key is None:
        return skipped("TLS", "none: browsers give the microphone on localhost only, or behind a proxy with HTTPS")
    if certificate is None or key is None:
        return failed("TLS", "one of tls_certificate and tls_key is missing", "set both, or neither")
    try:
        # A key that asks for a password would ask a server, too; nobody is there to answer.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
        leaf = x509.load_pem_x509_certificates(Path(certificate).read_bytes())[0]
    except (OSError, ValueError) as failure:
        return failed(
            "TLS",
            f"{certificate} and {key} cannot be used ({getattr(failure, 'strerror', None) or failure})",
            "PEM files that belong together, readable by the user that runs the server, the key without a password",
        )
    return _in_its_time(leaf, datetime.now(UTC))


def _in_its_time(leaf: x509.Certificate, now: datetime) -> Finding:
    until = leaf.not_valid_after_utc
    days = (until - now).days
    if now < leaf.not_valid_before_utc:
        return failed("TLS", f"valid only from {leaf.not_valid_before_utc:%Y-%m-%d}", "check this machine's clock, or wait")
    if until < now:
        return failed("TLS", f"expired on {until:%Y-%m-%d}", "renew the certificate and restart")
    return ok("TLS", f"valid until {until:%Y-%m-%d}, {days} days", "renew it soon, and restart" if days < RENEW_DAYS else "")
