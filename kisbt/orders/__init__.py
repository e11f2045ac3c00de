"""Order handling, broker-neutral."""
