"""Training of routers: data, losses, the Lightning module, export. Imports `router`; `router` never imports this."""
