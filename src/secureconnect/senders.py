"""Which push senders the settings call for. Called by app; only here do settings become senders."""

from secureconnect.clock import Clock
from secureconnect.config import ConfigurationError, Settings
from secureconnect.push import Provider, Sender
from secureconnect.push.fcm import FcmSender, ServiceAccount
from secureconnect.push.log import LogSender
from secureconnect.push.vapid import VapidKey
from secureconnect.push.webpush import WebPushSender


def make_senders(settings: Settings, clock: Clock, vapid: VapidKey | None) -> dict[Provider, Sender]:
    """A sender for each provider that is set up. Raises ConfigurationError for a file that is not what it should be."""
    senders: dict[Provider, Sender] = {Provider.LOG: LogSender()}
    if vapid is not None:
        senders[Provider.WEBPUSH] = WebPushSender(vapid, clock)
    if settings.fcm_service_account is not None:
        try:
            account = ServiceAccount.read(settings.fcm_service_account)
        except ValueError as fault:
            raise ConfigurationError(f"fcm_service_account: {fault}") from None
        senders[Provider.FCM] = FcmSender(account, clock, settings.fcm_api_url)
    return senders
