"""Fetches what `calls.trace` makes a trace from. Called by api.calls for members, by the command `trace` for the operator."""

from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.calls.call import Call
from secureconnect.calls.members import require_visible
from secureconnect.calls.trace import CallTrace, Evidence, trace_of
from secureconnect.errors import NotFound
from secureconnect.ids import CallId, UserId
from secureconnect.store import Database
from secureconnect.store import calls as store
from secureconnect.store.chat import require_member
from secureconnect.store.devices import devices_of
from secureconnect.store.push import records_of
from secureconnect.store.quality import sessions_of
from secureconnect.store.receipts import receipts_of


class CallTraces:
    """What became of the rings of calls."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def trace(self, call_id: CallId, viewer: UserId | None = None) -> CallTrace:
        """The trace of a call, as the `viewer` may see it: a member of its conversation, None for the operator. Raises NotFound."""

        async def work(connection: AsyncConnection) -> CallTrace:
            call = await store.load(connection, call_id)
            if call is None:
                raise NotFound
            if viewer is not None:
                await _require_access(connection, call, viewer)
            devices = await devices_of(connection, [one.user_id for one in call.participants])
            evidence = Evidence(
                pushes=await records_of(connection, call_id),
                receipts=await receipts_of(connection, call_id),
                sessions=await sessions_of(connection, call_id),
                platforms={(device.user_id, device.device_id): device.platform for device in devices},
            )
            return trace_of(call, evidence, viewer)

        return await self._database.read(work)


async def _require_access(connection: AsyncConnection, call: Call, viewer: UserId) -> None:
    """Raises NotFound if the viewer may not see the call. A person who blocks the caller may ask why it did not ring."""
    me = call.participant(viewer)
    if me is not None and me.is_withheld:
        try:
            await require_member(connection, call.conversation_id, viewer)
        except NotFound:
            raise NotFound from None  # the same words as for a call that does not exist
    else:
        await require_visible(connection, call, viewer)
