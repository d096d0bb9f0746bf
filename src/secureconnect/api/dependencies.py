"""What the application provides to route handlers, by the name of the parameter: `principal`, `accounts`, `chat`, `limiter`.

The names are bound in api.http; a handler that takes `principal` is for the signed-in only.
"""

from litestar.di import NamedDependency

from secureconnect.accounts.service import AccountService, Principal
from secureconnect.chat.service import ChatService
from secureconnect.ops.ratelimit import RateLimiter

SignedIn = NamedDependency[Principal]
Accounts = NamedDependency[AccountService]
Chat = NamedDependency[ChatService]
Limiter = NamedDependency[RateLimiter]
