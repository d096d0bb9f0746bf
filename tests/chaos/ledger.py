"""What one side of a call said and the other heard, and the judgement on it. Pure: numbers in, a verdict out.

A speaker numbers what it says from 1 and hears an ack for each number. When its socket resumes it says again what no ack has
confirmed: so a number may be heard twice, but no more often than it was said. What was acknowledged must be heard, in the order in
which it was said.
"""

from collections import Counter

from msgspec import Struct


class Verdict(Struct, frozen=True):
    """What became of the numbers below a mark."""

    said: int
    lost: int
    """Acknowledged, and not heard."""
    repeated: int
    """Heard more often than said."""
    overtaken: int
    """Heard for the first time after a later one."""
    void: int
    """Not acknowledged when the server could only offer a fresh start; the speaker knows that it may not have been heard."""
    refused: int
    """Answered with an error; the speaker knows that it was not heard."""
    missing: tuple[int, ...] = ()
    """The numbers that were lost: the first of a round may have been said while the listener's first socket opened."""


class Ledger:
    """One direction of a call."""

    def __init__(self) -> None:
        self.count = 0
        self._times_said: Counter[int] = Counter()
        self._times_heard: Counter[int] = Counter()
        self._in_order: list[int] = []
        self._open: set[int] = set()
        self._acknowledged: set[int] = set()
        self._void: set[int] = set()
        self._refused: set[int] = set()
        self._judged = 1

    # The speaker's side

    def say(self) -> int:
        """The next number, said for the first time."""
        self.count += 1
        self._times_said[self.count] += 1
        self._open.add(self.count)
        return self.count

    def say_again(self) -> None:
        """The socket resumed: whatever is not confirmed is said once more."""
        self._times_said.update(self._open)

    def begin_anew(self) -> None:
        """The socket could not resume: what is not confirmed will not be said again."""
        self._void |= self._open
        self._open.clear()

    def acknowledge(self, number: int) -> None:
        self._acknowledged.add(number)
        self._open.discard(number)

    def refuse(self, number: int) -> None:
        self._refused.add(number)
        self._open.discard(number)

    # The listener's side

    def hear(self, number: int) -> None:
        if not self._times_heard[number]:
            self._in_order.append(number)
        self._times_heard[number] += 1

    @property
    def latest(self) -> int:
        """The greatest number heard, 0 before the first."""
        return max(self._in_order[-3:], default=0)

    # The judge's

    def judge(self, mark: int) -> Verdict:
        """On what was said since the last judgement and before `mark`; to be asked once a number of `mark` or later was heard."""
        numbers = range(self._judged, mark)
        self._judged = mark
        overtaken = 0
        highest = 0
        for number in self._in_order:
            overtaken += number < highest and number in numbers
            highest = max(highest, number)
        self._in_order = [number for number in self._in_order if number >= mark]
        missing = tuple(number for number in numbers if number in self._acknowledged and not self._times_heard[number])
        return Verdict(
            said=len(numbers),
            lost=len(missing),
            missing=missing,
            repeated=sum(1 for number in numbers if self._times_heard[number] > self._times_said[number]),
            overtaken=overtaken,
            void=sum(1 for number in numbers if number in self._void),
            refused=sum(1 for number in numbers if number in self._refused),
        )
