"""Conversations and messages: the routes. They parse, call chat.service, and answer; no rule lives here."""

from typing import Annotated, Any

from litestar import Request, delete, get, patch, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import UNSET, Meta, Struct, UnsetType

from secureconnect.api.bodies import require_json_types
from secureconnect.api.dependencies import Additions, Chat, Limiter, SignedIn
from secureconnect.api.idempotency import IdempotencyKey
from secureconnect.api.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, page_of
from secureconnect.api.problems import problems
from secureconnect.chat.conversation import Conversation
from secureconnect.chat.membership import MAX_MEMBERS
from secureconnect.chat.service import CONTENT_CHARS, Rules
from secureconnect.errors import BadRequest
from secureconnect.ids import ConversationId, MessageId, UserId
from secureconnect.store.chat import History, Message
from secureconnect.store.idempotency import Idempotency
from secureconnect.store.membership import Invitation
from secureconnect.text import TITLE_CHARS

Title = Annotated[str, Meta(max_length=TITLE_CHARS)]
MembersMayAdd = Annotated[bool, Meta(description="Whether members who are not owners may add people.")]
People = Annotated[list[UserId], Meta(min_length=1, max_length=MAX_MEMBERS)]


class NewConversation(Struct, frozen=True):
    """Who else shall be in it."""

    participant_ids: Annotated[People, Meta(description="The others; who asks is in it anyway, as its owner.")]
    title: Title | None = None
    members_may_add: MembersMayAdd = False
    history: Annotated[History | None, Meta(description="What added people see of the past; by default as the server says.")] = None


class _Named(Struct, frozen=True):
    participant_ids: list[UserId]
    title: str | None


class ConversationChange(Struct, frozen=True):
    """What shall be different. The title is for every member, the rest for owners."""

    title: Annotated[Title | UnsetType | None, Meta(description="null takes the title away.")] = UNSET
    members_may_add: MembersMayAdd | None = None
    history: Annotated[History | None, Meta(description="For people who are added from now on.")] = None


class MorePeople(Struct, frozen=True):
    """Who shall be in it too."""

    user_ids: People


class ReadMark(Struct, frozen=True):
    """The newest message that was read."""

    message_id: MessageId


class NewMessage(Struct, frozen=True):
    """Something to say."""

    conversation_id: ConversationId
    content: Annotated[str, Meta(min_length=1, max_length=CONTENT_CHARS)]


@post(
    "/v1/conversations",
    tags=["chat"],
    summary="Start a conversation",
    description="With one other person or many. A second one with the same people is another conversation.",
    responses=problems(409, 422),
)
async def create_conversation(
    request: Request[Any, Any, Any],
    principal: SignedIn,
    chat: Chat,
    addition_limits: Additions,
    data: JSONBody[NewConversation],
    idempotency_key: IdempotencyKey = None,
) -> Conversation:
    await require_json_types(request, NewConversation)
    await addition_limits.count(principal.user_id, data.participant_ids)
    # A node of 0.1 knows the first two fields only, and a repeat may reach one during an upgrade.
    body = _Named(data.participant_ids, data.title) if data == NewConversation(data.participant_ids, data.title) else data
    promise = Idempotency.of(principal.user_id, "conversation", idempotency_key, body)
    rules = Rules(data.members_may_add, data.history)
    return await chat.create(principal.user_id, data.participant_ids, data.title, promise, rules)


