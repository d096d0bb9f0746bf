"""Log lines: structured, on stderr, one verb each. Set up once by cli; everybody else asks structlog for a logger.

Nothing secret can be in one: tokens, SDP, message texts and query strings are never handed to a logger.
"""

import logging
import re
import secrets
import sys

import structlog

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)
"""What is taken over from a gateway. Anything else could be made to look like something else in a log."""


def request_id_from(header: str) -> str:
    """The name of a request: the `X-Request-ID` that a gateway gave it when that is well-formed, else one of our own."""
    return header if REQUEST_ID.fullmatch(header) else secrets.token_hex(8)


def request_id() -> str:
    """The name of the request or handshake that is being answered; "-" outside of one."""
    return str(structlog.contextvars.get_contextvars().get("request", "-"))


def set_up_logging(level: str, style: str) -> None:
    """`style`: auto (coloured on a terminal, JSON elsewhere), json or console."""
    as_json = style == "json" or (style == "auto" and not sys.stderr.isatty())
    number = logging.getLevelNamesMapping()[level.upper()]
    renderer = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(pad_event_to=24)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    finish = [structlog.processors.format_exc_info, renderer] if as_json else [renderer]
    structlog.configure(
        processors=[*shared, *finish],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *finish],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)
