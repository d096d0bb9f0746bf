"""What chat tells the devices of its members, and telling them. Called by chat.service, after its transaction has committed."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec import Struct

from secureconnect.bus import Bus, user_topic
from secureconnect.bus.announcement import Announcement
from secureconnect.chat.conversation import Conversation, shorten_conversation
from secureconnect.clock import Clock
from secureconnect.ids import ConversationId, UserId
from secureconnect.signaling.protocol import encode
from secureconnect.store.chat import Message


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
        """To each their own view: unread counts differ."""
        words, now = Announcement(self._bus), self._clock.now()
        # Members differ in what they have not read, and most in nothing: the others share what is encoded.
        bodies: dict[int, bytes] = {}
        for user_id, view in views.items():
            body = bodies.get(view.unread_count)
            if body is None:
                body = encode(ConversationUpdated(view.conversation_id, shorten_conversation(view), now))
                bodies[view.unread_count] = body
            words.publish(user_topic(user_id), body)
        return words

    def conversation_gone(self, conversation_id: ConversationId, members: Iterable[UserId]) -> Announcement:
        """To those who are no longer in it."""
        words = Announcement(self._bus)
        body = encode(ConversationUpdated(conversation_id, None, self._clock.now()))
        for user_id in members:
            words.publish(user_topic(user_id), body)
        return words
