"""What a file or folder holds, and how it would be read."""

from statecast.inspection.findings import Finding
from statecast.inspection.look import inspect_path
from statecast.inspection.pictures import write_sheet

__all__ = ["Finding", "inspect_path", "write_sheet"]
