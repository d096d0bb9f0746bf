"""What goes wrong between a node and its Redis servers, counted. Lanes and doorbells come and go; the count stays with the bus."""

from dataclasses import dataclass


@dataclass
class Tally:
    """As `BusFigures` has it: refused for too many waiting, batches that failed, connections lost, gaps read from the log."""

    refused: int = 0
    failed: int = 0
    lost: int = 0
    gaps: int = 0
