"""Where this process is reached under its settings: whose word it takes, which pages are its own. Made by parts."""

from secureconnect.api.http import Place
from secureconnect.config import Settings
from secureconnect.http.origins import Origins
from secureconnect.http.proxies import TrustedProxies


def place_under(settings: Settings) -> Place:
    """Return what answers depend on besides the request."""
    return Place(
        proxies=TrustedProxies(settings.trusted_proxies),
        origins=Origins(settings.allowed_origins, settings.public_url),
        public_url=settings.public_url,
        is_tls=settings.tls_certificate is not None,
        shows_metrics=settings.metrics_listener is None,
    )
