"""Installed package versions of a machine.

Ray sends this module by value, because other machines may lack this package.
"""


def installed_versions() -> dict[str, str]:
    """Return the versions that must be the same on all machines; `none` for a missing package."""
    import platform
    from importlib import metadata

    found = {"Python": ".".join(platform.python_version_tuple()[:2])}
    for name in ("phi4audio", "torch", "ray"):
        try:
            # The part after a plus names the devices it was built for.
            found[name] = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            found[name] = "none"
    return found
