"""What every test can ask for."""

import signal

pytest_plugins = [
    "fixtures_alerts",
    "fixtures_aws",
    "fixtures_browser",
    "fixtures_cluster",
    "fixtures_engine",
    "fixtures_http",
    "fixtures_office",  # after what it takes from
    "fixtures_pages",
    "fixtures_prefect",
    "fixtures_proxy",
    "fixtures_sandbox",
    "fixtures_timeline",
    "fixtures_traffic",
    "fixtures_waiting",
    "fixtures_arena",  # last: it takes from others, whose asserts pytest rewrites before
]


def pytest_configure() -> None:
    """A suite that was started in the background was told to ignore ctrl-C, and so would be every program it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
