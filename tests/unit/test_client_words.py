"""The web client's words: both languages say the same, and whatever the server names has words."""

import re
from pathlib import Path
from typing import get_args

import pytest

from secureconnect.accounts.devices import Platform
from secureconnect.calls.call import RingEnd
from secureconnect.calls.trace import DeviceOutcome, TraceEvent
from secureconnect.push import Kind, Provider
from secureconnect.recording.limits import StopReason
from secureconnect.recording.record import Status

STATIC = Path(__file__).parents[2] / "src/secureconnect/web/static"
STRING = r"'((?:[^'\\]|\\.)*)'"
WORDS = {
    key: (english, vietnamese)
    for path in [STATIC / "words.js", *sorted((STATIC / "words").glob("*.js"))]
    for key, english, vietnamese in re.findall(rf"^  (\w+): \[{STRING},\s+{STRING}\],$", path.read_text(), re.MULTILINE)
}
ENDS_OF_ANOTHER_KIND = {DeviceOutcome.ANSWERED, DeviceOutcome.DECLINED}


def test_all_of_them_were_read() -> None:
    lines = [line for path in STATIC.rglob("words*/*.js") for line in path.read_text().splitlines()]
    lines += (STATIC / "words.js").read_text().splitlines()
    assert len(WORDS) == len([line for line in lines if re.match(r"  \w+: \[", line)])


@pytest.mark.parametrize("key", WORDS)
def test_both_languages_name_the_same_things(key: str) -> None:
    english, vietnamese = (set(re.findall(r"\{(\w+)\}", words)) for words in WORDS[key])
    assert english == vietnamese
    assert all(WORDS[key])


def test_everything_that_can_happen_to_a_ring_has_words() -> None:
    for event in TraceEvent:
        assert any(key == f"entry_{event}" or key.startswith(f"entry_{event}_") for key in WORDS), event
    wanted = {f"entry_stopped_{outcome}" for outcome in set(DeviceOutcome) - ENDS_OF_ANOTHER_KIND}
    wanted |= {f"trace_{end}" for end in RingEnd}
    wanted |= {f"via_{provider}" for provider in Provider}
    wanted |= {f"push_{kind}" for kind in Kind}
    wanted |= {f"platform_{platform}" for platform in get_args(Platform)}
    assert wanted <= WORDS.keys()


def test_everything_that_can_become_of_a_recording_has_words() -> None:
    assert {f"recording_{status}" for status in Status} <= WORDS.keys()
    assert {f"recording_stopped_{reason}" for reason in StopReason} <= WORDS.keys()
