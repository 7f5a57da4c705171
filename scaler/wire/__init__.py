"""The shapes that people and clients write: ARM-shaped, camelCase; shared by YAML files and REST."""
