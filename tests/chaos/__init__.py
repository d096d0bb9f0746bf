"""Chaos on the running cluster: what people in calls notice when something is killed, stalled, cut off or restarted beneath them.

`make chaos` (`python -m tests.chaos`) does each disturbance many times; `tests/scenario/test_chaos.py` each once.
`disturbances` are what happens, `crowd` is a process of its own with people who talk (`people`), `ledger` judges what they said and
heard, `report` is what comes of it, `conductor` does one after the other.
"""
