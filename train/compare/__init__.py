"""`python -m train compare`: baselines and our routers under several regimes, judged on the same bootstrap draws."""
