"""Where rustgrad is known to differ from torch: tests that fail, each with the reason.

An entry that starts to pass fails the suite (strict), so the list cannot go stale.
"""

GAPS: dict[str, str] = {}