@get(
    "/v1/conversations",
    tags=["chat"],
    summary="My conversations",
    description="The one with the newest message first.",
    responses=problems(),
)
async def list_conversations(
    principal: SignedIn, chat: Chat, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[Conversation]:
    return page_of(*await chat.conversations(principal.user_id, limit=limit, after=decode_cursor(cursor)))


@get("/v1/conversations/{conversation_id:uuid}", tags=["chat"], summary="A conversation", responses=problems(404))
async def get_conversation(principal: SignedIn, chat: Chat, conversation_id: FromPath[ConversationId]) -> Conversation:
    return await chat.get(principal.user_id, conversation_id)


@patch(
    "/v1/conversations/{conversation_id:uuid}",
    tags=["chat"],
    summary="Change a conversation",
    description="Its title, by a member; who adds people and what they see, by an owner.",
    responses=problems(403, 404, 422),
)
async def change_conversation(
    request: Request[Any, Any, Any],
    principal: SignedIn,
    chat: Chat,
    conversation_id: FromPath[ConversationId],
    data: JSONBody[ConversationChange],
) -> Conversation:
    await require_json_types(request, ConversationChange)
    if data == ConversationChange():
        raise BadRequest("Name what shall change: title, members_may_add or history.")
    return await chat.change(principal.user_id, conversation_id, data.title, Rules(data.members_may_add, data.history))


@delete(
    "/v1/conversations/{conversation_id:uuid}",
    tags=["chat"],
    summary="Delete a conversation",
    description="For everybody; by an owner. Others leave it instead.",
    responses=problems(403, 404),
)
async def delete_conversation(principal: SignedIn, chat: Chat, conversation_id: FromPath[ConversationId]) -> None:
    await chat.delete(principal.user_id, conversation_id)


@post(
    "/v1/conversations/{conversation_id:uuid}/participants",
    status_code=200,
    tags=["chat"],
    summary="Add people",
    description="By an owner, or by a member where the conversation allows it. Those who left by themselves are asked to return.",
    responses=problems(403, 404, 422),
)
async def add_participants(
    principal: SignedIn,
    chat: Chat,
    addition_limits: Additions,
    conversation_id: FromPath[ConversationId],
    data: JSONBody[MorePeople],
) -> Conversation:
    await addition_limits.count(principal.user_id, data.user_ids, conversation_id)
    return await chat.add(principal.user_id, conversation_id, data.user_ids)


@delete(
    "/v1/conversations/{conversation_id:uuid}/participants/{user_id:uuid}",
    tags=["chat"],
    summary="Take somebody out, or leave",
    description="Others only by an owner. When the last owner leaves, the longest-standing member becomes one.",
    responses=problems(403, 404),
)
async def remove_participant(
    principal: SignedIn, chat: Chat, conversation_id: FromPath[ConversationId], user_id: FromPath[UserId]
) -> None:
    await chat.remove(principal.user_id, conversation_id, user_id)


@get("/v1/conversations/invitations", tags=["chat"], summary="Conversations I am asked to return to", responses=problems())
async def list_invitations(
    principal: SignedIn, chat: Chat, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[Invitation]:
    return page_of(*await chat.invitations.list(principal.user_id, limit=limit, after=decode_cursor(cursor)))


@post(
    "/v1/conversations/{conversation_id:uuid}/accept",
    status_code=200,
    tags=["chat"],
    summary="Return to a conversation",
    description="By a person who left it and is asked to return.",
    responses=problems(404, 422),
)
async def accept_invitation(principal: SignedIn, chat: Chat, conversation_id: FromPath[ConversationId]) -> Conversation:
    return await chat.invitations.accept(principal.user_id, conversation_id)


@post(
    "/v1/conversations/{conversation_id:uuid}/decline",
    status_code=204,
    tags=["chat"],
    summary="Do not return to a conversation",
    description="Doing it again changes nothing.",
    responses=problems(),
)
async def decline_invitation(principal: SignedIn, chat: Chat, conversation_id: FromPath[ConversationId]) -> None:
    await chat.invitations.decline(principal.user_id, conversation_id)


@put(
    "/v1/conversations/{conversation_id:uuid}/read",
    status_code=204,
    tags=["chat"],
    summary="Mark as read",
    description="Everything up to this message. A mark only moves forward.",
    responses=problems(404),
)
async def mark_read(principal: SignedIn, chat: Chat, conversation_id: FromPath[ConversationId], data: JSONBody[ReadMark]) -> None:
    await chat.mark_read(principal.user_id, conversation_id, data.message_id)


@post(
    "/v1/messages",
    tags=["chat"],
    summary="Write a message",
    description="All members' devices hear of it as `message.created`.",
    responses=problems(404, 422),
)
async def send_message(
    principal: SignedIn, chat: Chat, limiter: Limiter, data: JSONBody[NewMessage], idempotency_key: IdempotencyKey = None
) -> Message:
    await limiter.hit("message", str(principal.user_id))
    promise = Idempotency.of(principal.user_id, "message", idempotency_key, data)
    return await chat.send(principal.user_id, data.conversation_id, data.content, promise)


@get(
    "/v1/messages",
    tags=["chat"],
    summary="A conversation's timeline",
    description="Newest first. Calls appear as entries of kind `call`, as they stand now.",
    responses=problems(404),
)
async def list_messages(
    principal: SignedIn,
    chat: Chat,
    conversation_id: Annotated[ConversationId, QueryParameter(description="Whose timeline.")],
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[Message]:
    return page_of(*await chat.timeline(principal.user_id, conversation_id, limit=limit, after=decode_cursor(cursor)))


routes: list[HTTPRouteHandler] = [
    create_conversation,
    list_conversations,
    get_conversation,
    change_conversation,
    delete_conversation,
    add_participants,
    remove_participant,
    list_invitations,
    accept_invitation,
    decline_invitation,
    mark_read,
    send_message,
    list_messages,
]
