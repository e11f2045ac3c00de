"""Values and ports: frozen dataclasses, enums and Protocols, no I/O."""
