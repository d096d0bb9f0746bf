"""What accounts tell the devices of a person. Published by accounts.devices, after its transaction has committed."""

from datetime import datetime

from msgspec import Struct

from secureconnect.ids import DeviceId


class DeviceRevoked(Struct, frozen=True, tag="device.revoked"):
    """This device of yours was signed out from afar. To all of your devices; the one named is closed behind it."""

    device_id: DeviceId
    timestamp: datetime
