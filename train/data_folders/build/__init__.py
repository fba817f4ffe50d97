"""`python -m train build --out DIR`: RouteMix from public benchmarks and published outcomes, as one data folder."""
