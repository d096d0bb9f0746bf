"""What a robot says: its pitch, its pauses, and the delay of an echo."""

import math

import pytest

from secureconnect.robot.meters import AUDIBLE, SILENCE, AudioMeter, level
from secureconnect.robot.sounds import FRAME_SAMPLES, SAMPLE_RATE, Beep, DelayedSound, beep
from tests.unit.robot.conftest import FakeClock


def power_at(content: bytes, hertz: float) -> float:
    """Goertzel: how much of one frequency is in the samples."""
    samples = memoryview(content).cast("h")
    turn = 2 * math.pi * hertz / SAMPLE_RATE
    real = sum(sample * math.cos(turn * index) for index, sample in enumerate(samples))
    imaginary = sum(sample * math.sin(turn * index) for index, sample in enumerate(samples))
    return math.hypot(real, imaginary) / len(samples)


def test_beeps_of_two_robots_can_be_told_apart() -> None:
    low, high = (b"".join(beep(hertz)[5:15]) for hertz in (440.0, 660.0))
    assert power_at(low, 440) > 50 * power_at(low, 660)
    assert power_at(high, 660) > 50 * power_at(high, 440)


def test_half_a_second_of_beep_and_half_a_second_of_silence() -> None:
    levels = [level(frame) for frame in beep(440)]
    assert len(levels) == 50
    assert all(loud > AUDIBLE for loud in levels[1:24])
    assert levels[25:] == [SILENCE] * 25


@pytest.mark.anyio
async def test_an_echo_comes_a_third_of_a_second_later(clock: FakeClock) -> None:
    beeping, echo = Beep(440, clock), DelayedSound(FakeClock())
    said = []
    for _ in range(40):
        echo.hear(await beeping.recv())
        said.append(level(bytes((await echo.recv()).planes[0])))
    first = next(index for index, loud in enumerate(said) if loud > AUDIBLE)
    assert 13 <= first <= 17


@pytest.mark.anyio
async def test_an_echo_of_nothing_is_silence(clock: FakeClock) -> None:
    echo = DelayedSound(clock)
    frames = [await echo.recv() for _ in range(3)]
    assert [frame.pts for frame in frames] == [0, FRAME_SAMPLES, 2 * FRAME_SAMPLES]
    assert {level(bytes(frame.planes[0])) for frame in frames} == {SILENCE}


@pytest.mark.anyio
async def test_the_meter_counts_what_is_audible(clock: FakeClock) -> None:
    beeping, meter = Beep(440, clock), AudioMeter()
    for _ in range(50):
        meter.add(await beeping.recv())
    assert meter.seconds == pytest.approx(1.0)
    assert meter.audible_seconds == pytest.approx(0.5, abs=0.05)
