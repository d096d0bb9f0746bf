"""Which senders of pushes and webhooks the settings call for. Called by app; only here do settings become senders."""

from secureconnect.clock import Clock
from secureconnect.config import ConfigurationError, Settings
from secureconnect.push import Provider, Sender
from secureconnect.push.apns import ApnsKey, ApnsSender
from secureconnect.push.fcm import FcmSender, ServiceAccount
from secureconnect.push.log import LogSender
from secureconnect.push.vapid import VapidKey
from secureconnect.push.webpush import WebPushSender
from secureconnect.webhooks.sender import WebhookSender
from secureconnect.webhooks.signing import read_secrets


def make_senders(settings: Settings, clock: Clock, vapid: VapidKey | None) -> dict[Provider, Sender]:
    """A sender for each provider that is set up. Raises ConfigurationError for a file that is not what it should be."""
    senders: dict[Provider, Sender] = {Provider.LOG: LogSender()}
    if vapid is not None:
        senders[Provider.WEBPUSH] = WebPushSender(vapid, clock)
    if settings.fcm_service_account is not None:
        senders[Provider.FCM] = _fcm(settings, clock)
    if settings.apns_key is not None:
        # Each its own connection: rings do not wait behind notices.
        key, topic = _apns_key(settings)
        for provider in (Provider.APNS, Provider.APNS_VOIP):
            senders[provider] = ApnsSender(key, topic, clock, api=settings.apns_url)
    return senders


def make_webhook_sender(settings: Settings, clock: Clock, version: str) -> WebhookSender | None:
    """What brings events to the outside application, None when there is none."""
    if settings.webhook_url is None or settings.webhook_secret is None:
        return None
    secrets = read_secrets(settings.webhook_secret.get_secret_value())
    return WebhookSender(settings.webhook_url, secrets, clock, version=version)


def _fcm(settings: Settings, clock: Clock) -> Sender:
    assert settings.fcm_service_account is not None
    try:
        account = ServiceAccount.read(settings.fcm_service_account)
    except ValueError as fault:
        raise ConfigurationError(f"fcm_service_account: {fault}") from None
    return FcmSender(account, clock, settings.fcm_api_url)


def _apns_key(settings: Settings) -> tuple[ApnsKey, str]:
    """The key that both senders share, since Apple counts tokens by it, and the topic."""
    assert settings.apns_key is not None
    key_id, team_id, topic = settings.apns_key_id, settings.apns_team_id, settings.apns_topic
    if not (key_id and team_id and topic):
        raise ConfigurationError("apns_key: needs apns_key_id, apns_team_id and apns_topic beside it")
    try:
        return ApnsKey.read(settings.apns_key, key_id, team_id), topic
    except ValueError as fault:
        raise ConfigurationError(f"apns_key: {fault}") from None
