"""Builder of RouteMix from public benchmarks and published outcomes: `python -m train build`."""
