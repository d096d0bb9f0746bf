"""Refusals about who may be here and who reaches whom; they belong to the tree in errors."""

from secureconnect.errors import Forbidden, Unprocessable


class RegistrationClosed(Forbidden):
    """Accounts are made by the operator here: ask for one."""

    code = "registration_closed"


class InvitationRequired(Forbidden):
    """Registration needs an invitation that is unused and has not expired: ask the operator for one."""

    code = "invitation_required"


class TooManyBlocks(Unprocessable):
    """You block as many people as one may: unblock someone first."""

    code = "too_many_blocks"
