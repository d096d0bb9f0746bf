"""The services of accounts, put together from the settings. Made by parts."""

from datetime import timedelta

import httpx2

from secureconnect.accounts.administration import Administration
from secureconnect.accounts.application_tokens import ApplicationTokens
from secureconnect.accounts.credentials import PasswordHasher, TokenIssuer
from secureconnect.accounts.password import PasswordService
from secureconnect.accounts.registration import Registration
from secureconnect.accounts.revocations import READ_AGAIN_ALONE_SECONDS, READ_AGAIN_SECONDS, Revocations
from secureconnect.accounts.ring_tokens import RingTokens
from secureconnect.accounts.service import AccountService
from secureconnect.accounts.verification import TokenVerifier
from secureconnect.bus import Bus
from secureconnect.clock import Clock
from secureconnect.config import Settings
from secureconnect.ids import IdFactory
from secureconnect.keys import InternalKeys
from secureconnect.store import Database
from secureconnect.store.probes import sqlite_file, sqlite_stamp


class AccountServices:
    """Who signs in, whose tokens are refused, and who manages accounts."""

    def __init__(
        self,
        settings: Settings,
        secret: str,
        keys: InternalKeys,
        *,
        demo: bool,
        database: Database,
        bus: Bus,
        ids: IdFactory,
        clock: Clock,
        http: httpx2.AsyncClient,
    ) -> None:
        issuer, audience = settings.jwt_issuer, settings.jwt_audience
        own = {"secret": secret, "issuer": issuer, "audience": audience}
        hasher = PasswordHasher()
        self.revocations = _make_revocations(settings, database, bus, clock)
        self.accounts = AccountService(
            database=database,
            ids=ids,
            clock=clock,
            passwords=hasher,
            issuer=TokenIssuer(**own, lifetime=timedelta(seconds=settings.access_token_seconds)),
            verifier=TokenVerifier(
                secret=secret,
                issuer=issuer,
                audience=audience,
                outside=settings.jwks,
                http=http,
                clock=clock,
                max_lifetime=settings.max_token_lifetime,
            ),
            refresh_lifetime=timedelta(days=settings.refresh_token_days),
            revocations=self.revocations,
            registration=Registration(database, clock, settings.registration, settings.directory, demo=demo),
            accepts_any_token=settings.account_tokens == "any",
        )
        self.passwords = PasswordService(
            sign_ins=self.accounts.sign_ins, database=database, clock=clock, passwords=hasher, revocations=self.revocations
        )
        self.ring_tokens = RingTokens(**own, keys=keys, clock=clock)
        self.application_tokens = ApplicationTokens(**own, clock=clock)
        self.administration = Administration(database=database, ids=ids, clock=clock, revocations=self.revocations)


def _make_revocations(settings: Settings, database: Database, bus: Bus, clock: Clock) -> Revocations:
    file = None if settings.is_database_shared else sqlite_file(settings.database)
    return Revocations(
        database=database,
        bus=bus,
        clock=clock,
        lifetime=settings.max_token_lifetime,
        read_again=READ_AGAIN_SECONDS if settings.is_bus_shared else READ_AGAIN_ALONE_SECONDS,
        stamp=lambda: None if file is None else sqlite_stamp(file),
    )
