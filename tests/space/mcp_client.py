"""A client of the page's tools, run by the Python of an environment that has the package `mcp`.

    python mcp_client.py URL < CALLS > ANSWERS

CALLS is a JSON list of [tool, arguments]. ANSWERS is an object with `tools`, as the server lists them, and `answers`, a
list of [is_error, text].
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any


async def talk(url: str, calls: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    async with streamablehttp_client(url) as (read, write, _), ClientSession(read, write) as session:
        await session.initialize()
        tools = [tool.model_dump() for tool in (await session.list_tools()).tools]
        answers = [await session.call_tool(tool, arguments) for tool, arguments in calls]
    return {"tools": tools, "answers": [[bool(answer.isError), answer.content[0].text] for answer in answers]}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(talk(sys.argv[1], json.load(sys.stdin)))))
