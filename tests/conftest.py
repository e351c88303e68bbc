"""What every test can ask for."""

pytest_plugins = [
    "fixtures_cluster",
    "fixtures_engine",
    "fixtures_prefect",
    "fixtures_proxy",
    "fixtures_sandbox",
    "fixtures_timeline",
    "fixtures_waiting",
]
