"""The API description, held to the server by thousands of requests that it allows and as many that it does not."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.fakes.people import World

pytestmark = pytest.mark.anyio

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance"
)
MORE_CHECKS = "negative_data_rejection,ignored_auth,unsupported_method,missing_required_header"
EXAMPLES = 40
"""Generated requests an operation and phase. More find the same: tried with a thousand."""


async def test_no_server_error_and_nothing_undocumented(world: World, tmp_path: Path) -> None:
    ada, ben = await world.people("Ada", "Ben")
    conversation_id = await ada.converse(ben)
    call = await ada.initiate(conversation_id, ben)
    message = await ada.write(conversation_id, "hello")
    known = {"conversation_id": conversation_id, "call_id": call["call_id"], "user_id": ben.user_id}
    settings = tmp_path / "schemathesis.toml"
    settings.write_text("[parameters]\n" + "".join(f'"path.{name}" = "{value}"\n' for name, value in known.items()))
    assert message["conversation_id"] == conversation_id
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(settings), "run", f"{world.url}/openapi.json"),
        *("--header", f"Authorization: Bearer {ada.token}"),
        *("--checks", f"{CHECKS},{MORE_CHECKS}"),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES), "--seed", "1"),
        *("--exclude-path", "/v1/auth/logout-everywhere"),  # after it Ada's token opens nothing; see test_accounts.py
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
