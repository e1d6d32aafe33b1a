"""`python -m phi4audio_cli` is the `phi4audio` command."""

from phi4audio_cli.cli.app import main

if __name__ == "__main__":
    main()
