"""What the application provides to route handlers, by the name of the parameter.

The names are bound in api.http; a handler that takes `principal` is for the signed-in only.
"""

from litestar.di import NamedDependency

from secureconnect.accounts.administration import Administration
from secureconnect.accounts.blocks import Blocks
from secureconnect.accounts.devices import DeviceService
from secureconnect.accounts.password import PasswordService
from secureconnect.accounts.service import AccountService, Principal
from secureconnect.accounts.sign_in_limits import SignInLimits
from secureconnect.calls.quality_log import QualityLog
from secureconnect.calls.receipt_book import ReceiptBook
from secureconnect.calls.ring_limits import RingLimits
from secureconnect.calls.service import CallService
from secureconnect.calls.silence import Silence
from secureconnect.calls.traces import CallTraces
from secureconnect.chat.addition_limits import AdditionLimits
from secureconnect.chat.service import ChatService
from secureconnect.ids import UserId
from secureconnect.media.ice import IceServerList
from secureconnect.ops.health import Health
from secureconnect.ops.ratelimit import RateLimiter
from secureconnect.recording.service import Recordings as RecordingService
from secureconnect.webhooks.delivery import Webhooks

SignedIn = NamedDependency[Principal]
Rung = NamedDependency[UserId]
"""One whom this call rings: signed in, or by the token that came with the ring."""
Accounts = NamedDependency[AccountService]
Passwords = NamedDependency[PasswordService]
Administering = NamedDependency[Administration]
Blocking = NamedDependency[Blocks]
Devices = NamedDependency[DeviceService]
Chat = NamedDependency[ChatService]
Calls = NamedDependency[CallService]
Quality = NamedDependency[QualityLog]
Receipts = NamedDependency[ReceiptBook]
Silencing = NamedDependency[Silence]
Traces = NamedDependency[CallTraces]
Recordings = NamedDependency[RecordingService]
ForApplication = NamedDependency[Webhooks]
"""The webhooks, for an application that proves to be ours; no person is signed in."""
Ice = NamedDependency[IceServerList]
Limiter = NamedDependency[RateLimiter]
SigningIn = NamedDependency[SignInLimits]
Ringing = NamedDependency[RingLimits]
Additions = NamedDependency[AdditionLimits]
HealthOf = NamedDependency[Health]
