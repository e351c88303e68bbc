"""What every test can ask for."""

pytest_plugins = ["fixtures_prefect", "fixtures_sandbox", "fixtures_cluster", "fixtures_timeline", "fixtures_engine"]
