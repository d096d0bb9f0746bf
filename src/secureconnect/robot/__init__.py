"""A headless peer: a client of our own API with real media (aiortc), for the demo, for tests and for load.

    commands.py            what the command line calls
    ├── demo.py            the people of the demo and their links
    ├── echo.py            the robot that answers calls
    ├── headless.py        two robots call each other and are judged
    └── live.py            one robot in somebody's call
    call.py                one session in one call: the signaling socket and a peer for each other session
    peer.py                one RTCPeerConnection and its negotiation
    client.py sockets.py   REST and the two sockets; wire.py, snapshot.py, backoff.py are their pure parts
    pictures.py sounds.py  what a robot shows and says; meters.py what it saw and heard

The robot knows the server by its wire alone: it never imports services, store or api.
"""
