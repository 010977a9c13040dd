"""The engine: errors in eps, gauges, witnesses, budgets, the bridge between layouts, the ledger."""
