"""Plan -> Prefect flow. The only package that imports Prefect."""
