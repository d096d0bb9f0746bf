"""What is known of the client of a sign-in: its network, and whether the account knows it. Pure."""

from msgspec import Struct


class Client(Struct, frozen=True):
    """The client of a sign-in.

    `network` is what it is counted and queued by. `network_mark` is what the database keeps of it: a keyed hash, so that the table
    does not say where people were. `is_known`: the account has signed in from this device or network before.
    """

    network: str = ""
    network_mark: str | None = None
    is_known: bool = False


ANONYMOUS = Client()
