"""All pydantic models and the loader of configuration files."""
