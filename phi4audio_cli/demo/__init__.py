"""The bundled demo checkpoint and its sample recordings."""
