"""A finished run as files and as a page."""
