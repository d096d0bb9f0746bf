"""What the doctor says of one thing: a verdict, what was seen, and what to do about it. Made by the rounds, shown by `report`."""

from enum import StrEnum

from msgspec import Struct


class Verdict(StrEnum):
    """`skipped`: not used as configured, or not to be known yet."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


class Finding(Struct, frozen=True):
    """One line. `advice` is empty unless there is something to do."""

    subject: str
    verdict: Verdict
    detail: str
    advice: str = ""


def ok(subject: str, detail: str, advice: str = "") -> Finding:
    return Finding(subject, Verdict.OK, detail, advice)


def failed(subject: str, detail: str, advice: str) -> Finding:
    return Finding(subject, Verdict.FAILED, detail, advice)


def skipped(subject: str, detail: str) -> Finding:
    return Finding(subject, Verdict.SKIPPED, detail)
