"""Every KIS name and code, and the codecs of calls and frames; no I/O."""
