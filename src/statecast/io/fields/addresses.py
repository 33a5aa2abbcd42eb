"""Addresses, such as s3://bucket/store.zarr: file systems by fsspec, and their errors."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from statecast.errors import FileError, MissingExtraError, StatecastError, require

PATTERN = re.compile(r"[*\[]")  # in an address; a question mark begins its query

OPENDAP = re.compile(r"^(dods|dap[24]?):|/dodsC/|/opendap/|\.dods\b|/erddap/griddap/[^?]*$", re.I)


@contextmanager
def reaching(address: str) -> Iterator[None]:
    """Turn the errors of libraries that use the network into ours; suppress their warnings."""
    if OPENDAP.search(address):
        raise FileError(
            f"{address} is an OPeNDAP address, which does not serve files. Name the file itself, "
            "which THREDDS has at /thredds/fileServer/ instead of /thredds/dodsC/, or store what "
            f"you need: xarray.open_dataset('{address}').to_netcdf('part.nc')."
        )
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except StatecastError:
        raise
    except ImportError as error:
        scheme = address.split(":", maxsplit=1)[0]
        raise MissingExtraError(
            f"{address}: addresses of {scheme} need another package ({error}). Install it, or "
            "download the data and name the copy."
        ) from error
    except FileNotFoundError as error:
        raise FileError(f"There is nothing at {address}.") from error
    except Exception as error:  # these libraries raise errors of many kinds
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise FileError(f"{address} cannot be read: {reason}.") from error


def file_system(address: str) -> tuple[Any, str]:
    """The file system of an address, and the place in it; call it inside `reaching`."""
    require("fsspec", "fields", "read addresses")
    from fsspec.core import url_to_fs

    files, place = url_to_fs(address)
    return files, place.rstrip("/")


def matching_addresses(address: str) -> list[str]:
    """The addresses that match a pattern such as `s3://bucket/daily/*.nc`, or a plain address.

    Errors:
        FileError: nothing matches, or it cannot be reached.
    """
    if not PATTERN.search(address):
        return [address]
    with reaching(address):
        files, place = file_system(address)
        found = [files.unstrip_protocol(name) for name in files.glob(place)]
    if not found:
        raise FileError(f"Nothing matches {address}.")
    return found
