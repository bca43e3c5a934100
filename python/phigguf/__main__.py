"""`python -m phigguf` is the `phigguf` command."""

from phigguf.cli import run

if __name__ == "__main__":
    run()
