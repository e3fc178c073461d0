"""What the package was built with: no accelerator."""

from __future__ import annotations

from rustgrad import __version__ as __version__

debug = False
cuda: str | None = None
hip: str | None = None
xpu: str | None = None
git_version = "Unknown"
