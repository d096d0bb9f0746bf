"""What chat tells the devices of its members, and telling them. Called by chat.service, after its transaction has committed."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from secureconnect.bus import Bus, user_topic
from secureconnect.bus.announcement import Announcement
from secureconnect.chat.conversation import Conversation, shorten_conversation
from secureconnect.clock import Clock
from secureconnect.ids import ConversationId, UserId
from secureconnect.signaling.protocol import encode
from secureconnect.store.chat import Message
from secureconnect.store.membership import Invitation


class MessageCreated(Struct, frozen=True, tag="message.created"):
    """Somebody wrote. To all members, the sender's devices included."""

    message: Message
    timestamp: datetime


class ConversationUpdated(Struct, frozen=True, tag="conversation.updated"):
    """Title, members or read mark changed. `conversation` is null for one who is no longer in it.

    It names the first members only, see `chat.conversation.shorten_conversation`.
    """

    conversation_id: ConversationId
    conversation: Conversation | None
    timestamp: datetime


class ConversationInvited(Struct, frozen=True, tag="conversation.invited"):
    """The user left this conversation and is asked to return. `invitation` is null when it was withdrawn or answered."""

    conversation_id: ConversationId
    invitation: Invitation | None
    timestamp: datetime


class Announcer:
    """Publishes to the topics of users. Never waits and never fails: what it says is in the database already.

    What each method returns can be waited for: that it is told.
    """

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock

    def message_created(self, message: Message, members: Iterable[UserId]) -> Announcement:
        """The same words to all, encoded once."""
        words, body = Announcement(self._bus), encode(MessageCreated(message, self._clock.now()))
        for user_id in members:
            words.publish(user_topic(user_id), body)
        return words

    def conversation_updated(self, views: Mapping[UserId, Conversation]) -> Announcement:
        """To each their own view: what is unread and what is shown of the past differ."""
        words, now = Announcement(self._bus), self._clock.now()
        # Most members differ in nothing, and share what is encoded.
        bodies: dict[tuple[int, UUID | None, int], bytes] = {}
        for user_id, view in views.items():
            last_id = None if view.last_message is None else view.last_message.message_id
            key = view.unread_count, last_id, id(view.live_call)
            body = bodies.get(key)
            if body is None:
                body = bodies[key] = encode(ConversationUpdated(view.conversation_id, shorten_conversation(view), now))
            words.publish(user_topic(user_id), body)
        return words

    def conversation_gone(self, conversation_id: ConversationId, members: Iterable[UserId]) -> Announcement:
        """To those who are no longer in it."""
        words = Announcement(self._bus)
        body = encode(ConversationUpdated(conversation_id, None, self._clock.now()))
        for user_id in members:
            words.publish(user_topic(user_id), body)
        return words

    def invited(self, user_id: UserId, conversation_id: ConversationId, invitation: Invitation | None) -> Announcement:
        """To a person who left, and is asked to return."""
        words = Announcement(self._bus)
        event = ConversationInvited(conversation_id, invitation, self._clock.now())
        words.publish(user_topic(user_id), encode(event))
        return words
