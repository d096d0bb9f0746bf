"""Blocking people: the routes. They parse, call accounts.blocks, and answer; no rule lives here."""

from litestar import delete, get, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from secureconnect.api.dependencies import Blocking, SignedIn
from secureconnect.api.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, page_of
from secureconnect.api.problems import problems
from secureconnect.ids import UserId
from secureconnect.store.blocks import BlockedPerson


@get("/v1/users/me/blocks", tags=["accounts"], summary="Whom I block", responses=problems())
async def list_blocks(
    principal: SignedIn, blocks: Blocking, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[BlockedPerson]:
    return page_of(*await blocks.list(principal.user_id, limit=limit, after=decode_cursor(cursor)))


@put(
    "/v1/users/me/blocks/{user_id:uuid}",
    status_code=204,
    tags=["accounts"],
    summary="Block a person",
    description="Rings and direct messages of the person do not arrive. The person is not told. Again changes nothing.",
    responses=problems(404, 422),
)
async def block(principal: SignedIn, blocks: Blocking, user_id: FromPath[UserId]) -> None:
    await blocks.block(principal.user_id, user_id)


@delete(
    "/v1/users/me/blocks/{user_id:uuid}",
    tags=["accounts"],
    summary="Unblock a person",
    description="Again changes nothing.",
    responses=problems(),
)
async def unblock(principal: SignedIn, blocks: Blocking, user_id: FromPath[UserId]) -> None:
    await blocks.unblock(principal.user_id, user_id)


routes: list[HTTPRouteHandler] = [list_blocks, block, unblock]
