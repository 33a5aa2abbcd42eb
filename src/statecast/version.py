"""The version, in one place."""

__version__ = "0.1.0"


def commit() -> str | None:
    """Commit of the checkout that the package is imported from; None outside a checkout."""
    from pathlib import Path

    folder = Path(__file__).resolve().parents[2] / ".git"
    try:
        head = (folder / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        reference = folder / head.removeprefix("ref: ")
        if reference.is_file():
            return reference.read_text().strip()
        packed = (folder / "packed-refs").read_text().splitlines()
    except OSError:
        return None
    wanted = head.removeprefix("ref: ")
    return next((line.split()[0] for line in packed if line.endswith(f" {wanted}")), None)
