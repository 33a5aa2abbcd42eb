"""Inspection: the content of a file or folder, and how statecast would read it."""

from statecast.reports.inspection.contact_sheet import write_sheet
from statecast.reports.inspection.findings import Finding
from statecast.reports.inspection.inspect_path import inspect_path

__all__ = ["Finding", "inspect_path", "write_sheet"]
