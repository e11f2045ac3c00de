"""A local KIS server: the broker's REST and websocket interface on this machine."""
