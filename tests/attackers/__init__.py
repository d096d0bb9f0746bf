"""Attacks by one signed-in user beside calls of others: what the server's memory grows by, and whether others notice.

    __main__.py     `make attackers`: every attack for a minute, a table at the end
    stage.py        the servers, and one attack between two looks at memory and latencies
    bystanders.py   the other users: calls that talk, rings, messages, sign-ins, each measured
    attacks.py      what a signed-in user does to fill memory; `ATTACKS` is all of them
    strangers.py    requests that are refused, made without end; `STRANGERS`
    verdict.py      the figures, and what is wrong with them

A new attack is a function in `attacks.py` (or a module beside it) and an entry in `ATTACKS`.
"""
