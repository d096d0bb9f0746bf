"""Which way the media of a call goes: straight between two, all to all among a few, or by an SFU. Pure.

`calls.draft` asks after every command. The rules are a table in docs/calls.md.
"""

from datetime import datetime, timedelta

from msgspec.structs import replace

from secureconnect.calls.call import Call, Topology

MESH_CAPACITY = 4
"""Sessions in a call without an SFU: each sends to all others, and a phone's uplink carries three pictures."""
CALM = timedelta(seconds=10)
"""How long two have been alone before they go back to sending straight: somebody who reloads a page moves nobody."""
PATIENCE = timedelta(seconds=3)
"""How long a call whose SFU is gone waits for another before it becomes a mesh: our own is back within a second."""


def room_in(call: Call, place: str | None) -> int:
    """How many people fit into the call, when `place` is the SFU at hand."""
    return call.capacity if place is not None or call.topology is Topology.SFU else min(call.capacity, MESH_CAPACITY)


def settled(call: Call, sessions: int, now: datetime, place: str | None) -> Call:
    """The call on the way that fits so many sessions. `place` is the SFU that would take it, None when there is none at hand."""
    if call.over:
        return replace(call, topology_due=None)
    if call.topology is not Topology.SFU:
        if sessions <= 2 and not call.recording:
            return _moved(call, Topology.P2P)
        return _moved(call, Topology.MESH) if place is None else _moved(call, Topology.SFU, place)
    if call.sfu is None:
        return _without_its_sfu(call, sessions, now, place)
    if sessions > 2 or call.recording:
        return replace(call, topology_due=None)
    calm_at = call.topology_due or now + CALM
    return _moved(call, Topology.P2P) if calm_at <= now else replace(call, topology_due=calm_at)


def bereft(call: Call, sfu: str, epoch: int, now: datetime) -> Call:
    """The call without its SFU, if that is still its own: `settled` finds another."""
    if (call.sfu, call.epoch) != (sfu, epoch):
        return call
    return replace(call, sfu=None, topology_due=now + PATIENCE)


def _without_its_sfu(call: Call, sessions: int, now: datetime, place: str | None) -> Call:
    if sessions <= 2 and not call.recording:
        return _moved(call, Topology.P2P)
    if place is not None:
        return _moved(call, Topology.SFU, place)
    if call.topology_due is not None and call.topology_due > now:
        return call
    if sessions <= 2:
        return _moved(call, Topology.P2P)
    # More than a mesh holds have nowhere to go: they wait on.
    return _moved(call, Topology.MESH) if sessions <= MESH_CAPACITY else replace(call, topology_due=now + PATIENCE)


def _moved(call: Call, topology: Topology, sfu: str | None = None) -> Call:
    """The call on this way; every switch has a number of its own."""
    if (call.topology, call.sfu) == (topology, sfu):
        return call
    return replace(call, topology=topology, sfu=sfu, epoch=call.epoch + 1, topology_due=None)
